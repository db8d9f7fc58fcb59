"""Audio inside a page: cut, at a rate that browsers play, FLAC or MP3, as base64.

Both formats are decoded by every current browser. All sounds of a page get the same format and
rate, so that whatever a decoder adds in front it adds to all of them, and they stay in step.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import soxr

from umss_jax.errors import AudioError, ReportError
from umss_jax.interruption import check
from umss_jax.report.config import ReportConfig

_BASE64 = 4 / 3
_FLAC_BYTES, _MP3_BYTES = 1.2, 0.28
"""Per sample, about; singing at 16 and 44.1 kHz."""
_PLAYABLE_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""What MP3 holds and every browser takes as the rate of its audio clock."""
_MP3_CHANNELS = 2
_LOUDEST = 1e6
"""Of a sample, full scale being 1: beyond it float32 has no room to add and resample."""
_BLOCK_S = 5.0
"""Encoded at once: some tenths of a second of work."""
Advance = Callable[[float], None]
"""Told which part of the work is done, 0 to 1."""


def nobody(part: float) -> None:
    """Wants to know nothing of it."""


class Interval(NamedTuple):
    """The part of a recording that a page shows."""

    start_s: float
    duration_s: float


class PageAudio(NamedTuple):
    """The one format of all sounds of a page."""

    lossless: bool
    sample_rate_hz: int
    channels: int

    @property
    def media_type(self) -> str:
        """As HTML calls it."""
        return "audio/flac" if self.lossless else "audio/mpeg"


def read_header(path: Path) -> tuple[int, int, int]:
    """Rate in Hz, channels and samples of an audio file.

    Raises:
        AudioError: It is missing or not audio.
    """
    if not path.is_file():
        raise AudioError(f"{path} is not there", "separate the recording again")
    try:
        info = soundfile.info(os.fsencode(path))
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(f"{path} is not audio that can be decoded", "make it again") from error
    return info.samplerate, info.channels, info.frames


def read_sound(path: Path, interval: Interval, page: PageAudio) -> np.ndarray:
    """An interval of a file, float32 ``[samples, channels]`` at the page's rate.

    It is padded with silence where the file ends before it.

    Raises:
        AudioError: The file cannot be decoded.
    """
    check()
    rate, _, _ = read_header(path)
    start, samples = round(interval.start_s * rate), round(interval.duration_s * rate)
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            file.seek(min(start, file.frames))
            audio = file.read(samples, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(f"{path} is not audio that can be decoded", "make it again") from error
    # Written so that NaN is refused too.
    if not np.max(np.abs(audio), initial=0.0) <= _LOUDEST:
        raise AudioError(f"{path} holds samples that are no sound", "make it again")
    audio = np.pad(audio, ((0, samples - len(audio)), (0, 0)))
    page_samples = round(interval.duration_s * page.sample_rate_hz)
    return at_rate(audio, rate, page.sample_rate_hz, page_samples)


def at_rate(audio: np.ndarray, from_hz: int, to_hz: int, samples: int) -> np.ndarray:
    """Audio ``[samples, channels]`` at another rate and of an exact length."""
    if from_hz != to_hz:
        audio = soxr.resample(audio, from_hz, to_hz)
    return np.pad(audio[:samples], ((0, max(0, samples - len(audio))), (0, 0)))


def choose_audio(
    source: str,
    sample_rate_hz: int,
    channels: int,
    duration_s: float,
    sounds: int,
    config: ReportConfig = ReportConfig(),
    remedy: str = "",
) -> PageAudio:
    """FLAC while the page stays small, MP3 beyond, and no page that a browser could not hold.

    Rate and channels are those of the stems; more than two channels are mixed down. The error names
    ``source`` as what the page is about, and ``remedy`` as what to do, if not to show a part.

    Raises:
        ReportError: The page would be too large.
    """
    above = [rate for rate in _PLAYABLE_HZ if rate >= sample_rate_hz]
    rate = above[0] if above else _PLAYABLE_HZ[-1]
    channels = channels if channels <= _MP3_CHANNELS else 1
    megabytes = duration_s * rate * channels * sounds * _BASE64 / 1e6
    if megabytes * _FLAC_BYTES <= min(config.lossless_megabytes, config.most_megabytes):
        return PageAudio(True, rate, channels)
    needed = megabytes * _MP3_BYTES
    if needed > config.most_megabytes:
        fitting_s = max(1, int(duration_s * config.most_megabytes / needed * 0.9))
        raise ReportError(
            f"{source}: the page would take about {needed:.0f} MB for {duration_s:.0f} s "
            f"(limit {config.most_megabytes:.0f} MB)",
            f"{remedy or f'show a part of it with --start 0 --seconds {fitting_s}'}, "
            "or raise --max-mb",
        )
    return PageAudio(False, rate, channels)


def encode(
    audio: np.ndarray,
    page: PageAudio,
    config: ReportConfig = ReportConfig(),
    advance: Advance = nobody,
) -> str:
    """Base64 of one sound, float ``[samples, channels]`` at the page's rate and within ±1.

    It is encoded by blocks; ``advance`` is told after each.
    """
    if audio.shape[1] != page.channels:
        audio = np.repeat(audio.mean(axis=1, keepdims=True), page.channels, axis=1)
    form: dict[str, Any] = {"format": "FLAC", "subtype": "PCM_16"}
    if not page.lossless:
        form = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "VARIABLE"}
        form["compression_level"] = config.mp3_compression
    buffer, block = io.BytesIO(), round(_BLOCK_S * page.sample_rate_hz)
    with soundfile.SoundFile(buffer, "w", page.sample_rate_hz, page.channels, **form) as file:
        for start in range(0, len(audio), block):
            check()
            file.write(audio[start : start + block])
            advance(min(1.0, (start + block) / len(audio)))
    return base64.b64encode(buffer.getvalue()).decode("ascii")
