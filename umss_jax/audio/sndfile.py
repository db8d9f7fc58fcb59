"""WAV, FLAC, OGG, MP3, AIFF and the like by libsndfile: to the bit, and refused where cut."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from umss_jax.audio.decoder import EXPORT_AGAIN, DamagedError, conversion, no_option, truncated
from umss_jax.audio.integrity import begins_with_mpeg_frame, mp3_length, ogg_is_cut
from umss_jax.errors import AudioError
from umss_jax.interruption import check

# libsndfile repairs the length of a cut WAV or AIFF silently; only its log tells.
_CUT_CHUNK = re.compile(r"^\s*(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
# Programs that write WAV into a pipe cannot know its length and put the largest number there.
_UNKNOWN_LENGTH_BYTES = 0x7FFF_0000
# Encoder delay and padding, which decoders drop, take less than this many samples of an MP3.
_MP3_PADDING = 4 * 1152
_MPEG = ("MP3", "MPEG")


def system_name(path: Path) -> str | bytes:
    """A name as the system has it: not every one is valid UTF-8, which `soundfile` asks of text."""
    name = no_option(path)
    return os.fsencode(name) if os.name == "posix" else name


class _Reader(soundfile.SoundFile):
    """Reads from the beginning to the end, without a seek.

    Between reads `soundfile` seeks to where a seekable file already stands. In an MP3 that is not
    exact: blocks after the first would come out shifted by many samples.
    """

    def seekable(self) -> bool:
        return False


class SndfileDecoder:
    """A :class:`umss_jax.audio.decoder.Decoder` by libsndfile."""

    note = ""

    def __init__(self, path: Path, file: soundfile.SoundFile) -> None:
        self._path, self._file = path, file
        self.sample_rate_hz: int = file.samplerate
        self.channels: int = file.channels

    @property
    def is_sure(self) -> bool:
        """False where the name alone may have made libsndfile think that it is an MP3."""
        return self._file.format not in _MPEG or begins_with_mpeg_frame(self._path)

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]:
        """float32 ``[channels, block_samples]`` to the end, the last one shorter."""
        while True:
            try:
                with _quiet_decoder():
                    block = self._file.read(block_samples, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise DamagedError from error
            check()
            if len(block) == 0:
                return
            yield block.T

    def check_whole(self, samples: int) -> None:
        """Refuses what ends before its header says, or goes on after it."""
        file = self._file
        if file.format in _MPEG:
            _check_mp3(self._path, samples, file.samplerate)
        elif (
            samples < file.frames
            or (file.format == "OGG" and ogg_is_cut(self._path))
            or any(
                int(found) < int(stated) < _UNKNOWN_LENGTH_BYTES
                for stated, found in _CUT_CHUNK.findall(file.extra_info)
            )
        ):
            raise truncated(self._path, samples, file.samplerate)
        if samples == 0:
            raise AudioError(f"{self._path} holds no samples", EXPORT_AGAIN)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def open_sndfile(path: Path) -> SndfileDecoder | None:
    """A decoder, or None where libsndfile cannot read the file."""
    try:
        with _quiet_decoder():
            return SndfileDecoder(path, _Reader(system_name(path)))
    except (soundfile.SoundFileError, OSError, TypeError, ValueError):  # .raw: TypeError
        return None


def _check_mp3(path: Path, samples: int, rate_hz: int) -> None:
    """The decoder reads as many samples as the header says, or guesses where there is none."""
    length = mp3_length(path)
    if length is None:
        return
    if length.stated_frames is not None and length.frames < length.stated_frames:
        raise truncated(path, samples, rate_hz)
    if length.samples - samples > _MP3_PADDING:
        raise AudioError(
            f"{path} says it is {samples / rate_hz:.2f} s long but holds "
            f"{length.samples / rate_hz:.2f} s",
            f"convert it to WAV or FLAC ({conversion(path)})",
        )


@contextlib.contextmanager
def _quiet_decoder() -> Iterator[None]:
    """Keeps the MP3 decoder's own chatter off stderr, where one line per error is promised.

    mpg123 prints from C, so only the file descriptor can be turned away; what is wrong with the
    file is found out and reported by this package.
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
