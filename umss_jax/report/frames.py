"""Tables of a page from the frames of an evaluation: means per voice and per excerpt."""

from __future__ import annotations

import contextlib
import csv
from pathlib import Path
from typing import Any, NamedTuple

from umss_jax.config import VOICES
from umss_jax.errors import ReportError
from umss_jax.report.scores import MEASURES

EVALUATE = "write it with umss-jax evaluate --out FOLDER"
"""What to do where a file is missing or something else."""
MAIN = "si_sdr_db"
"""The measure of the chart."""
_IDENTITY = ("row", "excerpt", "voice", "second", "energy", "kept")
_LARGEST = 1e12
_MOST_BYTES = 512 << 20
_MOST_MEANS = 100_000


class Table(NamedTuple):
    """A table of the page."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]
    measures: tuple[str, ...] = ()
    """Keys of what it shows."""
    is_detail: bool = True
    """Whether it splits up what another shows as a whole."""


def finite(value: object) -> float | None:
    """A number that can be shown; None where it is none, not finite, or beyond all measures."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_LARGEST <= value <= _LARGEST else None


def shown(value: object, digits: int = 2) -> str:
    """A number as the page shows it; a dash where it cannot be shown."""
    number = finite(value)
    if number is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{number:.{digits}f}".replace("-", "−")


def frame_tables(path: Path) -> list[Table]:
    """Means per voice and per excerpt of the frames that count, of what ``evaluate --csv`` wrote.

    Raises:
        ReportError: the file cannot be read, is too large or is something else.
    """
    means = _Means()
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            raise ValueError("no file of that kind")
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or [])
            if not {"row", "excerpt", "voice", "kept"} <= set(names):
                raise ReportError(f"{path} is no table of frames", EVALUATE)
            measures = [name for name in names if name not in _IDENTITY and name in MEASURES]
            for line in reader:
                if line.get("kept") in ("1", "True", "true"):
                    means.add(line, measures)
    except (OSError, ValueError, csv.Error) as error:
        raise ReportError(f"{path} cannot be read", EVALUATE) from error
    known = {voice: number for number, voice in enumerate(dict.fromkeys((*VOICES, *means.voices)))}
    voices = sorted(means.voices, key=known.__getitem__)

    def table(measure: str, of: str, wanted: dict[str, None], parts: list[str]) -> Table:
        key = (measure, of)
        lines = [(one, [means.text(*key, one, part) for part in parts]) for one in wanted]
        return Table(f"{MEASURES[measure]}, mean of each {of}", parts, lines, (measure,))

    tables = [table(measure, "voice", means.rows, voices) for measure in measures]
    if MAIN in measures:
        tables.append(table(MAIN, "excerpt", means.excerpts, list(means.rows)))
    return tables


class _Means:
    """Sums and counts of measures by row and voice, and of the main one by excerpt and row."""

    def __init__(self) -> None:
        self.rows: dict[str, None] = {}
        self.excerpts: dict[str, None] = {}
        self.voices: dict[str, None] = {}
        self._sums: dict[tuple[str, str, str, str], tuple[float, int]] = {}

    def add(self, line: dict[str, Any], measures: list[str]) -> None:
        """A line of the table; what is undefined is left out.

        Raises:
            ValueError: a line without names, or more names than an evaluation has.
        """
        row, excerpt, voice = (line[key] for key in ("row", "excerpt", "voice"))
        if row is None or excerpt is None or voice is None:
            raise ValueError("a line is too short")
        for found, name in ((self.rows, row), (self.excerpts, excerpt), (self.voices, voice)):
            found[name] = None
        sides = len(self.rows) * (len(self.excerpts) + len(self.voices))
        if sides > _MOST_MEANS or len(self._sums) > _MOST_MEANS:
            raise ValueError("too many names")
        for measure in measures:
            value = None
            with contextlib.suppress(ValueError, TypeError):
                value = finite(float(line[measure]))
            if value is not None:
                self._put((measure, "voice", row, voice), value)
                if measure == MAIN:
                    self._put((measure, "excerpt", excerpt, row), value)

    def _put(self, key: tuple[str, str, str, str], value: float) -> None:
        total, count = self._sums.get(key, (0.0, 0))
        self._sums[key] = total + value, count + 1

    def text(self, measure: str, of: str, one: str, part: str) -> str:
        """A mean as the page shows it."""
        total, count = self._sums.get((measure, of, one, part), (0.0, 0))
        return shown(total / count) if count else "–"
