"""How libsndfile is made to read a file: by any name, from its beginning to its end, in silence."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import soundfile


def system_name(path: Path) -> str | bytes:
    """A name as the system has it: not every one is valid UTF-8, which `soundfile` asks of text."""
    name = no_option(path)
    return os.fsencode(name) if os.name == "posix" else name


def no_option(path: Path) -> str:
    """A path that no program takes for an option, nor libsndfile for the standard input."""
    return f".{os.sep}{path}" if str(path).startswith("-") else str(path)


class Reader(soundfile.SoundFile):
    """Reads from the beginning to the end, without a seek.

    Between reads `soundfile` seeks to where a seekable file already stands. In an MP3 that is not
    exact: blocks after the first would come out shifted by many samples.
    """

    def seekable(self) -> bool:
        """Never."""
        return False


@contextlib.contextmanager
def quiet_decoder() -> Iterator[None]:
    """Keeps the MP3 decoder's own chatter off stderr, where one line per error is promised.

    mpg123 prints from C, so only the file descriptor can be turned away; what is wrong with the
    file is found out and reported by whoever reads it.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # stderr is closed: nothing to keep quiet
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
