"""``umss-jax bench``: how fast every strategy and stage runs on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from umss_jax.errors import UmssError, UsageError
from umss_jax.train.strategies import STRATEGIES

_STRATEGIES = (*STRATEGIES, "separation")
_SCALING = ((1, 4.0), (2, 4.0), (8, 4.0), (1, 8.0), (1, 16.0))
"""Batch and seconds at which ``--all`` also runs the cheapest strategy, beside (4, 4)."""
_SLOW = "(direct convolution)"
"""Stages whose gradient takes a minute an example: one example unless told."""


def bench(
    strategy: Annotated[
        list[str] | None,
        typer.Option("--strategy", help=f"One of {', '.join(_STRATEGIES)}; may be repeated."),
    ] = None,
    stage: Annotated[
        list[str] | None, typer.Option("--stage", help="A stage by name; may be repeated.")
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option("--batch", min=1, help="Examples; may be repeated.")
    ] = None,
    seconds: Annotated[
        list[float] | None,
        typer.Option("--seconds", min=1.0, help="Length of an example; may be repeated."),
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Counted calls.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for <machine>.json and <machine>.md."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Everything, and how UMSS grows with batch and length.")
    ] = False,
    ceiling_gflops: Annotated[
        float | None, typer.Option("--ceiling-gflops", hidden=True, help="Already measured.")
    ] = None,
) -> int:
    """Measure training steps, separation and stages: time, memory, arithmetic, ceilings.

    Without --strategy and --stage all of them, at a batch of 4 (direct convolutions, which take
    minutes: of 1). Each runs in a process of its own, so that peak memory is its own. Progress is
    on standard error.
    """
    from umss_jax.bench import measure
    from umss_jax.bench.stages import STAGES
    from umss_jax.bench.table import markdown

    if everything and (strategy or stage or batch or seconds):
        raise UsageError("--all leaves nothing to choose", "drop it, or the other options")
    jobs = [
        _Job(kind, name, examples, length)
        for kind, name in _named(strategy, stage, tuple(STAGES))
        for examples in batch or [1 if name.endswith(_SLOW) else 4]
        for length in seconds or [4.0]
    ]
    if everything:
        jobs += [_Job("strategy", "umss", *size) for size in _SCALING]
    rows: list[dict[str, Any]] = []
    if ceiling_gflops is not None:
        import jax

        # Whatever cache the environment names: compile_s is the time without one.
        jax.config.update("jax_enable_compilation_cache", False)
        for job in jobs:
            if job.kind == "strategy":
                measured = [measure.measure_strategy(*job[1:], repeats)]
            else:
                measured = measure.measure_stage(*job[1:], repeats)
            rows += [{**row, "ceiling_gflops": ceiling_gflops} for row in measured]
        _print_json(rows)
        return 0
    started = time.monotonic()
    ceiling, copy = measure.product_ceiling_gflops(), measure.copy_ceiling_gib_s()
    typer.echo(f"ceilings: {ceiling:.0f} GFLOP/s in products, {copy:.1f} GiB/s copied", err=True)
    for number, job in enumerate(jobs, 1):
        elapsed = time.monotonic() - started
        typer.echo(
            f"{elapsed:4.0f} s, {number} of {len(jobs)}: {job.kind} {job.name}, "
            f"batch {job.batch}, {job.seconds:g} s",
            err=True,
        )
        rows += _in_own_process(job, repeats, ceiling)
    # The machine may have been busy at first: what it reached at either end is the ceiling.
    ceiling = max(ceiling, measure.product_ceiling_gflops())
    rows = [{**row, "ceiling_gflops": ceiling, "ceiling_copy_gib_s": copy} for row in rows]
    if as_json:
        _print_json(rows)
    text = markdown(rows, measure.machine_name(), copy)
    if not as_json:
        typer.echo(text)
    if out:
        _write(out, measure.machine_name(), rows, text)
    return 0


class _Job(NamedTuple):
    """One process's work."""

    kind: Literal["strategy", "stage"]
    name: str
    batch: int
    seconds: float


def _named(
    strategies: list[str] | None, stages: list[str] | None, known_stages: tuple[str, ...]
) -> list[tuple[Literal["strategy", "stage"], str]]:
    """What to measure, checked: all where nothing was named."""
    if not strategies and not stages:
        strategies, stages = list(_STRATEGIES), list(known_stages)
    for name in strategies or []:
        if name not in _STRATEGIES:
            raise UsageError(
                f"no strategy is called {name!r}", f"choose from {', '.join(_STRATEGIES)}"
            )
    for name in stages or []:
        if name not in known_stages:
            raise UsageError(
                f"no stage is called {name!r}", f"choose from {', '.join(known_stages)}"
            )
    named: list[tuple[Literal["strategy", "stage"], str]]
    named = [("strategy", name) for name in strategies or []]
    return named + [("stage", name) for name in stages or []]


def _in_own_process(job: _Job, repeats: int, ceiling: float) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "umss_jax", "bench", f"--{job.kind}", job.name, "--json"]
    command += ["--batch", str(job.batch), "--seconds", str(job.seconds)]
    command += ["--repeats", str(repeats)]
    command += ["--ceiling-gflops", str(ceiling)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UmssError(f"{job.kind} {job.name} failed: {last}", "try a smaller --batch")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _print_json(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        typer.echo(json.dumps(row))


def _write(folder: Path, machine: str, rows: list[dict[str, Any]], text: str) -> None:
    from umss_jax.files import write_text

    write_text(folder / f"{machine}.json", json.dumps(rows, indent=1) + "\n")
    write_text(folder / f"{machine}.md", text + "\n")
    typer.echo(str(folder / f"{machine}.md"))
