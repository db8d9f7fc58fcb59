"""Settings of reading and writing recordings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FileConfig:
    """Audio files in and out."""

    block_samples: int = 65_536
    """Samples per channel that are in memory at once while a file is read or written."""
    block_values: int = 1 << 22
    """Samples of all channels together that a block may have, before and after resampling."""
    lowest_rate_hz: int = 1_000
    highest_rate_hz: int = 1_000_000
    """Rates that are read. Recordings have 8 to 384 kHz; resampling from rates further out costs
    memory or time without end, which a header of a few bytes could ask for."""
    most_channels: int = 32
    """Channels that are read. The largest consoles record more, but no choir's mixture has them,
    and memory grows with them."""
    largest_sample: float = 2.0**40
    """Floating point beyond this (+240 dB) is refused; integers stored as floats lie far below."""
    silence_peak: float = 1e-6
    """A recording whose peak lies below this (-120 dB) is refused as silent."""
    cancelled_downmix: float = 1e-3
    """Channels whose mean lies this far below their peak cancel each other out (-60 dB)."""
    rescaled_peak: float = 0.999
    """Peak after `--clip-mode rescale` had to turn the stems down."""


@dataclass(frozen=True)
class ArrayConfig:
    """Recordings in memory."""

    lowest_rate_hz: int = FileConfig.lowest_rate_hz
    highest_rate_hz: int = FileConfig.highest_rate_hz
    most_channels: int = FileConfig.most_channels
    silence_peak: float = FileConfig.silence_peak
    highest_peak: float = 1e12
    """Beyond it squares of sums would leave the range of single precision."""
    bytes_per_sample: int = 64
    """Of the result and what leads to it: four stems and a residual, at two rates."""


@dataclass(frozen=True)
class StretchConfig:
    """Sound at another tempo; windows chosen on solo singers (three tempos, two voices)."""

    window_s: float = 0.07
    """Of the phase vocoder. The library's own 120 ms blur consonants and flatten vibrato; with 60
    ms a bass of 98 Hz is up to 0.5 dB softer (with 70 ms: 0.05 dB)."""
    hop_s: float = 0.0175
    piece_s: float = 20.0
    """What is stretched at once."""
    overlap_s: float = 1.0
    """By which pieces overlap."""
    fade_s: float = 0.04
    """From one piece into the next."""
    largest_lag_s: float = 0.01
    """By which pieces are shifted to agree: a period of the lowest voices."""
    seed: int = 1
    """Of the phases that the library draws: the same sound gives the same result."""
