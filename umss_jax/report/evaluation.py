"""What the page about an evaluation shows, gathered from the files that `evaluate` wrote.

Keys that are not known are shown by their own names; keys without statistics are left out.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from umss_jax.config import VOICES
from umss_jax.errors import ReportError
from umss_jax.report.scores import MEASURES
from umss_jax.words import counted

_EVALUATE = "write it with umss-jax evaluate --out FOLDER"
_IDENTITY = ("row", "excerpt", "voice", "second", "energy", "kept")
_MAIN = "si_sdr_db"
_NAMES = {"stems": "Separation", "f0": "Pitch", "multi_pitch": "Pitches of all voices together"}
_SHARES = ("f0", "multi_pitch")
"""Groups of numbers between 0 and 1."""
STATISTICS, FRAMES = "statistics.json", "frames.csv"
"""What `evaluate --out` calls its files."""


class Table(NamedTuple):
    """A table of the page."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]


class Bar(NamedTuple):
    """A mean and its interval on the scale of the chart, in percent."""

    label: str
    value: str
    low: float
    mean: float
    high: float


def is_evaluation(path: Path) -> bool:
    """Whether `evaluate --json` wrote the file."""
    try:
        return bool(_rows(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError):
        return False


def evaluation_page(path: Path, frames: Path | None = None) -> dict[str, Any]:
    """Everything that the template of an evaluation asks for.

    Args:
        path: What ``--json`` wrote, or ``statistics.json`` of ``--out``.
        frames: What ``--csv`` wrote; by default the file of the same name that ends in .csv, or
            ``frames.csv`` beside ``statistics.json``.

    Raises:
        ReportError: A file is missing or is something else.
    """
    try:
        rows = _rows(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ReportError(f"{path} is not there", _EVALUATE) from error
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} is not JSON", _EVALUATE) from error
    if not rows:
        raise ReportError(f"{path} holds no evaluation", _EVALUATE)
    if frames is None:
        by_name = path.with_name(FRAMES) if path.name == STATISTICS else path.with_suffix(".csv")
        frames = by_name if by_name.is_file() else None
    tables = list(_tables(rows))
    if frames is not None:
        tables += _frame_tables(frames)
    return {
        "title": path.absolute().parent.name if path.name == STATISTICS else path.stem,
        "subtitle": [counted(len(rows), "row"), *_counts(rows)],
        "tables": tables,
        **_chart(rows),
    }


def _is_summary(value: object) -> bool:
    return isinstance(value, dict) and "mean" in value


def _is_group(value: object) -> bool:
    """Measures by name, each a summary or a number."""
    if not isinstance(value, dict) or _is_summary(value):
        return False
    ones = value.values()
    return any(map(_is_summary, ones)) or all(isinstance(one, int | float) for one in ones)


def _rows(content: object) -> dict[str, dict[str, Any]]:
    """Rows by label, at whatever depth they stand."""
    if not isinstance(content, dict):
        return {}
    found = {
        str(label): row
        for label, row in content.items()
        if isinstance(row, dict) and any(_is_group(row.get(key)) for key in _NAMES)
    }
    if found:
        return found
    return next((rows for value in content.values() if (rows := _rows(value))), {})


def _groups(content: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all groups of measures in a row."""
    for key, value in content.items():
        if _is_group(value):
            yield (*path, key)
        if isinstance(value, dict) and not _is_summary(value):
            yield from _groups(value, (*path, key))


def _tables(rows: dict[str, dict[str, Any]]) -> Iterator[Table]:
    """One table per group of measures: what all is first, songs and voices after it."""
    paths = dict.fromkeys(path for row in rows.values() for path in _groups(row))
    for path in sorted(paths, key=len):
        groups = {label: _at(row, path) for label, row in rows.items()}
        measures = dict.fromkeys(
            key
            for group in groups.values()
            for key, value in group.items()
            if _is_summary(value) or isinstance(value, int | float)
        )
        digits = 3 if path[-1] in _SHARES else 2
        wide = any("median" in group.get(_MAIN, {}) for group in groups.values())
        columns = [MEASURES.get(key, key) for key in measures]
        extra = ["95 % of the mean", "frames", "undefined"] if wide and _MAIN in measures else []
        lines = []
        for label, group in groups.items():
            cells = [_mean_median(group.get(key), digits) for key in measures]
            if extra:
                main = group.get(_MAIN, {})
                cells.append(_interval(main))
                cells += [_text(main.get(key)) for key in ("frames", "undefined")]
            if group:
                lines.append((label, cells))
        name = _NAMES.get(path[-1], path[-1].replace("_", " "))
        of = "".join(f", {key}" for key in path[1:-1])
        both = any(" / " in cell for _, cells in lines for cell in cells)
        yield Table(f"{name}{of}{' (mean / median)' if both else ''}", columns + extra, lines)


def _at(row: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    value: Any = row
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        return None
    return float(value)


def _text(value: object, digits: int = 2) -> str:
    number = _number(value)
    if number is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{number:.{digits}f}".replace("-", "−")


def _mean_median(summary: object, digits: int) -> str:
    if not isinstance(summary, dict):
        return _text(summary, digits)
    if "median" not in summary:
        return _text(summary["mean"], digits)
    return f"{_text(summary['mean'], digits)} / {_text(summary['median'], digits)}"


def _interval(summary: dict[str, Any]) -> str:
    if _number(summary.get("mean_low")) is None:
        return "–"
    return f"{_text(summary['mean_low'])} to {_text(summary['mean_high'])}"


def _counts(rows: dict[str, dict[str, Any]]) -> list[str]:
    found = (_at(row, ("stems", _MAIN)).get("frames") for row in rows.values())
    frames = sorted({count for count in found if isinstance(count, int)})
    if not frames:
        return []
    return [" or ".join([*map(str, frames[:-1]), counted(frames[-1], "second")]) + " counted"]


def _chart(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Bars of the main measure."""
    found = []
    for label, row in rows.items():
        summary = _at(row, ("stems", _MAIN))
        mean = _number(summary.get("mean"))
        if mean is not None:
            low, high = (_number(summary.get(key)) for key in ("mean_low", "mean_high"))
            found.append(
                (label, mean, mean if low is None else low, mean if high is None else high)
            )
    if not found:
        return {"bars": [], "zero": 0.0}
    minimum = min(0.0, *(low for _, _, low, _ in found)) - 0.5
    maximum = max(0.0, *(high for _, _, _, high in found)) + 0.5

    def place(value: float) -> float:
        return round(100 * (value - minimum) / (maximum - minimum), 3)

    bars = [
        Bar(label, _text(mean), place(low), place(mean), place(high))
        for label, mean, low, high in found
    ]
    return {"bars": bars, "zero": place(0.0)}


def _frame_tables(path: Path) -> list[Table]:
    """Means per voice and per excerpt of the frames that count."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or []
            frames = [line for line in reader if line.get("kept") in ("1", "True", "true")]
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} cannot be read", _EVALUATE) from error
    if not {"row", "excerpt", "voice", "kept"} <= set(names):
        raise ReportError(f"{path} is no table of frames", _EVALUATE)
    measures = [name for name in names if name not in _IDENTITY and name in MEASURES]
    labels = list(dict.fromkeys(line["row"] for line in frames))
    known = [*VOICES, *(line["voice"] for line in frames)]
    voices = sorted({line["voice"] for line in frames}, key=known.index)

    def table(measure: str, of: str, key: str, split: str, parts: list[str]) -> Table:
        wanted = dict.fromkeys(line[key] for line in frames)
        lines = [(one, _means(frames, key, one, split, parts, measure)) for one in wanted]
        return Table(f"{MEASURES[measure]}, mean of each {of}", parts, lines)

    tables = [table(measure, "voice", "row", "voice", voices) for measure in measures]
    if _MAIN in measures:
        tables.append(table(_MAIN, "excerpt", "excerpt", "row", labels))
    return tables


def _means(
    frames: list[dict[str, str]], key: str, wanted: str, split: str, parts: list[str], measure: str
) -> list[str]:
    """Mean of a measure for each part of the lines wanted; undefined ones are left out."""
    values: dict[str, list[float]] = {part: [] for part in parts}
    for line in frames:
        if line[key] == wanted and line[measure]:
            with contextlib.suppress(ValueError):
                values[line[split]].append(float(line[measure]))
    return [_text(float(np.mean(values[part]))) if values[part] else "–" for part in parts]
