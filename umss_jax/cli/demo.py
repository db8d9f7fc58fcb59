"""``umss-jax demo``: the main job end to end, on nothing but this package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from umss_jax.chorales.config import DemoConfig
from umss_jax.cli.common import QuietOption, check_writable, exit_at_once, say
from umss_jax.device import enable_compilation_cache, start_jax

_DEFAULTS = DemoConfig()


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of all that is made.")] = Path(
        "demo"
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed.")] = 0,
    adapt: Annotated[
        int,
        typer.Option("--adapt", min=0, metavar="STEPS", help="First train on the mixture itself."),
    ] = _DEFAULTS.adapt_steps,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files of an earlier demo.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Render a sung chorale, separate it with the starter weights, and score the stems.

    Writes OUT/mixture.wav, the stems as `separate` does, the true voices in OUT/targets and
    OUT/report.html, a page to listen to all of them. Prints SI-SDR of stems and mixture and raw
    pitch accuracy for every voice. Needs no network and no data.
    """
    check_writable(out)
    with exit_at_once():
        start_jax()
        from umss_jax.demo import demo_table, run_demo

    enable_compilation_cache()
    config = replace(_DEFAULTS, adapt_steps=adapt)
    done = run_demo(out, seed, config, overwrite, (lambda stage: None) if quiet else say)
    typer.echo(demo_table(done.scores))
    typer.echo(f"stems   {done.folder}\nreport  {done.report}")
