"""``umss-jax bench``: how fast every strategy and stage runs on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umss_jax.cli.common import NoProgressOption, check_writable, print_path, say
from umss_jax.config import Compute
from umss_jax.device import start_jax
from umss_jax.errors import UmssError, UsageError
from umss_jax.progress import progress_bar
from umss_jax.train.config import Parallel
from umss_jax.train.strategies import STRATEGIES

if TYPE_CHECKING:
    from umss_jax.bench.rows import Row, Setup
    from umss_jax.bench.run import Job

_STRATEGIES = (*STRATEGIES, "separation")
_AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="CMD",
        help="A command of another program, run in turn with ours; see --reads.",
    ),
]
_ReadsOption = Annotated[
    str | None,
    typer.Option(
        "--reads",
        metavar="PATTERN",
        help="Regular expression whose group is the seconds per example that CMD prints. Without "
        'it a JSON line with "seconds_per_example" counts, else whole processes are compared.',
    ),
]
_OursOption = Annotated[
    str | None,
    typer.Option("--ours", metavar="CMD", help="With --against: instead of our own bench."),
]


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
    devices: Annotated[
        int, typer.Option("--devices", min=1, help="That training strategies run on.")
    ] = 1,
    parallel: Annotated[
        Parallel, typer.Option("--parallel", help="How a step is mapped over several.")
    ] = Parallel.PMAP,
    compute: Annotated[
        Compute, typer.Option("--compute", help="In what convolutions and dense layers multiply.")
    ] = Compute.FLOAT32,
    against: _AgainstOption = None,
    reads: _ReadsOption = None,
    ours: _OursOption = None,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="With --against.")] = 3,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds, of a command of --against.")
    ] = 1800.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for <machine>.json and <machine>.md."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Everything, and how UMSS grows with batch and length.")
    ] = False,
    quiet: NoProgressOption = False,
    here: Annotated[bool, typer.Option("--here", hidden=True, help="In this process.")] = False,
    ceiling: Annotated[
        list[str] | None, typer.Option("--ceiling", hidden=True, help="Measured here, as JSON.")
    ] = None,
) -> int:
    """Measure training steps, separation and stages: time, memory, arithmetic, ceilings.

    Without --strategy and --stage all of them, at a batch of 4 (direct convolutions, which take
    minutes: of 1). Each runs in a process of its own, so that peak memory is its own; each row is
    printed, and written with --out, when it is done. Progress is on standard error.

    With --against another program runs in turn with ours on the same cores; both are printed with
    their ratio and the machine's rate of products before and after each.
    """
    if out:
        check_writable(out)
    start_jax()
    from umss_jax.bench import run
    from umss_jax.bench.rows import Setup

    if ceiling:
        _print_ceilings(ceiling)
        return 0
    if everything and (strategy or stage or batch or seconds):
        raise UsageError("--all leaves nothing to choose", "drop it, or the other options")
    if against is None and (reads is not None or ours is not None):
        raise UsageError("--reads and --ours go with --against", "add it, or drop them")
    setup = Setup(devices, parallel, compute)
    if against is not None:
        if stage or everything or not strategy:
            raise UsageError("--against is for strategies", "name one by --strategy")
        jobs = run.jobs(strategy, None, batch, seconds, devices=devices)
        return _compare(jobs, repeats, setup, against, reads, ours, pairs, timeout, as_json, out)
    jobs = run.jobs(strategy, stage, batch, seconds, everything, devices)
    if here:
        for row in run.measure_here(jobs, repeats, setup):
            _print_json(row)
        return 0
    return _measure(jobs, repeats, setup, as_json, out, quiet)


def _measure(
    jobs: list[Job], repeats: int, setup: Setup, as_json: bool, out: Path | None, quiet: bool
) -> int:
    from umss_jax.bench import run
    from umss_jax.bench.table import markdown

    rows: list[Row] = []
    errors: list[UmssError] = []
    table: Path | None = None

    def failed(error: UmssError) -> None:
        errors.append(error)
        say(str(error))

    def tell(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    machine, ceilings = run.measure_machine()
    tell(f"ceilings: {ceilings.words()}")
    with progress_bar("measuring", len(jobs), "measurements", quiet) as shown:
        for row in run.measure_apart(jobs, repeats, setup, ceilings, tell, failed):
            rows.append(row)
            if as_json:
                _print_json(row)
            if out:
                table = run.write(rows, out, machine)
            shown.advance(not row["stage"].endswith(" + gradient"))
    if not rows:
        return 1
    # The machine may have been busy at first: what it reached at either end is the ceiling.
    ceilings = ceilings.best(run.measure_machine().ceilings)
    rows = [run.with_ceilings(row, ceilings) for row in rows]
    if not as_json:
        typer.echo(markdown(rows, machine))
    if out:
        table = run.write(rows, out, machine)
        print_path(table)
    return 1 if errors else 0


def _compare(
    jobs: list[Job],
    repeats: int,
    setup: Setup,
    against: str,
    reads: str | None,
    ours: str | None,
    pairs: int,
    timeout: float,
    as_json: bool,
    out: Path | None,
) -> int:
    from umss_jax.bench import run
    from umss_jax.bench.against import Side, pairs_markdown, pattern_of
    from umss_jax.bench.against import pairs as in_turn

    theirs = Side(against, pattern_of(reads))
    rows: list[Row] = []
    machine = run.measure_machine(["float32"]).name

    def rate() -> float | None:
        return run.measure_machine(["float32"]).ceilings.float32

    def all_pairs() -> Iterator[Row]:
        for job in jobs:
            own = Side(ours or run.job_command(job, repeats, setup))
            about = {"strategy": job.name, "batch": job.batch, "seconds": job.seconds}
            yield from in_turn(own, theirs, pairs, rate, about, timeout)

    try:
        for row in all_pairs():
            rows.append(row)
            if as_json:
                _print_json(row)
            else:
                typer.echo(_in_words(row), err=True)
            if out:
                name = f"{machine}-pairs"
                run.write_results(rows, pairs_markdown(rows, machine), out, name)
    finally:
        # Also after a failure: what was measured before it stands.
        if rows and not as_json:
            typer.echo(pairs_markdown(rows, machine))
    return 0


def _in_words(row: Row) -> str:
    rates = ", ".join("–" if rate is None else f"{rate:.0f}" for rate in row["product_gflops"])
    return (
        f"{row['strategy']}, pair {row['pair']}: ours {row['ours_s']:.3g} s, theirs "
        f"{row['theirs_s']:.3g} s, ratio {row['ratio']:.2f} (products {rates} GFLOP/s)"
    )


def _print_ceilings(kinds: list[str]) -> None:
    from umss_jax.bench.ceilings import KINDS, measure_ceilings
    from umss_jax.bench.machine import machine_name

    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"no ceiling is called {kind!r}", f"choose from {', '.join(KINDS)}")
    ceilings = measure_ceilings(tuple(kinds))
    _print_json({"machine": machine_name(), "ceilings": ceilings._asdict()})


def _print_json(row: dict[str, Any]) -> None:
    # At once: a time-out must lose nothing that was measured.
    print(json.dumps(row, ensure_ascii=False), flush=True)
