"""Which columns of a text hold time, F0 and confidence: told by names, or by the numbers.

See :mod:`umss_jax.pitch.tables` for what is read.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from umss_jax.config import VOICES
from umss_jax.errors import DatasetError
from umss_jax.pitch.table_text import (
    EXPECTED,
    comment_of,
    is_number,
    number_of,
    read_lines,
    split_cells,
)

_TIMES = {"time", "times", "time_s", "t", "t_s", "s", "sec", "seconds", "timestamp", "time_sec"}
_TIMES |= {"timestamp_s", "time_seconds"}
_MILLISECONDS = {"time_ms", "t_ms", "ms", "timestamp_ms", "time_msec", "milliseconds"}
_PITCHES = {"f0", "frequency", "freq", "pitch", "value", "fundamental_frequency"}
_PITCHES |= {"hz", *(f"{name}_hz" for name in _PITCHES)}
_OF_SOME_UNIT = {"pitch", "value"}
_MIDI = {"midi", "midi_note", "midi_pitch", "note_midi", "f0_midi", "pitch_midi"}
_VOICINGS = {"voiced", "voicing", "voiced_flag", "voicing_flag", "is_voiced"}
_CONFIDENCES = {"confidence", "conf", "probability", "periodicity", "voiced_prob", "voiced_probs"}
_CONFIDENCES |= {"voiced_probability", "voicing_probability", "voicing_confidence"}
_NOTES = {"duration", "dur", "duration_s", "end", "end_s", "end_time", "end_time_s", "offset"}
_NOTES |= {"velocity"}
_OTHER_PITCH = re.compile(
    r"(^|_)(cents?|semitones?|log|log2|lf0|logf0|mel|bark|erb|khz|octaves?)(_|$)"
)
_OTHER_TIME = re.compile(r"(^|_)(frames?|samples?|index)(_|$)")

_MOST_COLUMNS = 64
_PLAUSIBLE_HZ = (20.0, 8_000.0)  # of columns without names
_HIGHEST_NOTE = 90.0  # up to here a column that names no unit may hold MIDI notes
_NAME_THEM = "name the columns in a first line, such as time,frequency,confidence"
_NAME_UNIT = "name the column f0_hz or f0_midi"


class Columns(NamedTuple):
    """Numbers of the columns, from 0."""

    time: int
    pitches: tuple[int, ...]
    confidence: int | None = None
    voices: tuple[str, ...] = ()
    """Names of the pitches, where these are voices."""
    unit_s: float = 1.0
    is_midi: bool = False
    """Whether the F0 are MIDI notes, 69 for 440 Hz."""


Row = tuple[int, list[str]]
"""Number of a line, from 1, and its cells."""


def read_rows(path: Path, voices: Sequence[str] = VOICES) -> tuple[list[Row], Columns]:
    """The rows of a table, and what its columns are; of a table of voices these.

    Raises:
        DatasetError: there is no file, there are no rows, or columns could be several things.
    """
    rows: list[Row] = []
    names: list[str] = []
    columns = None
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        comment, cells = comment_of(line), split_cells(line)
        is_first = not rows and columns is None
        if comment is not None:
            names = _names(comment) if is_first else names
        elif is_first and _heads(line, voices):
            names = ["time_s", *voices]
            columns = Columns(0, tuple(range(1, len(names))), voices=tuple(voices))
        elif is_first and not any(map(is_number, cells)):
            names = _names(line)
            columns = _named(path, number, names)
        else:
            rows.append((number, cells))
    if not rows:
        raise DatasetError(f"{path} is not a table of pitches (it holds no rows)", EXPECTED)
    if columns is None and names:
        with contextlib.suppress(DatasetError):  # a comment that names no columns
            columns = _named(path, 0, names)
    if columns is None:
        columns = _told_by_numbers(path, rows)
    else:
        needed = max(columns.time, columns.confidence or 0, *columns.pitches)
        wrong = [len(cells) <= needed or any(cells[len(names) :]) for _, cells in rows]
        refuse(path, rows, np.array(wrong), f"expected were {', '.join(names)}")
        if len(columns.pitches) == 1 and not columns.voices:
            _refuse_low(path, rows, columns, names[columns.pitches[0]])
    return rows, columns


def _heads(line: str, voices: Sequence[str]) -> bool:
    """Whether it is the first line of a table of these voices as this package writes it."""
    cells = [cell.strip().casefold() for cell in line.split(",")]
    return cells == ["time_s", *(voice.casefold() for voice in voices)]


def _refuse_low(path: Path, rows: list[Row], columns: Columns, name: str) -> None:
    """Refuses an F0 that is too low for Hz all the time, where its name leaves that open."""
    f0_hz = column(path, rows, columns.pitches[0], "F0")
    highest = f0_hz.max(initial=0.0, where=f0_hz > 0)
    limit_hz = _HIGHEST_NOTE if name in _OF_SOME_UNIT else _PLAUSIBLE_HZ[0]
    is_low = 0 < highest <= limit_hz and not columns.is_midi and "hz" not in name
    what = "the values may be Hz or MIDI notes or something else"
    refuse(path, rows, is_low, what, _NAME_UNIT)


def _names(header: str) -> list[str]:
    """Names of columns in one form: ``Time (s)`` is ``time_s``."""
    units_joined = re.sub(r"\s*[(\[]\s*(\w+)\s*[)\]]", r"_\1", header.lower())
    return [re.sub(r"[^a-z0-9]+", "_", cell).strip("_") for cell in split_cells(units_joined)]


def _named(path: Path, line: int, names: list[str]) -> Columns:
    """The columns that names tell; refuses where one has none or several, or what it means."""

    def of(known: Collection[str]) -> list[int]:
        return [number for number, name in enumerate(names) if name in known]

    voices = tuple(voice for voice in VOICES if voice in names)
    times, in_hz = of(_TIMES | _MILLISECONDS), of(_PITCHES)
    pitches = in_hz or ([] if voices else of(_MIDI))
    flags = of(_VOICINGS) or of(_CONFIDENCES)
    is_clear = len(pitches) + bool(voices) == 1 and len(of(VOICES)) == len(voices)
    problem = _problem(names, len(times), len(pitches) + len(of(VOICES)), is_clear)
    if not problem and len(flags) > 1:
        problem = "several confidences"
    refuse(path, [(line, names)], bool(problem), f"the names of the columns tell {problem}")
    return Columns(
        times[0],
        tuple(names.index(voice) for voice in voices) or tuple(pitches),
        flags[0] if flags else None,
        voices,
        1e-3 if names[times[0]] in _MILLISECONDS else 1.0,
        is_midi=not (voices or in_hz),
    )


def _problem(names: list[str], times: int, pitches: int, is_clear: bool) -> str:
    """What is wrong with names, of which so many are times and pitches, clear which or not."""

    def first(pattern: re.Pattern[str]) -> str:
        return next((name for name in names if pattern.search(name)), "")

    notes = [name for name in names if name in _NOTES]
    known = _VOICINGS | _CONFIDENCES
    odd = [name for name in names if name not in known and re.search("voic|conf|prob", name)]
    if notes:
        return f"notes, not frames: there is a column {notes[0]}"
    if not times and first(_OTHER_TIME):
        return f"time in another unit, {first(_OTHER_TIME)}"
    if times != 1:
        return f"{times} columns of time"
    if not pitches and first(_OTHER_PITCH):
        return f"F0 in another unit, {first(_OTHER_PITCH)}"
    if not is_clear:
        return f"{pitches} columns of F0"
    return f"a column {odd[0]}" if odd else ""


def _told_by_numbers(path: Path, rows: list[Row]) -> Columns:
    """The columns of a table that names none; refuses those that could be something else."""
    # Sonic Annotator begins its first row with the name of the recording, all others with nothing.
    first = int(all(len(cells) > 2 and not is_number(cells[0]) for _, cells in rows))
    width = max(len(cells) for _, cells in rows)
    while width > first + 2 and not any(
        is_number(c[width - 1]) for _, c in rows if len(c) >= width
    ):
        width -= 1  # Sonic Visualiser's labels, or a separator at the end
    refuse(path, rows, width < first + 2, "there is one column")
    refuse(path, rows, width > _MOST_COLUMNS, f"there are {width} columns")
    others = range(first + 1, width)
    numbers = np.stack([column(path, rows, number, "F0") for number in others])
    is_share = len(numbers) == 2 and bool(np.all((numbers[1] >= 0) & (numbers[1] <= 1)))
    f0_hz = numbers[:1] if is_share else numbers
    voiced = f0_hz[f0_hz > 0]
    if is_share:
        time_s, third = column(path, rows, first, "time"), numbers[1]
        unsure = "the third column may be a confidence or "
        is_zero = bool(voiced.size) and not third.any()
        refuse(path, rows, is_zero, f"{unsure}a second F0", _NAME_THEM)
        is_apart = len(rows) > 1 and bool(np.all((time_s + third)[:-1] <= time_s[1:]))
        refuse(path, rows, is_apart and bool(third.all()), f"{unsure}a duration", _NAME_THEM)
    odd = (f0_hz > 0) & ((f0_hz < _PLAUSIBLE_HZ[0]) | (f0_hz > _PLAUSIBLE_HZ[1]))
    refuse(path, rows, np.any(odd, axis=0), "there may be something else than F0", _NAME_THEM)
    is_low = bool(voiced.size) and voiced.max() <= _HIGHEST_NOTE
    refuse(path, rows, is_low, "the values may be Hz or MIDI notes", _NAME_THEM)
    return Columns(first, tuple(others)[: len(f0_hz)], others[1] if is_share else None)


def column(path: Path, rows: list[Row], number: int, what: str) -> np.ndarray:
    """Numbers of a column, nan where there are none.

    Raises:
        DatasetError: a cell holds something else.
    """
    values = np.full(len(rows), np.nan)
    for place, (_, cells) in enumerate(rows):
        if number < len(cells):
            try:
                values[place] = number_of(cells[number])
            except ValueError:
                refuse(path, rows[place : place + 1], True, f"the {what} is no number")
    return values


def refuse(
    path: Path, rows: list[Row], bad: np.ndarray | bool, what: str, expected: str = EXPECTED
) -> None:
    """Raises an error that names the first row that is bad."""
    if np.any(bad):
        line, cells = rows[int(np.argmax(bad))]
        shown = ascii(", ".join(cells)[:60])
        raise DatasetError(
            f"{path} is not a table of pitches (line {line}, {shown}: {what})", expected
        )
