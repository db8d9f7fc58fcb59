"""Settings of reading and writing recordings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FileConfig:
    """Audio files in and out."""

    block_samples: int = 65_536
    """Samples per channel that are in memory at once while a file is read or written."""
    silence_peak: float = 1e-6
    """A recording whose peak lies below this (-120 dB) is refused as silent."""
    cancelled_downmix: float = 1e-3
    """Channels whose mean lies this far below their peak cancel each other out (-60 dB)."""
    rescaled_peak: float = 0.999
    """Peak after `--clip-mode rescale` had to turn the stems down."""
