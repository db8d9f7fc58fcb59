"""F0 tables: the one reader of what pitch tools write, and the one writer of this package's own.

Read is any text with a row per time: of CREPE, pYIN and other Vamp plugins, Tony, Sonic Visualiser
and Sonic Annotator, Praat (listings), mir_eval (multi-F0 too) and this package; cells apart by
tabs, semicolons, commas or blanks, with decimal commas too where these divide no cells; lines that
begin with #, %, ; or // are comments. Where the first line, or the last comment before the numbers,
names the columns, they may stand in any order beside others, and the name may say that time is in
milliseconds or that the F0 are MIDI notes. Without names the first column is the time in seconds
and all others are F0 in Hz, but for a third and last one within 0 and 1, which is the confidence.
Unvoiced is 0, a negative F0, nan, or an empty cell. What could mean two things is refused, as are
the other files of such tools, by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from umss_jax.config import VOICES
from umss_jax.errors import DatasetError
from umss_jax.pitch.columns import column, read_rows, refuse
from umss_jax.pitch.config import CONFIDENCE

_LATEST_S = 86_400.0
_LONGEST_STEP_S = 1.0  # as median: more is in milliseconds, samples or frames
_HIGHEST_HZ = 20_000.0
_GAP = 1.9  # spacings of rows, from which on one was left out; less is an uneven grid
_NAME_UNIT = "name the column of time by its unit (time_ms), or give it in seconds"


class F0Table(NamedTuple):
    """What a table says, at its own times."""

    time_s: np.ndarray
    """float64 [rows], ascending."""
    f0_hz: np.ndarray
    """float64 [pitches, rows], 0 where unvoiced."""
    voices: tuple[str, ...]
    """Names of the pitches, the highest first; () without names."""
    confidence: np.ndarray | None
    """float64 [rows] in [0, 1]; where there is a decision on voicing instead, that: 0 or 1."""


def read_table(path: Path, voices: Sequence[str] = VOICES) -> F0Table:
    """Reads an F0 table of any of the tools that the module names.

    Args:
        path: text in UTF-8, UTF-16 or UTF-32, of at most 64 MiB.
        voices: that may be named in its first line, as this package writes it.

    Raises:
        DatasetError: it is not there or no F0 table, or times do not ascend within a day, or it
            could mean two things; file, line and what was expected are named.
    """
    rows, columns = read_rows(path, voices)
    time_s = columns.unit_s * column(path, rows, columns.time, "time")
    refuse(path, rows, ~((time_s >= 0) & (time_s <= _LATEST_S)), "the time is not within a day")
    falls = np.concatenate([[False], time_s[1:] <= time_s[:-1]])
    refuse(path, rows, falls, "the time is not later than the one before")
    step_s = _spacing(time_s, 0.0)
    refuse(path, rows, step_s >= _LONGEST_STEP_S, f"rows are {step_s:g} s apart", _NAME_UNIT)
    f0_hz = np.stack([column(path, rows, number, "F0") for number in columns.pitches])
    if columns.is_midi:
        with np.errstate(over="ignore"):  # an infinite one is refused below
            f0_hz = np.where(f0_hz > 0, 440 * np.exp2((f0_hz - 69) / 12), 0.0)
    too_high = np.any(np.isinf(f0_hz) | (f0_hz > _HIGHEST_HZ), axis=0)
    refuse(path, rows, too_high, "the F0 is no pitch")
    confidence = None
    if columns.confidence is not None:
        confidence = column(path, rows, columns.confidence, "confidence")
        is_missing = np.isnan(confidence) & ~np.any(f0_hz > 0, axis=0)
        confidence = np.where(is_missing, 0.0, confidence)
        outside = ~((confidence >= 0) & (confidence <= 1))
        refuse(path, rows, outside, "the confidence is not within 0 and 1")
    return F0Table(time_s, np.where(f0_hz > 0, f0_hz, 0.0), columns.voices, confidence)


def read_track(path: Path, hop_s: float, minimum_confidence: float = CONFIDENCE) -> np.ndarray:
    """F0 of one voice on the frames of the package.

    Args:
        path: as for :func:`read_table`.
        hop_s: distance of the frames.
        minimum_confidence: of a voiced frame, where the table has confidences.

    Returns:
        float64 [frames], Hz, 0 where unvoiced: frame n stands at n hops, and is that of the row
        nearest in time. Where rows were left out, and before the first and after the last, a row
        stands for half a spacing of the rows (their median); beyond that frames are unvoiced.

    Raises:
        DatasetError: as :func:`read_table`, or there is not one pitch at a time.
    """
    table = read_table(path)
    if len(table.f0_hz) != 1:
        held = f"{len(table.f0_hz)} pitches at a time"
        raise DatasetError(f"{path} holds {', '.join(table.voices) or held}", "expected one voice")
    f0_hz = table.f0_hz[0]
    if table.confidence is not None:
        f0_hz = np.where(table.confidence < minimum_confidence, 0.0, f0_hz)
    return on_frames(table.time_s, f0_hz, hop_s)


def read_voices(path: Path, voices: Sequence[str] = VOICES) -> F0Table:
    """Reads a table of voices, as this package writes it.

    Raises:
        DatasetError: as :func:`read_table`, or a voice is missing.
    """
    table = read_table(path, voices)
    if table.voices != tuple(voices):
        columns = ", ".join(("time_s", *voices))
        raise DatasetError(f"{path} has not the columns {columns}", "expected a pitch per voice")
    return table


def read_arrays(
    frequency: Path, confidence: Path, minimum_confidence: float = CONFIDENCE
) -> np.ndarray:
    """F0 of one voice, from a pair of ``.npy`` files with a value per frame (reference).

    Returns:
        float64 [frames], Hz, 0 where unvoiced.

    Raises:
        DatasetError: a file cannot be read, or they are not two equal rows of numbers.
    """
    try:
        f0_hz, certain = (
            np.asarray(np.load(file, mmap_mode="r", allow_pickle=False), np.float64)
            for file in (frequency, confidence)
        )
        if f0_hz.ndim != 1 or f0_hz.shape != certain.shape:
            raise ValueError(f"shapes {f0_hz.shape} and {certain.shape}")
        if np.any(np.isinf(f0_hz) | (f0_hz > _HIGHEST_HZ) | np.isnan(certain)):
            raise ValueError("values that are no pitch or no confidence")
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise DatasetError(
            f"the F0 {frequency} with {confidence.name} is damaged ({error})", "replace it"
        ) from error
    return np.where((certain >= minimum_confidence) & (f0_hz > 0), f0_hz, 0.0)


def on_frames(time_s: np.ndarray, f0_hz: np.ndarray, hop_s: float) -> np.ndarray:
    """F0 at ascending times, taken to the frames of the package: as :func:`read_track` says it.

    Never between two rows: no pitch is invented where one is voiced and the other is not.
    """
    spacing_s = _spacing(time_s, hop_s)
    frames_s = np.arange(int((time_s[-1] + spacing_s / 2) / hop_s) + 1) * hop_s
    nearest = np.searchsorted((time_s[1:] + time_s[:-1]) / 2, frames_s)
    after = np.searchsorted(time_s, frames_s)
    around_s = np.diff(time_s, prepend=-np.inf, append=np.inf)[after]
    is_near = np.abs(time_s[nearest] - frames_s) <= spacing_s / 2
    return np.where(is_near | (around_s < _GAP * spacing_s), f0_hz[nearest], 0.0)


def voices_header(voices: Sequence[str] = VOICES) -> str:
    """First line of a table of voices."""
    return ",".join(("time_s", *voices)) + "\n"


def voice_rows(time_s: np.ndarray, f0_hz: np.ndarray) -> str:
    """Rows of a table of voices: time, then a pitch per voice [J, frames] in Hz, 0 = unvoiced."""
    return "".join(
        ",".join((f"{time:.3f}", *(f"{hz:.3f}" if hz > 0 else "0" for hz in frame))) + "\n"
        for time, frame in zip(time_s, f0_hz.T, strict=True)
    )


def multi_f0_rows(time_s: np.ndarray, f0_hz: np.ndarray) -> str:
    """Rows of mir_eval's multi-F0 tables: time and those of [pitches, frames] above 0, by tabs."""
    return "".join(
        "\t".join((f"{time:.3f}", *(f"{hz:.3f}" for hz in frame if hz > 0))) + "\n"
        for time, frame in zip(time_s, f0_hz.T, strict=True)
    )


def track_text(f0_hz: np.ndarray, confidence: np.ndarray, hop_s: float, decimals: int) -> str:
    """A table of one voice in CREPE's columns, a row per frame; ``decimals`` of the confidence."""
    return "time,frequency,confidence\n" + "".join(
        f"{number * hop_s:.3f},{hz:.3f},{certain:.{decimals}f}\n"
        for number, (hz, certain) in enumerate(zip(f0_hz, confidence, strict=True))
    )


def _spacing(time_s: np.ndarray, otherwise: float) -> float:
    """Median distance of rows in seconds."""
    return float(np.median(np.diff(time_s))) if len(time_s) > 1 else otherwise
