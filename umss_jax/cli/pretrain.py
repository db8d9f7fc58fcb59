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
    """Train salience and assignment on voices whose F0 is known; again to resume.

    The run lies in RUNS/<name> like one of `train`. `umss-jax chorale make` renders what
    train.folders and validation.folders take.
    """
    from umss_jax.cli.weights import bring_published
    from umss_jax.config_tree import plain, to_toml, with_overrides
    from umss_jax.train.settings import (
        build_pretraining,
        open_pretraining,
        read_tree,
        split_arguments,
    )

    file, overrides = split_arguments(arguments or [])
    tree = with_overrides(read_tree(file), overrides)
    bring_published(build_pretraining(tree).weights)
    config = open_pretraining(tree)
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
