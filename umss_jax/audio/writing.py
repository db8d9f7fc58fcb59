"""Sound files that are written to their last byte, or an error that says why not.

libsndfile forgets what a disk answers when a file is finished: on a full one a FLAC lost its last
block and nobody heard of it. So the bytes go through a Python file, which remembers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

from umss_jax.audio.tags import id3, set_tags


class SoundWriter(soundfile.SoundFile):
    """A sound file to write to, block by block.

    Raises:
        OSError: the system refuses to write; also of ``write`` and ``close``.
        soundfile.SoundFileError: the container cannot hold such sound.
    """

    _sink: _Sink | None = None  # where opening fails

    def __init__(
        self,
        path: Path,
        sample_rate_hz: int,
        channels: int,
        subtype: str,
        container: str,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        is_mp3 = container == "MP3"
        sink = self._sink = _Sink(path, id3(tags or {}) if is_mp3 else b"")
        try:
            super().__init__(
                sink, "w", sample_rate_hz, channels, subtype, format=container
            )  # fmt: skip
            if not is_mp3:
                set_tags(self, tags or {})
        except BaseException:
            sink.finish()
            raise

    def write(self, data: np.ndarray) -> None:
        """Appends ``[n, channels]``."""
        try:
            super().write(data)
        except (soundfile.SoundFileError, AssertionError):
            self._complain()
            raise
        self._complain()

    def close(self) -> None:
        """Finishes the file."""
        try:
            super().close()
        finally:
            if self._sink is not None:
                self._sink.finish()
            self._complain()

    def _complain(self) -> None:
        if self._sink is not None:
            self._sink.complain()


def write_sound(path: Path, samples: np.ndarray, sample_rate_hz: int, subtype: str) -> None:
    """Writes ``[n]`` or ``[n, channels]`` in the container that the name ends in.

    Errors as of :class:`SoundWriter`.
    """
    channels = 1 if np.ndim(samples) == 1 else np.shape(samples)[1]
    container = path.suffix.removeprefix(".").upper()
    with SoundWriter(path, sample_rate_hz, channels, subtype, container) as file:
        file.write(np.asarray(samples))


class _Sink:
    """A file as `soundfile` wants it, which keeps the first error instead of raising it.

    An exception would have to pass through libsndfile, which cannot pass it on. The file may begin
    with bytes that libsndfile knows nothing of.
    """

    def __init__(self, path: Path, head: bytes = b"") -> None:
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115
        self._error: OSError | None = None
        self._head = 0
        if head:
            self.write(head)
            self._head = len(head)

    def write(self, data: bytes) -> int:
        """All of it, or less after an error."""
        done = 0
        try:
            while self._error is None and done < len(data):
                done += self._file.write(memoryview(data)[done:])
        except OSError as error:
            self._error = error
        return done

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of a file."""
        begin = self._head if whence == os.SEEK_SET else 0
        return self._file.seek(begin + offset, whence) - self._head

    def tell(self) -> int:
        """As of a file."""
        return self._file.tell() - self._head

    def flush(self) -> None:
        """Nothing is buffered here."""

    def finish(self) -> None:
        """Closes the file."""
        try:
            self._file.close()
        except OSError as error:
            self._error = self._error or error

    def complain(self) -> None:
        """Raises the error that was kept, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error
