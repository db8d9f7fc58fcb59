"""Ctrl-C and the signals that end a process: remembered at once, obeyed where nothing is torn.

A signal handler that raises can be lost: JAX runs Python from within the garbage collection, where
exceptions are dropped, and the program goes on. So the handlers of the command only remember the
signal, and loops ask :func:`check` before every step. A second signal ends the process at once,
also during a native call of a minute, since a thread of its own reads the signals.

Only the command installs handlers. Inside somebody else's program :func:`check` does nothing, and
Ctrl-C raises KeyboardInterrupt wherever it comes, as always.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import NoReturn, TypeVar

_Item = TypeVar("_Item")

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""What ends the work."""

_ECHO_S = 0.05
"""Two signals within this are one: the terminal's, passed on once more by a parent process."""

_first = 0  # the signal that came first; 0: none did
_hasty = 0  # blocks of :func:`exit_at_once` that are open
_ending = threading.Lock()  # taken by whoever ends the process, never given back
_stderr: int | None = None  # a copy, because decoders turn the original away for moments


class Interrupted(KeyboardInterrupt):
    """The work stops because a signal came."""


def install() -> None:
    """From here on signals are remembered instead of raising; to be called by the main thread.

    Those that are ignored (``nohup``, ``&`` in a script) stay so, those that somebody else handles
    as well.
    """
    global _stderr
    usual = (signal.SIG_DFL, signal.default_int_handler)
    numbers = [number for number in SIGNALS if signal.getsignal(number) in usual]
    with contextlib.suppress(OSError, ValueError, AttributeError):
        _stderr = os.dup(sys.stderr.fileno())
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, _remember)
    threading.Thread(target=_watch, args=(ours, theirs), name="signals", daemon=True).start()


def finish() -> None:
    """The work is done: from here on a signal ends the process as the system does it."""
    for number in SIGNALS:
        if signal.getsignal(number) is _remember:
            signal.signal(number, signal.SIG_DFL)


def exit_code() -> int:
    """130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP: 128 and the number; 0 without one."""
    return 128 + _first if _first else 0


def check() -> None:
    """Raises :class:`Interrupted` if a signal came."""
    if _first:
        raise Interrupted


def checked(items: Iterable[_Item]) -> Iterator[_Item]:
    """The items, with a :func:`check` before each is made and before each is given away."""
    check()
    for item in items:
        check()
        yield item
        check()


@contextlib.contextmanager
def exit_at_once() -> Iterator[None]:
    """While heavy libraries are imported a signal ends the process on the spot.

    Waiting for them would take seconds, and nothing of ours is half-written then.
    """
    global _hasty
    check()
    _hasty += 1
    try:
        yield
    finally:
        _hasty -= 1


def _remember(number: int, frame: FrameType | None) -> None:
    """The handler, between two steps of the main thread's Python code."""
    global _first
    _first = _first or number
    if _hasty:
        _end(number, "interrupted")


def _watch(source: socket.socket, kept: socket.socket) -> NoReturn:
    """Counts the signals: here they arrive at once, whatever the main thread does.

    ``kept`` is the other end, which must not be closed.
    """
    global _first
    first_s = None
    while True:
        for number in source.recv(64):
            if number not in SIGNALS:
                continue
            now_s = time.monotonic()
            if _hasty:
                _end(number, "interrupted")
            if first_s is None:
                _first, first_s = _first or number, now_s
                _say("stopping after this step (again: at once)")
            elif now_s - first_s > _ECHO_S:
                _end(number, "ended at once")


def _end(number: int, words: str) -> NoReturn:
    """Not by way of the interpreter's end: threads of a computation may still run, and crash.

    Nothing is flushed: results were when they were printed, and the main thread may be writing.
    """
    if _ending.acquire(blocking=False):
        _say(words)
        os._exit(128 + number)
    while True:  # the other thread is about to
        time.sleep(1)


def _say(words: str) -> None:
    if _stderr is not None:
        with contextlib.suppress(OSError):
            os.write(_stderr, f"umss-jax: {words}\n".encode())
