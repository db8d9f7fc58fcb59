"""Another program beside ours on the same cores, in turn: ours, theirs, ours, theirs.

What each takes is read in one of three ways, the same for both:

- a line of its standard output that is a JSON object with ``seconds_per_example``; of several the
  last counts. Ours prints such lines, with start, compilation and warm-up left out.
- the last match of a pattern in its standard output, whose only group is that number.
- else its wall-clock time from start to end. Then both are taken so, whatever one of them says.

The rate of plain float32 matrix products is measured before the first and after each command, so
that it can be seen whether the machine was the same for both.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from umss_jax.bench.commands import Finished, run_command
from umss_jax.bench.rows import Row
from umss_jax.errors import UmssError, UsageError
from umss_jax.train.strategies import STRATEGIES

KEY = "seconds_per_example"
_NAMES = {"ours": "our command", "theirs": "the command of --against"}


class Side(NamedTuple):
    """One of the two programs."""

    command: str | Sequence[str]
    """A line for the shell, or words."""
    pattern: re.Pattern[str] | None = None
    """By which its output is read; None: as JSON."""


class Told(NamedTuple):
    """What a command that ended says it took."""

    wall_s: float
    each_s: float | None
    """Seconds per example; None where it does not say."""
    row: Row
    """The JSON object that says so; empty where there is none."""


def pattern_of(text: str | None) -> re.Pattern[str] | None:
    """The pattern of ``--reads``, checked.

    Raises:
        UsageError: it is no regular expression, or has not just one group.
    """
    if text is None:
        return None
    try:
        pattern = re.compile(text, re.MULTILINE)
    except re.error as error:
        raise UsageError(f"--reads {text!r} is no regular expression ({error})", "mend it") from (
            error
        )
    if pattern.groups != 1:
        raise UsageError(
            f"--reads {text!r} has {pattern.groups} groups",
            "put the seconds per example, and nothing else, in brackets",
        )
    return pattern


def told_by(done: Finished, pattern: re.Pattern[str] | None, name: str) -> Told:
    """What a command took, as it says itself.

    Raises:
        UmssError: the pattern finds nothing, or what is said is no time.
    """
    if pattern is None:
        rows = [row for row in map(_as_object, done.printed.splitlines()) if KEY in row]
        if not rows:
            return Told(done.wall_s, None, {})
        return Told(done.wall_s, _time_of(rows[-1][KEY], name), rows[-1])
    found = pattern.findall(done.printed)
    if not found:
        what = "prints nothing" if not done.printed.strip() else "prints nothing like it"
        raise UmssError(f"{name} {what} ({pattern.pattern!r})", "see what it prints by itself")
    return Told(done.wall_s, _time_of(found[-1], name), {})


def _as_object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _time_of(value: Any, name: str) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if isinstance(value, bool) or not 0 < seconds < float("inf"):
        raise UmssError(f"{name} says that an example takes {value!r} s", "let it print seconds")
    return seconds


def pairs(
    ours: Side,
    theirs: Side,
    count: int,
    rate_gflops: Callable[[], float | None],
    about: Row,
    timeout_s: float | None = None,
    tell: Callable[[str], object] = lambda line: None,
) -> Iterator[Row]:
    """Runs the two in turn so many times.

    Args:
        ours: this package's command, or another to be called so.
        theirs: the other.
        count: of pairs.
        rate_gflops: measures the machine, before and after each command.
        about: what every row begins with: ``strategy``, ``batch`` and ``seconds``.
        timeout_s: a command is ended after so long.
        tell: called with a line before each command.

    Yields:
        A row for each pair when it is done: ``ours_s`` and ``theirs_s``, both per example or both
        of whole processes (``measured``), ``ratio`` (theirs over ours), ``product_gflops`` before,
        between and after, and what our row says of the machine.

    Raises:
        UmssError: a command failed; one line that says why. The rows before it stand.
    """
    variables = {
        "UMSS_BENCH_STRATEGY": str(about["strategy"]),
        "UMSS_BENCH_BATCH": str(about["batch"]),
        "UMSS_BENCH_SECONDS": f"{about['seconds']:g}",
    }
    rates = [rate_gflops()]
    for number in range(1, count + 1):
        told = []
        for side, name in ((ours, "ours"), (theirs, "theirs")):
            tell(f"pair {number} of {count}: {name}")
            done = run_command(side.command, _NAMES[name], timeout_s, variables)
            told.append(told_by(done, side.pattern, _NAMES[name]))
            rates.append(rate_gflops())
        yield _row(number, told[0], told[1], rates[-3:], {**about, "against": theirs.command})


def _row(number: int, ours: Told, theirs: Told, rates: list[float | None], about: Row) -> Row:
    by_example = ours.each_s is not None and theirs.each_s is not None
    ours_s = ours.each_s if by_example else ours.wall_s
    theirs_s = theirs.each_s if by_example else theirs.wall_s
    assert ours_s is not None
    assert theirs_s is not None
    kept = ("device", "jax", "jaxlib", "processor", "instruction_sets", "commit")
    return {
        **about,
        "pair": number,
        "measured": "example" if by_example else "process",
        "ours_s": ours_s,
        "theirs_s": theirs_s,
        "ratio": theirs_s / ours_s,
        "product_gflops": rates,
        "ours_peak_memory_bytes": ours.row.get("peak_memory_bytes"),
        "theirs_peak_memory_bytes": theirs.row.get("peak_memory_bytes"),
        **{key: ours.row[key] for key in kept if key in ours.row},
    }


def pairs_markdown(rows: Sequence[Row], machine: str) -> str:
    """A line for each strategy, batch and length: both programs, and the ratio with its spread."""
    first = rows[0]
    sets = " ".join(first.get("instruction_sets", ()))
    lines = [
        f"{machine}, {first.get('processor', '')} ({sets}), jax {first.get('jax', '–')}, "
        f"commit {first.get('commit', '–')}; in turn on the same cores.",
        "",
        "| strategy | batch × s | per | ours s | theirs s | ratio | pairs | products GFLOP/s "
        "| peak GB | theirs |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    keys = list(dict.fromkeys(map(_key, rows)))
    return "\n".join(lines + [_line([row for row in rows if _key(row) == key]) for key in keys])


def _key(row: Row) -> tuple[Any, ...]:
    return row["strategy"], row["batch"], row["seconds"], row["measured"]


def _line(rows: Sequence[Row]) -> str:
    name, batch, seconds, measured = _key(rows[0])
    title = STRATEGIES[name].title if name in STRATEGIES else name
    rates = [rate for row in rows for rate in row["product_gflops"] if rate is not None]
    peaks = [_peak(rows, f"{side}_peak_memory_bytes") for side in ("ours", "theirs")]
    times = [_spread([row[side] for row in rows], ".3g") for side in ("ours_s", "theirs_s")]
    ratio = _spread([row["ratio"] for row in rows], ".1f")
    products = f"{min(rates):.0f}–{max(rates):.0f}" if rates else "–"
    cells = [title, f"{batch} × {seconds:g}", measured, *times, ratio, str(len(rows)), products]
    return f"| {' | '.join(cells + peaks)} |"


def _spread(values: Sequence[float], form: str) -> str:
    """``11.2 (11.1–11.3)``."""
    low, high = format(min(values), form), format(max(values), form)
    return f"{format(statistics.median(values), form)} ({low}–{high})"


def _peak(rows: Sequence[Row], name: str) -> str:
    known = [row[name] for row in rows if isinstance(row.get(name), int | float)]
    return f"{max(known) / 1e9:.2f}" if known else "–"
