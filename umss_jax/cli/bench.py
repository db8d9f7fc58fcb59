"""``umss-jax bench``: how fast every strategy and stage runs on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from umss_jax.cli.common import NoProgressOption, check_writable, print_path
from umss_jax.device import start_jax
from umss_jax.errors import UsageError
from umss_jax.progress import progress_bar
from umss_jax.train.strategies import STRATEGIES

_STRATEGIES = (*STRATEGIES, "separation")


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
    quiet: NoProgressOption = False,
    ceiling_gflops: Annotated[
        float | None, typer.Option("--ceiling-gflops", hidden=True, help="Already measured.")
    ] = None,
) -> int:
    """Measure training steps, separation and stages: time, memory, arithmetic, ceilings.

    Without --strategy and --stage all of them, at a batch of 4 (direct convolutions, which take
    minutes: of 1). Each runs in a process of its own, so that peak memory is its own. Progress is
    on standard error.
    """
    if out:
        check_writable(out)
    start_jax()
    from umss_jax.bench import run
    from umss_jax.bench.machine import machine_name
    from umss_jax.bench.table import markdown

    if everything and (strategy or stage or batch or seconds):
        raise UsageError("--all leaves nothing to choose", "drop it, or the other options")
    jobs = run.jobs(strategy, stage, batch, seconds, scaling=everything)
    if ceiling_gflops is not None:
        _print_json(run.measure_here(jobs, repeats, ceiling_gflops))
        return 0
    with progress_bar("measuring", len(jobs), "measurements", quiet) as shown:
        tell = (lambda line: None) if quiet else (lambda line: typer.echo(line, err=True))
        rows = run.measure_apart(jobs, repeats, tell, shown.advance)
    if as_json:
        _print_json(rows)
    else:
        typer.echo(markdown(rows, machine_name()))
    if out:
        print_path(run.write(rows, out))
    return 0


def _print_json(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        typer.echo(json.dumps(row))
