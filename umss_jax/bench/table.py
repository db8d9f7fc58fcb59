"""The bench's figures as Markdown, beside what the published PyTorch code takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from umss_jax.train.strategies import STRATEGIES

REFERENCE_FILE = Path(__file__).parents[2] / "experiments" / "benchmarks" / "reference.json"
"""Of the checkout; an installed package has none, and its tables show dashes there."""


def reference() -> dict[str, dict[str, float | None]]:
    """``step_s`` and ``peak_gb`` of the published code by strategy, from :data:`REFERENCE_FILE`.

    Taken on 2 CPU cores, per 4-second example at a batch of 4.
    """
    if not REFERENCE_FILE.is_file():
        return {}
    return dict(json.loads(REFERENCE_FILE.read_text(encoding="utf-8"))["strategies"])


def markdown(rows: list[dict[str, Any]], machine: str) -> str:
    """Two tables: strategies beside the reference and the floor, and stages.

    The floor is the counted arithmetic of matrix products and convolutions, as the code runs them
    (not as direct convolutions, which stand in a column of their own), over the measured rate of
    plain matrix products; transforms, element-wise work and memory traffic are not in it. CPU time
    is that of all threads.
    """
    first = rows[0]
    lines = [
        f"{machine}, {first['device']}, commit {first['commit']}; products "
        f"{first['ceiling_gflops']:.0f} GFLOP/s, copies {first['ceiling_copy_gib_s']:.1f} GiB/s.",
        "",
    ]
    known = reference()
    strategies = [row for row in rows if row["strategy"]]
    if strategies:
        lines += [
            "| strategy | batch × s | s/example (spread) | PyTorch | ratio | peak GB | PyTorch |"
            " GFLOP | direct | floor s | distance | CPU s | compile s |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            *(_strategy_line(row, known.get(row["strategy"], {})) for row in strategies),
            "",
        ]
    stages = [row for row in rows if row["stage"]]
    if stages:
        lines += [
            "| stage | batch × s | ms/example (spread) | CPU ms | GFLOP | floor ms | distance |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *map(_stage_line, stages),
            "",
        ]
    return "\n".join(lines).rstrip()


def _strategy_line(row: dict[str, Any], published: dict[str, Any]) -> str:
    batch, name = row["batch"], row["strategy"]
    each, low, high = (x / batch for x in (row["step_s"], *row["step_s_spread"]))
    floor = row["gflop_per_example"] / row["ceiling_gflops"]
    # Published for 4 seconds; longer examples are compared by the second.
    theirs = published["step_s"] * row["seconds"] / 4 if published else None
    peak = published.get("peak_gb") if batch == 4 else None
    title = STRATEGIES[name].title if name in STRATEGIES else name
    return (
        f"| {title} | {batch} × {row['seconds']:g} | {each:.3f} ({low:.3f}–{high:.3f}) "
        f"| {_or_dash(theirs, '.1f')} | {_or_dash(theirs and theirs / each, '.1f')} "
        f"| {row['peak_memory_bytes'] / 1e9:.2f} | {_or_dash(peak, '.1f')} "
        f"| {row['gflop_per_example']:.1f} | {row['gflop_direct_per_example']:.1f} | {floor:.3f} "
        f"| {each / floor:.2f} | {row['processor_s'] / batch:.3f} | {row['compile_s']:.0f} |"
    )


def _stage_line(row: dict[str, Any]) -> str:
    batch = row["batch"]
    each, low, high = (1e3 * x / batch for x in (row["step_s"], *row["step_s_spread"]))
    floor = 1e3 * row["gflop_per_example"] / row["ceiling_gflops"]
    distance = f"{each / floor:.1f}" if floor > 0.05 else "–"
    return (
        f"| {row['stage']} | {batch} × {row['seconds']:g} | {each:.1f} ({low:.1f}–{high:.1f}) "
        f"| {1e3 * row['processor_s'] / batch:.1f} | {row['gflop_per_example']:.2f} "
        f"| {floor:.1f} | {distance} |"
    )


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
