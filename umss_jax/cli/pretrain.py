"""``umss-jax pretrain``: the F0 networks, from stems with known F0."""

from __future__ import annotations

from pathlib import Path

import typer

from umss_jax.cli.common import NoProgressOption, exit_at_once
from umss_jax.cli.train import RunsOption, SettingsArgument, ShowOption, print_result
from umss_jax.device import enable_compilation_cache, start_jax


def pretrain(
    arguments: SettingsArgument = None,
    runs: RunsOption = Path("runs"),
    show: ShowOption = False,
    quiet: NoProgressOption = False,
) -> None:
    """Train salience and assignment on voices whose F0 is known; again to resume.

    The run lies in RUNS/<name> like one of `train`. `umss-jax chorale make` renders what
    train.folders and validation.folders take.
    """
    from umss_jax.cli.weights import bring_published
    from umss_jax.config_tree import plain, to_toml, with_overrides
    from umss_jax.train import settings

    file, overrides = settings.split_arguments(arguments or [])
    tree = with_overrides(settings.read_tree(file), overrides)
    bring_published(settings.build_pretraining(tree).weights)
    config = settings.open_pretraining(tree)
    if show:
        typer.echo(to_toml(plain(config)))
        return
    with exit_at_once():
        start_jax()
        enable_compilation_cache()
        from umss_jax.train.pretrain import pretrain as run_pretraining
    print_result(config.name, run_pretraining(config, runs / config.name, quiet))
