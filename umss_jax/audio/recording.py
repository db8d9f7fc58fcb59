"""Audio files in blocks: scanned and read with memory constant in the length.

Blocks are float32 ``[channels, samples]`` everywhere in the package; only files are interleaved.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from glob import has_magic
from pathlib import Path
from typing import NamedTuple

import numpy as np

from umss_jax.audio.arguments import path_of
from umss_jax.audio.config import FileConfig
from umss_jax.audio.decoder import EXPORT_AGAIN, DamagedError, Decoder, check_form, truncated
from umss_jax.audio.excerpt import check_excerpt, inside, interval
from umss_jax.audio.media import has_pyav, open_media
from umss_jax.audio.sndfile import open_sndfile
from umss_jax.errors import AudioError

_NO_NUMBERS = "not numbers (NaN or infinite)"


class Recording(NamedTuple):
    """What one scan of a file found."""

    path: Path
    sample_rate_hz: int
    channels: int
    samples: int
    """Samples per channel that can be read, which for MP3 may differ from what the header says."""
    peak: float
    """Largest absolute sample of any channel, 1 at full scale."""
    downmix: tuple[float, ...]
    """Weight of each channel in the mono mixture that the model hears."""
    stamp: tuple[int, int] | None = None
    """Size in bytes and time of the last change (ns) when the scan began; None where not known."""
    first: int = 0
    """Sample of the file that the recording begins with."""
    is_part: bool = False
    """It is a part of the file, which goes on before or after it."""
    note: str = ""
    """One line about a choice that was made, such as among several tracks; else empty."""
    track: str = ""
    """What its results are called, where that is not the file's name without the extension."""

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate_hz


def scan(
    path: str | os.PathLike[str], start_s: float = 0.0, duration_s: float | None = None
) -> Recording:
    """Reads a file once, block by block, and refuses what cannot be separated.

    Rates of 1 kHz to 1 MHz and up to 32 channels will do (:class:`FileConfig`). The mono mixture is
    the mean of the channels; where these cancel (one side inverted), it is the channel with the
    highest peak instead. Memory depends neither on the length nor on what the header says.

    Of a file that is to be separated in part, only that part matters: nothing after it is read, and
    samples before it may be anything.

    Args:
        path: The file.
        start_s: Where the recording begins in it, in seconds.
        duration_s: How long it is at most, in seconds; None: to the end.

    Raises:
        AudioError: The file is missing, a directory, unreadable, empty, not audio, truncated,
            silent, of another rate or more channels, holds samples that are NaN, infinite or
            beyond +240 dB, or ends before the start.
        UsageError: ``start_s`` or ``duration_s`` is no time.
    """
    check_excerpt(start_s, duration_s)
    path = path_of(path, "path")
    _check_path(path)
    stamp = _stamp(path)
    samples, mono_peak = 0, 0.0
    with _open(path) as file:
        rate, channels, note = file.sample_rate_hz, file.channels, file.note
        first, end = interval(start_s, duration_s, rate)
        channel_peaks = np.zeros(channels)
        try:
            for whole in file.blocks(FileConfig.block_samples):
                block = inside(whole, samples, first, end)
                if block.shape[1]:
                    _check_values(path, block, max(first, samples), rate)
                    channel_peaks = np.maximum(channel_peaks, np.abs(block).max(axis=1))
                    mono_peak = max(mono_peak, float(np.abs(block.mean(axis=0)).max()))
                samples += whole.shape[1]
                if end is not None and samples >= end:
                    break
            else:
                file.check_whole(samples)
        except DamagedError as error:
            raise truncated(path, samples, rate) from error
    if samples <= first:
        raise AudioError(
            f"{path} ends at {samples / rate:.2f} s, before --start {start_s:g}",
            "choose an earlier one",
        )
    is_part = first > 0 or (end is not None and samples >= end)
    peak = float(channel_peaks.max())
    if peak < FileConfig.silence_peak:
        where = " in this part" if is_part else ""
        raise AudioError(f"{path} is silent{where}", "check the export or the choice of the track")
    downmix = choose_downmix(channel_peaks, mono_peak)
    return Recording(
        path,
        rate,
        channels,
        samples=min(samples, end or samples) - first,
        peak=peak,
        downmix=downmix,
        stamp=stamp,
        first=first,
        is_part=is_part,
        note=note,
    )


def read_blocks(
    recording: Recording, block_samples: int = FileConfig.block_samples
) -> Iterator[np.ndarray]:
    """Reads a scanned file from its beginning, or the part of it that was scanned.

    Yields:
        float32 ``[channels, block_samples]`` (the last is shorter, as the first may be where the
        recording begins later than the file), together exactly ``recording.samples``.

    Raises:
        AudioError: The file is gone or has changed since it was scanned.
    """
    changed = AudioError(
        f"{recording.path} changed while it was being read", "run the command again"
    )
    if not recording.path.is_file() or _has_changed(recording):
        raise changed
    samples, first = 0, recording.first
    end = first + recording.samples
    with _open(recording.path) as file:
        if (file.sample_rate_hz, file.channels) != (recording.sample_rate_hz, recording.channels):
            raise changed
        try:
            for whole in file.blocks(block_samples):
                block = inside(whole, samples, first, end if recording.is_part else None)
                samples += whole.shape[1]
                if samples > end and not recording.is_part:
                    raise changed
                if block.shape[1]:
                    yield block
                if samples >= end and recording.is_part:
                    break
        except DamagedError as error:
            raise changed from error
    if samples < end or _has_changed(recording):
        raise changed


def _has_changed(recording: Recording) -> bool:
    return recording.stamp is not None and _stamp(recording.path) != recording.stamp


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes with a file; None where it is gone."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns


def choose_downmix(channel_peaks: np.ndarray, mean_peak: float) -> tuple[float, ...]:
    """Weights of the mono mixture: the mean, or the loudest channel where the mean cancels.

    That is told from the peaks of every channel, ``[C]``, and of the mean.
    """
    count = len(channel_peaks)
    if mean_peak < FileConfig.cancelled_downmix * channel_peaks.max():
        return tuple(float(channel == np.argmax(channel_peaks)) for channel in range(count))
    return (1.0 / count,) * count


def _check_path(path: Path) -> None:
    """Refuses by their own names the things that libsndfile calls a system error."""
    try:
        if path.is_dir():
            raise AudioError(f"{path} is a directory", f"name the files in it ({path}/*)")
        if not path.exists():
            pattern = ", nor is anything called so" if has_magic(str(path)) else ""
            raise AudioError(f"{path} does not exist{pattern}", "check the path")
        if not path.is_file():
            raise AudioError(f"{path} is not a regular file", "write it to a file first")
        if path.stat().st_size == 0:
            raise AudioError(f"{path} is empty", EXPORT_AGAIN)
        with path.open("rb"):
            pass
    except OSError as error:
        raise AudioError(f"{path} cannot be read ({error.strerror})", "check its rights") from error


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Decoder]:
    """Opens a file by libsndfile, or else by FFmpeg, whose header asks for nothing odd."""
    decoder = _decoder(path)
    try:
        check_form(path, decoder.sample_rate_hz, decoder.channels)
        yield decoder
    finally:
        decoder.close()


def _check_values(path: Path, block: np.ndarray, before: int, rate_hz: int) -> None:
    """Refuses a block with samples that are no numbers, or whose sums could overflow."""
    with np.errstate(invalid="ignore"):
        is_sound = (np.abs(block) <= FileConfig.largest_sample).all(axis=0)
    if is_sound.all():
        return
    first = int(np.argmin(is_sound))
    finite = np.isfinite(block[:, first]).all()
    raise AudioError(
        f"{path} holds samples that are "
        + (f"{np.abs(block[:, first]).max():.2g} times full scale" if finite else _NO_NUMBERS)
        + f", the first at {(before + first) / rate_hz:.3f} s",
        "export it again or cut that part out",
    )


def _decoder(path: Path) -> Decoder:
    """By libsndfile what it can read, all else by FFmpeg.

    libsndfile takes what is called ``.mp3`` for that, and makes silence of an M4A: where such a
    file does not begin as MPEG audio, FFmpeg says what it is.
    """
    by_sndfile = open_sndfile(path)
    if by_sndfile is None:
        return open_media(path)
    if by_sndfile.is_sure or not has_pyav():
        return by_sndfile
    by_sndfile.close()
    return open_media(path)
