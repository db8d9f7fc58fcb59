"""``umss-jax pretrain``: the F0 networks, from stems with known F0."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from umss_jax.cli.interrupt import exit_at_once


def pretrain(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="A configuration (TOML), then key=value to set otherwise."),
    ] = None,
    runs: Annotated[Path, typer.Option("--runs", help="Folder of all runs.")] = Path("runs"),
    show: Annotated[
        bool, typer.Option("--show", help="Print the resolved configuration and do nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Train salience and assignment on voices whose F0 is known; again to go on.

    The run lies in RUNS/<name> like one of `train`. `umss-jax chorale make` renders what
    train.folders and validation.folders take.
    """
    from umss_jax.train.settings import (
        build_pretraining,
        plain,
        read_tree,
        split_arguments,
        to_toml,
    )

    file, overrides = split_arguments(arguments or [])
    config = build_pretraining(read_tree(file), overrides)
    if show:
        typer.echo(to_toml(plain(config)))
        return
    with exit_at_once():
        from umss_jax.train.pretrain import pretrain as run_pretraining
    result = run_pretraining(config, runs / config.name, quiet)
    typer.echo(
        f"{config.name}: {result.steps} steps, best validation loss {result.best_loss:.5g}",
        err=True,
    )
    typer.echo(str(result.weights))
