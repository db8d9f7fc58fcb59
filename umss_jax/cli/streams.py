"""The standard streams of the command, whatever state it was started with.

They may be closed (``>&-``), missing (``pythonw``), full (``/dev/full``), of another encoding than
the names they are to hold, or lose their reader half-way (``| head -1``, a terminal that is
closed). The work goes on in every case: its results are files.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from typing import TextIO

_NOBODY_READS = {errno.EPIPE, errno.EIO, errno.ENXIO}
"""What a write fails with whose reader has gone, or whose terminal was closed."""


class _Enduring(io.FileIO):
    """A descriptor that takes everything; after a write has failed it drops what comes."""

    failure: OSError | None = None

    def write(self, data: object) -> int:
        """All of it, or a part as the system says."""
        size = memoryview(data).nbytes  # type: ignore[arg-type]
        while self.failure is None:
            try:
                written = super().write(data)  # type: ignore[arg-type]
            except OSError as error:
                self.failure = error
            else:
                if written is not None:
                    return written
                select.select([], [self], [])  # a terminal that another program made non-blocking
        return size


def prepare_streams() -> None:
    """Makes stdin, stdout and stderr streams that can be used, and stay so.

    What stands in their place already (of an embedding program, of a test) is left alone.
    """
    _fill_descriptors()
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    codecs.register_error(_SPELT_OUT, _spell_out)
    sys.stdout = _prepared(sys.stdout, sys.__stdout__, _SPELT_OUT)
    sys.stderr = _prepared(sys.stderr, sys.__stderr__, "backslashreplace")


def lost_output() -> OSError | None:
    """Why results did not reach stdout.

    Not where their reader has gone: it has seen what it wanted, so `head -1` does not make a
    failure of work that is done (as ripgrep has it; others die of SIGPIPE).
    """
    if sys.stdout is None:
        return None
    try:
        sys.stdout.flush()
    except OSError as error:  # a stream of somebody else's
        return None if error.errno in _NOBODY_READS else error
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    failure = raw.failure if isinstance(raw, _Enduring) else None
    return None if failure is None or failure.errno in _NOBODY_READS else failure


def _fill_descriptors() -> None:
    """A closed 0, 1 or 2 would be given to the next file that is opened, and be printed into."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY if descriptor == 0 else os.O_WRONLY)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)


def _prepared(stream: TextIO | None, original: TextIO | None, errors: str) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if stream is not original or not isinstance(stream, io.TextIOWrapper):
        return stream
    try:
        descriptor = stream.fileno()
        is_terminal = stream.isatty()
        stream.flush()
    except (OSError, ValueError):
        return stream
    raw = _Enduring(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=errors,
        line_buffering=is_terminal or stream is sys.__stderr__,
    )


_SPELT_OUT = "umss_jax.spelt_out"


def _spell_out(error: UnicodeError) -> tuple[str | bytes, int]:
    """Bytes of names as they are; what an encoding does not have as an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), error.start + 1
    return character.encode("ascii", "backslashreplace"), error.start + 1
