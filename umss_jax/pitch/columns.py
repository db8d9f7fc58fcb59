"""Which columns of a text hold time, F0 and confidence: told by names, or by the numbers.

See :mod:`umss_jax.pitch.tables` for what is read.
"""

from __future__ import annotations

import contextlib
import csv
import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from umss_jax.config import VOICES
from umss_jax.errors import DatasetError

_TIMES = {"time", "times", "time_s", "t", "t_s", "s", "sec", "seconds", "timestamp", "time_sec"}
_MILLISECONDS = {"time_ms", "t_ms", "ms"}
_PITCHES = {"f0", "frequency", "freq", "pitch", "value", "fundamental_frequency"}
_PITCHES |= {"hz", *(f"{name}_hz" for name in _PITCHES)}
_VOICINGS = {"voiced", "voicing", "voiced_flag", "voicing_flag", "is_voiced"}
_CONFIDENCES = {"confidence", "conf", "probability", "periodicity", "voiced_prob", "voiced_probs"}
_CONFIDENCES |= {"voiced_probability", "voicing_probability", "voicing_confidence"}
_NOTES = {"duration", "dur", "end", "end_time"}
_WORDS = {"": math.nan, "--undefined--": math.nan, "true": 1.0, "false": 0.0}

_MOST_BYTES = 1 << 26
_MOST_COLUMNS = 64
_PLAUSIBLE_HZ = (20.0, 8_000.0)  # of columns without names
_HIGHEST_NOTE = 90.0  # up to here a column without a name may hold MIDI notes

EXPECTED = "expected rows of time (s), F0 (Hz, 0 where unvoiced) and perhaps confidence (0 to 1)"
_NAME_THEM = "name the columns in a first line, such as time,frequency,confidence"


class Columns(NamedTuple):
    """Numbers of the columns, from 0."""

    time: int
    pitches: tuple[int, ...]
    confidence: int | None = None
    voices: tuple[str, ...] = ()
    """Names of the pitches, where these are voices."""
    unit_s: float = 1.0


Row = tuple[int, list[str]]
"""Number of a line, from 1, and its cells."""


def read_rows(path: Path) -> tuple[list[Row], Columns]:
    """The rows of a table, and what its columns are.

    Raises:
        DatasetError: there is no file, there are no rows, or columns could be several things.
    """
    rows: list[Row] = []
    names: list[str] = []
    columns = None
    for number, line in enumerate(_lines(path), 1):
        plain = line.strip()
        if not plain:
            continue
        cells = _cells(line)
        is_first = not rows and columns is None
        if plain[0] in "#%":
            names = _names(plain.lstrip("#% ")) if is_first else names
        elif is_first and not any(map(_is_number, cells)):
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
    return rows, columns


def _lines(path: Path) -> list[str]:
    """The lines of a text file."""
    if not path.is_file():  # a pipe or device may have no end
        wrong = "is not a file" if path.exists() else "is not there"
        raise DatasetError(f"{path} {wrong}", EXPECTED)
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror})", EXPECTED) from error
    if len(content) > _MOST_BYTES:
        limit = f"larger than {_MOST_BYTES >> 20} MiB"
        raise DatasetError(f"{path} is not a table of pitches ({limit})", EXPECTED)
    is_utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = content.decode("utf-16" if is_utf16 else "utf-8-sig", errors="replace")
    if "ooTextFile" in text[:40]:
        raise DatasetError(
            f"{path} is an object of Praat, not a table of pitches",
            "save its listing, rows of time and F0",
        )
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _cells(line: str) -> list[str]:
    """The cells of a line; every line tells its separator, as a header may have another."""
    for separator in "\t;,":
        if separator in line:
            cells = line.split(separator)
            if '"' in line:
                with contextlib.suppress(csv.Error):  # a cell of more than 128 KiB
                    cells = next(csv.reader([line], delimiter=separator))
            return [cell.strip() for cell in cells]
    return line.split()


def _names(header: str) -> list[str]:
    """Names of columns in one form: ``Time (s)`` is ``time_s``."""
    units_joined = re.sub(r"\s*[(\[]\s*(\w+)\s*[)\]]", r"_\1", header.lower())
    return [re.sub(r"[^a-z0-9]+", "_", cell).strip("_") for cell in _cells(units_joined)]


def _named(path: Path, line: int, names: list[str]) -> Columns:
    """The columns that names tell; refuses where one has none or several, or what it means."""

    def of(known: Collection[str]) -> list[int]:
        return [number for number, name in enumerate(names) if name in known]

    voices = tuple(voice for voice in VOICES if voice in names)
    times, pitches = of(_TIMES | _MILLISECONDS), of(_PITCHES)
    flags = of(_VOICINGS) or of(_CONFIDENCES)
    known = _VOICINGS | _CONFIDENCES
    odd = [n for n in names if n in _NOTES or (n not in known and re.search("voic|conf|prob", n))]
    problem = ""
    if len(times) != 1:
        problem = f"{len(times)} columns of time"
    elif len(pitches) + bool(voices) != 1 or len(of(VOICES)) != len(voices):
        problem = f"{len(pitches) + len(of(VOICES))} columns of F0"
    elif len(flags) > 1:
        problem = "several confidences"
    elif odd:
        problem = f"a column {odd[0]}"
    refuse(path, [(line, names)], bool(problem), f"the names of the columns tell {problem}")
    return Columns(
        times[0],
        tuple(names.index(voice) for voice in voices) or tuple(pitches),
        flags[0] if flags else None,
        voices,
        1e-3 if names[times[0]] in _MILLISECONDS else 1.0,
    )


def _told_by_numbers(path: Path, rows: list[Row]) -> Columns:
    """The columns of a table that names none; refuses those that could be something else."""
    # Sonic Annotator begins its first row with the name of the recording, all others with nothing.
    first = int(all(len(cells) > 2 and not _is_number(cells[0]) for _, cells in rows))
    width = max(len(cells) for _, cells in rows)
    while width > first + 2 and not any(
        _is_number(c[width - 1]) for _, c in rows if len(c) >= width
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
                values[place] = _number(cells[number])
            except ValueError:
                refuse(path, rows[place : place + 1], True, f"the {what} is no number")
    return values


def _number(cell: str) -> float:
    word = _WORDS.get(cell.lower())
    if word is not None:
        return word
    if "_" in cell or not cell.isascii():  # Python would take them
        raise ValueError(cell)
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        return not math.isnan(_number(cell))
    except ValueError:
        return False


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
