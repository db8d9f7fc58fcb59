"""F0 references: where that of a recording of one voice may lie, and what it holds.

Beside the recording, as ``x.f0.csv``, or in the folder ``crepe_f0_center``, which is next to the
recording or to its folder ``audio_16kHz``: as ``x.f0.csv``, or as ``x_frequency.npy`` and
``x_confidence.npy``, a value every 16 ms. Tables are all that :mod:`umss_jax.pitch.tables` reads.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from umss_jax.config import AudioConfig
from umss_jax.data.layouts import STEM_FOLDER
from umss_jax.errors import DatasetError
from umss_jax.pitch.config import CONFIDENCE
from umss_jax.pitch.tables import read_arrays, read_track

F0_FOLDER = "crepe_f0_center"


def f0_files(recording: Path) -> tuple[Path, tuple[Path, Path]]:
    """Where the F0 of a recording may lie: as a table, or as frequency and confidence.

    A table beside the recording, as `umss-jax chorale make` writes them, comes before one in
    ``crepe_f0_center``.
    """
    folder = recording.parent
    folder = (folder.parent if folder.name == STEM_FOLDER else folder) / F0_FOLDER
    frequency, confidence = (
        folder / f"{recording.stem}_{part}.npy" for part in ("frequency", "confidence")
    )
    beside = recording.with_suffix(".f0.csv")
    table = beside if beside.is_file() else folder / beside.name
    return table, (frequency, confidence)


def has_f0(recording: Path) -> bool:
    """Whether a recording has an F0 track."""
    table, arrays = f0_files(recording)
    return table.is_file() or all(file.is_file() for file in arrays)


def read_f0(
    recording: Path, audio: AudioConfig, minimum_confidence: float = CONFIDENCE
) -> np.ndarray:
    """F0 of a whole recording of one voice, a frame every hop.

    Returns:
        float64 [frames], Hz, 0 where unvoiced.

    Raises:
        DatasetError: there is none, or it is damaged.
    """
    table, arrays = f0_files(recording)
    if not has_f0(recording):
        raise DatasetError(
            f"{table.parent} has no F0 of {recording.stem}",
            f"expected {table.name}, or {arrays[0].name} and {arrays[1].name}, which "
            "`umss-jax data f0` makes",
        )
    if table.is_file():
        return read_track(table, audio.hop_s, minimum_confidence)
    return read_arrays(*arrays, minimum_confidence)
