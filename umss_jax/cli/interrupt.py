"""Ctrl-C that always ends in exit code 130, native libraries or not."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130


def leave(code: int) -> NoReturn:
    """Ends the process after everything was cleaned up.

    Not by way of the interpreter's own end: threads of a computation that was interrupted may
    still run then, and crash.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


@contextlib.contextmanager
def exit_at_once() -> Iterator[None]:
    """While heavy libraries are imported Ctrl-C ends the process on the spot.

    An exception that unwinds through the start-up of a native library can crash it. Nothing of
    ours is half-written then.
    """

    def end(signal_number: int, frame: FrameType | None) -> NoReturn:
        print("umss-jax: interrupted", file=sys.stderr)
        leave(INTERRUPTED)

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # somebody else decides what Ctrl-C does
        return
    try:
        previous = signal.signal(signal.SIGINT, end)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
