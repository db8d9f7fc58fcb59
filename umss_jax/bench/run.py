"""The bench as a whole: what is measured, each measurement in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import jax

from umss_jax.bench import measure
from umss_jax.bench.machine import machine_name
from umss_jax.bench.stages import STAGES
from umss_jax.bench.table import markdown
from umss_jax.errors import UmssError, UsageError
from umss_jax.files import write_text
from umss_jax.interruption import check
from umss_jax.train.strategies import STRATEGIES

_SCALING = ((1, 4.0), (2, 4.0), (8, 4.0), (1, 8.0), (1, 16.0))
"""Batch and seconds at which the cheapest strategy also runs, beside (4, 4)."""
_SLOW = "(direct convolution)"
"""Stages whose gradient takes a minute an example: one example unless told."""


class Job(NamedTuple):
    """One process's work."""

    kind: Literal["strategy", "stage"]
    name: str
    batch: int
    seconds: float


def jobs(
    strategies: Sequence[str] | None,
    stages: Sequence[str] | None,
    batches: Sequence[int] | None = None,
    seconds: Sequence[float] | None = None,
    scaling: bool = False,
) -> list[Job]:
    """What to measure, checked: all strategies and stages where none are named.

    Batches are of 4 unless given (direct convolutions, which take minutes: 1), examples 4 s long;
    ``scaling`` adds UMSS over batch and length.

    Raises:
        UsageError: there is no strategy or stage of a name.
    """
    if not strategies and not stages:
        strategies, stages = (*STRATEGIES, measure.SEPARATION), tuple(STAGES)
    named = [
        *_known("strategy", strategies or (), (*STRATEGIES, measure.SEPARATION)),
        *_known("stage", stages or (), tuple(STAGES)),
    ]
    chosen = [
        Job(kind, name, examples, length)
        for kind, name in named
        for examples in batches or [1 if name.endswith(_SLOW) else 4]
        for length in seconds or [4.0]
    ]
    return chosen + [Job("strategy", "umss", *size) for size in _SCALING if scaling]


def _known(
    kind: Literal["strategy", "stage"], names: Sequence[str], known: Sequence[str]
) -> list[tuple[Literal["strategy", "stage"], str]]:
    for name in names:
        if name not in known:
            raise UsageError(f"no {kind} is called {name!r}", f"choose from {', '.join(known)}")
    return [(kind, name) for name in names]


def measure_here(chosen: Sequence[Job], repeats: int, ceiling_gflops: float) -> list[measure.Row]:
    """Measures in this process; ``repeats`` calls are counted, the ceiling is already known."""
    # Whatever cache the environment names: compile_s is the time without one.
    jax.config.update("jax_enable_compilation_cache", False)
    rows: list[measure.Row] = []
    for job in chosen:
        if job.kind == "strategy":
            rows.append(measure.measure_strategy(*job[1:], repeats))
        else:
            rows += measure.measure_stage(*job[1:], repeats)
    return [{**row, "ceiling_gflops": ceiling_gflops} for row in rows]


def measure_apart(
    chosen: Sequence[Job],
    repeats: int,
    tell: Callable[[str], None],
    step: Callable[[], object] = lambda: None,
) -> list[measure.Row]:
    """Measures each job in a process of its own, so that its peak memory is its own.

    ``repeats`` calls are counted; ``tell`` is called with a line before each job, ``step`` after
    each.

    Raises:
        UmssError: a job failed.
    """
    started = time.monotonic()
    ceiling, copy = measure.product_ceiling_gflops(), measure.copy_ceiling_gib_s()
    tell(f"ceilings: {ceiling:.0f} GFLOP/s in products, {copy:.1f} GiB/s copied")
    rows: list[measure.Row] = []
    for number, job in enumerate(chosen, 1):
        elapsed = time.monotonic() - started
        tell(
            f"{elapsed:4.0f} s, {number} of {len(chosen)}: {job.kind} {job.name}, "
            f"batch {job.batch}, {job.seconds:g} s"
        )
        rows += _in_own_process(job, repeats, ceiling)
        step()
    # The machine may have been busy at first: what it reached at either end is the ceiling.
    ceiling = max(ceiling, measure.product_ceiling_gflops())
    return [{**row, "ceiling_gflops": ceiling, "ceiling_copy_gib_s": copy} for row in rows]


def _in_own_process(job: Job, repeats: int, ceiling: float) -> list[measure.Row]:
    command = [sys.executable, "-m", "umss_jax", "bench", f"--{job.kind}", job.name, "--json"]
    command += ["--batch", str(job.batch), "--seconds", str(job.seconds)]
    command += ["--repeats", str(repeats), "--ceiling-gflops", str(ceiling)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            printed, messages = _waited_for(process)
        finally:
            process.kill()  # where the wait was broken off
    if process.returncode:
        last = (messages.strip().splitlines() or ["no message"])[-1]
        raise UmssError(f"{job.kind} {job.name} failed: {last}", "try a smaller --batch")
    return [json.loads(line) for line in printed.splitlines()]


def _waited_for(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process printed on stdout and stderr until its end."""
    while True:
        check()
        try:
            return process.communicate(timeout=0.2)
        except subprocess.TimeoutExpired:
            continue


def write(rows: list[measure.Row], folder: Path) -> Path:
    """Writes rows and table as ``<machine>.json`` and ``<machine>.md``; gives the latter."""
    machine = machine_name()
    table = folder / f"{machine}.md"
    write_text(folder / f"{machine}.json", json.dumps(rows, indent=1) + "\n")
    write_text(table, markdown(rows, machine) + "\n")
    return table
