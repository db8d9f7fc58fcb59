"""What the page about an evaluation shows, gathered from the files that `evaluate` wrote.

Keys that are not known are shown by their own names; keys without statistics are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from umss_jax.documents import NoDocumentError, read_json
from umss_jax.errors import ReportError, printable
from umss_jax.report.frames import EVALUATE, MAIN, Table, finite, frame_tables, shown
from umss_jax.report.scores import MEASURES, Word, words_of
from umss_jax.words import counted

_NAMES = {"stems": "Separation", "f0": "Pitch", "multi_pitch": "Pitches of all voices together"}
_MOST_BYTES = 64 << 20
_COLUMNS = {
    "95 % of the mean": "Another choice of seconds from the same music would give a mean between "
    "these two numbers in 95 of 100 cases.",
    "frames": "Seconds of voices that the numbers are of: those in which the voice sounds.",
    "undefined": "Seconds for which there is no number, since the separated voice was silent.",
}
"""Of the table of all frames, besides its measures."""
_ROWS = (
    Word("mixture", "The recording itself taken for each of the voices: what there was before."),
    Word("ideal ratio masks", "The best that masks can do, made from the true voices: a ceiling."),
    Word("comb", "A filter without learning that keeps the harmonics of a pitch: for scale."),
    Word(
        "mean / median",
        "The average, and the middle one of all seconds, which few move.",
    ),
)
_SHARES = ("f0", "multi_pitch")
"""Groups of numbers between 0 and 1."""
STATISTICS, FRAMES = "statistics.json", "frames.csv"
"""What `evaluate --out` calls its files."""


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
        return bool(_rows(read_json(path, _MOST_BYTES)))
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
        rows = _rows(read_json(path, _MOST_BYTES))
    except FileNotFoundError as error:
        raise ReportError(f"{path} is not there", EVALUATE) from error
    except (OSError, ValueError) as error:
        reason = f" ({error})" if isinstance(error, NoDocumentError) else ""
        raise ReportError(f"{path} is not JSON{reason}", EVALUATE) from error
    if not rows:
        raise ReportError(f"{path} holds no evaluation", EVALUATE)
    if frames is None:
        by_name = path.with_name(FRAMES) if path.name == STATISTICS else path.with_suffix(".csv")
        frames = by_name if by_name.is_file() else None
    tables = list(_tables(rows))
    if frames is not None:
        tables += frame_tables(frames)
    return {
        "title": printable(path.absolute().parent.name if path.name == STATISTICS else path.stem),
        "subtitle": [counted(len(rows), "row"), *_counts(rows)],
        "tables": [table for table in tables if not table.is_detail],
        "details": [table for table in tables if table.is_detail],
        "words": _words(tables),
        **_chart(rows),
    }


def _words(tables: list[Table]) -> list[Word]:
    """What a reader of the tables may not know."""
    words = words_of(dict.fromkeys(key for table in tables for key in table.measures))
    for column, meaning in _COLUMNS.items():
        if any(column in table.columns for table in tables):
            words.append(Word(column, meaning))
    return [*words, *_ROWS]


def _is_summary(value: object) -> bool:
    return isinstance(value, dict) and "mean" in value


def _summary(group: dict[str, Any], key: str) -> dict[str, Any]:
    """The summary of a measure; empty where there is none."""
    value = group.get(key)
    return value if isinstance(value, dict) and _is_summary(value) else {}


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
        wide = any("median" in _summary(group, MAIN) for group in groups.values())
        columns = [MEASURES.get(key, key) for key in measures]
        extra = list(_COLUMNS) if wide and MAIN in measures else []
        lines = []
        for label, group in groups.items():
            cells = [_mean_median(group.get(key), digits) for key in measures]
            if extra:
                main = _summary(group, MAIN)
                cells.append(_interval(main))
                cells += [shown(main.get(key)) for key in ("frames", "undefined")]
            if group:
                lines.append((label, cells))
        name = _NAMES.get(path[-1], path[-1].replace("_", " "))
        of = "".join(f", {key}" for key in path[1:-1])
        both = any(" / " in cell for _, cells in lines for cell in cells)
        title = f"{name}{of}{' (mean / median)' if both else ''}"
        yield Table(title, columns + extra, lines, tuple(measures), is_detail=len(path) > 1)


def _at(row: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    value: Any = row
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _mean_median(summary: object, digits: int) -> str:
    if not isinstance(summary, dict):
        return shown(summary, digits)
    if "median" not in summary:
        return shown(summary.get("mean"), digits)
    return f"{shown(summary.get('mean'), digits)} / {shown(summary['median'], digits)}"


def _interval(summary: dict[str, Any]) -> str:
    if finite(summary.get("mean_low")) is None:
        return "–"
    return f"{shown(summary['mean_low'])} to {shown(summary.get('mean_high'))}"


def _counts(rows: dict[str, dict[str, Any]]) -> list[str]:
    found = (finite(_at(row, ("stems", MAIN)).get("frames")) for row in rows.values())
    frames = sorted({round(count) for count in found if count is not None})[:10]
    if not frames:
        return []
    return [" or ".join([*map(str, frames[:-1]), counted(frames[-1], "second")]) + " counted"]


def _chart(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Bars of the main measure."""
    found = []
    for label, row in rows.items():
        summary = _at(row, ("stems", MAIN))
        mean = finite(summary.get("mean"))
        if mean is not None:
            low, high = (finite(summary.get(key)) for key in ("mean_low", "mean_high"))
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
        Bar(label, shown(mean), place(low), place(mean), place(high))
        for label, mean, low, high in found
    ]
    return {"bars": bars, "zero": place(0.0)}
