"""The bench's figures as Markdown."""

from __future__ import annotations

from typing import Any

from umss_jax.train.strategies import STRATEGIES


def markdown(rows: list[dict[str, Any]], machine: str) -> str:
    """Two tables: strategies and stages, both beside their floor.

    The floor is the counted arithmetic of matrix products and convolutions, as the code runs them
    (not as direct convolutions, which stand in a column of their own), over the measured rate of
    plain float32 matrix products of as many devices; transforms, element-wise work and memory
    traffic are not in it. CPU time is that of all threads.
    """
    first = rows[0]
    lines = [
        f"{machine}, {first['device']}, {_sets(first)}jax {first['jax']}, jaxlib "
        f"{first['jaxlib']}, commit {first['commit']}; {_ceilings(first)}.",
        "",
    ]
    strategies = [row for row in rows if row["strategy"]]
    if strategies:
        lines += [
            "| strategy | batch × s | devices | s/example (spread) | peak GB | program GB | GFLOP |"
            " direct | floor s | distance | CPU s | compile s |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            *map(_strategy_line, strategies),
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


def _sets(row: dict[str, Any]) -> str:
    sets = " ".join(row["instruction_sets"])
    return f"{sets}, " if sets and row["device"].startswith("cpu") else ""


def _ceilings(row: dict[str, Any]) -> str:
    rates = {
        "products": row["ceiling_gflops"],
        "in TF32": row.get("ceiling_tf32_gflops"),
        "in bfloat16": row.get("ceiling_bfloat16_gflops"),
    }
    words = [f"{name} {rate:.0f} GFLOP/s" for name, rate in rates.items() if rate is not None]
    copied = row["ceiling_copy_gib_s"]
    copies = [f"copies {copied:.1f} GiB/s"] if copied is not None else []
    return ", ".join(words + copies) or "ceilings not measured"


def _floor_s(row: dict[str, Any]) -> float | None:
    """Seconds per example that the products take at best."""
    if row["ceiling_gflops"] is None:
        return None
    return float(row["gflop_per_example"] / row["ceiling_gflops"] / row["devices"])


def _strategy_line(row: dict[str, Any]) -> str:
    batch, name, floor = row["batch"], row["strategy"], _floor_s(row)
    each, low, high = (x / batch for x in (row["step_s"], *row["step_s_spread"]))
    title = STRATEGIES[name].title if name in STRATEGIES else name
    title += "" if row["compute"] == "float32" else f", {row['compute']}"
    program = row["program_memory_bytes"]
    devices = f"{row['devices']}" + (f" ({row['parallel']})" if row["parallel"] else "")
    return (
        f"| {title} | {batch} × {row['seconds']:g} | {devices} | {each:.3f} ({low:.3f}–{high:.3f}) "
        f"| {row['peak_memory_bytes'] / 1e9:.2f} | {_or_dash(program and program / 1e9, '.2f')} "
        f"| {row['gflop_per_example']:.1f} | {row['gflop_direct_per_example']:.1f} "
        f"| {_or_dash(floor, '.3f')} | {_or_dash(floor and each / floor, '.2f')} "
        f"| {row['processor_s'] / batch:.3f} | {row['compile_s']:.0f} |"
    )


def _stage_line(row: dict[str, Any]) -> str:
    batch, floor = row["batch"], _floor_s(row)
    each, low, high = (1e3 * x / batch for x in (row["step_s"], *row["step_s_spread"]))
    floor_ms = None if floor is None else 1e3 * floor
    distance = each / floor_ms if floor_ms is not None and floor_ms > 0.05 else None
    return (
        f"| {row['stage']} | {batch} × {row['seconds']:g} | {each:.1f} ({low:.1f}–{high:.1f}) "
        f"| {1e3 * row['processor_s'] / batch:.1f} | {row['gflop_per_example']:.2f} "
        f"| {_or_dash(floor_ms, '.1f')} | {_or_dash(distance, '.1f')} |"
    )


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
