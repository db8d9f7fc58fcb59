"""The bench as a whole: what is measured, each measurement in a process of its own.

The process that asks for them computes nothing and takes no device: a TPU belongs to one process,
and on a GPU the first takes most of the memory.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax

from umss_jax.bench import measure
from umss_jax.bench.ceilings import KINDS, Ceilings
from umss_jax.bench.commands import run_command
from umss_jax.bench.inputs import INPUT, measure_input
from umss_jax.bench.rows import Row, Setup
from umss_jax.bench.stages import STAGES
from umss_jax.bench.table import markdown
from umss_jax.errors import UmssError, UsageError
from umss_jax.files import write_text
from umss_jax.train.strategies import STRATEGIES

_SCALING = ((1, 4.0), (2, 4.0), (8, 4.0), (1, 8.0), (1, 16.0))
"""Batch and seconds at which the cheapest strategy also runs, beside (4, 4)."""
_SLOW = "(direct convolution)"
"""Stages whose gradient takes a minute an example: one example unless told."""
_KNOWN_STRATEGIES = (*STRATEGIES, measure.SEPARATION)
_KNOWN_STAGES = (*STAGES, INPUT)


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
    devices: int = 1,
) -> list[Job]:
    """What to measure, checked: all strategies and stages where none are named.

    Batches are of 4 unless given (direct convolutions, which take minutes: 1), examples 4 s long;
    ``scaling`` adds UMSS over batch and length. On several ``devices`` there are only the training
    strategies.

    Raises:
        UsageError: there is no strategy or stage of a name, or it does not run on so many devices.
    """
    if not strategies and not stages:
        strategies, stages = _KNOWN_STRATEGIES, _KNOWN_STAGES
        if devices > 1:
            strategies, stages = tuple(STRATEGIES), ()
    named = [
        *_known("strategy", strategies or (), _KNOWN_STRATEGIES),
        *_known("stage", stages or (), _KNOWN_STAGES),
    ]
    if devices > 1 and (stages or measure.SEPARATION in (strategies or ())):
        raise UsageError(
            "only training strategies run on several devices", "name some by --strategy"
        )
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


def measure_here(chosen: Sequence[Job], repeats: int, setup: Setup) -> Iterator[Row]:
    """Measures in this process, with ``repeats`` counted calls; without ceilings."""
    # Whatever cache the environment names: compile_s is the time without one.
    jax.config.update("jax_enable_compilation_cache", False)
    for job in chosen:
        if job.kind == "strategy":
            yield measure.measure_strategy(*job[1:], repeats, setup=setup)
        elif job.name == INPUT:
            yield from measure_input(*job[2:], repeats)
        else:
            yield from measure.measure_stage(*job[1:], repeats, setup=setup)


class Machine(NamedTuple):
    """What the figures are measured on, told by a process that has the device for itself."""

    name: str
    """Fit for a file name."""
    ceilings: Ceilings


def measure_machine(kinds: Sequence[str] = KINDS) -> Machine:
    """Name and ceilings of the machine, by a process of its own.

    Raises:
        UmssError: it failed.
    """
    words = [word for kind in kinds for word in ("--ceiling", kind)]
    done = run_command(_own_bench(*words), "the measurement of the ceilings")
    told = json.loads(done.printed.splitlines()[-1])
    return Machine(told["machine"], Ceilings(**told["ceilings"]))


def measure_apart(
    chosen: Sequence[Job],
    repeats: int,
    setup: Setup,
    ceilings: Ceilings,
    tell: Callable[[str], object],
    failed: Callable[[UmssError], object],
) -> Iterator[Row]:
    """Measures each job in a process of its own, so that its peak memory is its own.

    ``repeats`` calls are counted; ``tell`` is called with a line before each job, ``failed`` with
    what went wrong in one, after which the next follows.

    Yields:
        Each row when it is measured.
    """
    started = time.monotonic()
    for number, job in enumerate(chosen, 1):
        elapsed = time.monotonic() - started
        tell(
            f"{elapsed:4.0f} s, {number} of {len(chosen)}: {job.kind} {job.name}, "
            f"batch {job.batch}, {job.seconds:g} s"
        )
        try:
            done = run_command(job_command(job, repeats, setup), f"{job.kind} {job.name}")
        except UmssError as error:
            failed(error)
            continue
        for line in done.printed.splitlines():
            yield with_ceilings(json.loads(line), ceilings)


def with_ceilings(row: Row, ceilings: Ceilings) -> Row:
    """A row that says what the device could do."""
    return {**row, **ceilings.in_rows()}


def job_command(job: Job, repeats: int, setup: Setup) -> list[str]:
    """The command that measures one job and prints its rows as JSON."""
    return _own_bench(
        *(f"--{job.kind}", job.name, "--json", "--here"),
        *("--batch", str(job.batch), "--seconds", str(job.seconds), "--repeats", str(repeats)),
        *("--devices", str(setup.devices), "--parallel", str(setup.parallel)),
        *("--compute", str(setup.compute)),
    )


def _own_bench(*words: str) -> list[str]:
    return [sys.executable, "-m", "umss_jax", "bench", *words]


def write(rows: list[Row], folder: Path, machine: str) -> Path:
    """Writes rows and table as ``<machine>.json`` and ``<machine>.md``; gives the latter."""
    return write_results(rows, markdown(rows, machine), folder, machine)


def write_results(rows: list[Any], text: str, folder: Path, name: str) -> Path:
    """Writes whole files of JSON and Markdown by a name; gives the latter."""
    table = folder / f"{name}.md"
    write_text(folder / f"{name}.json", json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    write_text(table, text + "\n")
    return table
