"""``umss-jax train``: one command a run, from recordings to weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umss_jax.cli.common import NoProgressOption, exit_at_once, print_path, say
from umss_jax.device import enable_compilation_cache, start_jax
from umss_jax.words import counted

if TYPE_CHECKING:
    from umss_jax.train.run_folder import RunResult

SettingsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONFIGURATION] [KEY=VALUE]...",
        help="A TOML file, then what to set otherwise.",
    ),
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder of all runs.")]
ShowOption = Annotated[
    bool, typer.Option("--show", help="Print the resolved configuration and do nothing.")
]


def train(
    arguments: SettingsArgument = None,
    runs: RunsOption = Path("runs"),
    from_reference: Annotated[
        Path | None,
        typer.Option("--from-reference", help="The reference's config.txt instead of a TOML file."),
    ] = None,
    cache_salience: Annotated[
        bool,
        typer.Option("--cache-salience", help="Keep what frozen F0 networks say of an example."),
    ] = False,
    show: ShowOption = False,
    quiet: NoProgressOption = False,
) -> None:
    """Train a model; the same command again resumes where it stopped.

    The run lies in RUNS/<name>: resolved configuration, metrics, checkpoints, TensorBoard, and
    weights.safetensors, the best so far. All devices that JAX sees are used. Over several hosts
    set UMSS_JAX_HOSTS (address:port,processes,number, or auto).
    """
    from umss_jax.cli.weights import bring_published
    from umss_jax.config_tree import plain, to_toml, with_overrides
    from umss_jax.errors import UnknownModelError
    from umss_jax.train.settings import build_run, open_run, read_tree, split_arguments

    file, overrides = split_arguments(arguments or [])
    if cache_salience:
        overrides = [*overrides, "cache_salience=true"]
    tree = with_overrides(read_tree(file, from_reference), overrides)
    bring_published(build_run(tree).weights)
    try:
        config = open_run(tree)
    except UnknownModelError as error:
        if not show:
            raise
        say(f"{error}; the model's settings below are the defaults, not those of the weights")
        config = build_run(tree)
    if show:
        typer.echo(to_toml(plain(config)))
        return
    with exit_at_once():
        start_jax()
        from umss_jax.train.sharding import start_hosts

        start_hosts()
        enable_compilation_cache()
        from umss_jax.train.run import train as run_training
    print_result(config.name, run_training(config, runs / config.name, quiet))


def print_result(name: str, result: RunResult) -> None:
    """How a run of this name ended, on stderr, and its weights."""
    say(f"{name}: {counted(result.steps, 'step')}, best validation loss {result.best_loss:.5g}")
    print_path(result.weights)
