"""``umss-jax weights``: import, list, show, verify, export, fetch.

Results go to stdout, messages to stderr; what a user can put right is raised as `UmssError` and
printed by the main command.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="weights",
    help="Import, inspect and export weights.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

NameArgument = Annotated[str, typer.Argument(help="Name in the store, or a .safetensors file.")]


def _say(text: str) -> None:
    typer.echo(text, err=True)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="HDF5 or PyTorch file, or folder of .npy files.")],
    name: Annotated[str, typer.Option("--output", "-o", help="Name to store it under.")],
    kind: Annotated[
        str | None, typer.Option(help="Kind of file; by default told from its contents.")
    ] = None,
    voices: Annotated[
        int | None, typer.Option(min=1, help="Noted with UMSS 2023 weights, which do not tell.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace weights of this name.")] = False,
) -> None:
    """Read a published weight file, check it, and store it under a name.

    Nothing in the file is run, and nothing is stored unless every array fits.
    """
    from weights_convert import import_file

    _check_free(name, overwrite)
    imported = import_file(file, kind)
    metadata = dict(imported.metadata)
    if voices is not None:
        metadata["hyper_parameters"] = {**metadata["hyper_parameters"], "n_voices": voices}
    _store(name, imported.variables, metadata)


def _check_free(name: str, overwrite: bool) -> None:
    from umss_jax.errors import OutputError
    from umss_jax.weights.store import refuse_starter, side_car_path, store_path

    refuse_starter(name)
    tensors = store_path(name)
    if not overwrite and (tensors.exists() or side_car_path(tensors).exists()):
        raise OutputError(f"weights are already stored as {name!r}", "add --overwrite")


def _store(name: str, variables: dict[str, Any], metadata: dict[str, Any]) -> None:
    from umss_jax.weights import store

    path = store.save(name, variables, metadata)
    side_car = store.read_side_car(name)
    _say(f"{metadata['kind']}: {side_car['parameters']} parameters, all names and shapes fit")
    typer.echo(path)


@app.command("list")
def list_() -> None:
    """List what there is: name, architecture, parameters, origin; tab-separated.

    First the weights that are part of the package (starter), then what is stored.
    """
    from umss_jax.errors import UmssError
    from umss_jax.files import home
    from umss_jax.weights import store

    names = store.stored_names()
    for name in [store.STARTER, *names]:
        try:
            about = store.read_side_car(name)
        except UmssError as error:
            _say(str(error))
            continue
        fields = (about.get(key, "") for key in ("architecture", "parameters", "origin"))
        typer.echo("\t".join([name, *(str(field) for field in fields)]))
    if not names:
        _say(f"nothing is stored in {home() / 'weights'}")


@app.command()
def show(
    name: NameArgument,
    arrays: Annotated[bool, typer.Option(help="List every array with its shape too.")] = False,
) -> None:
    """Print the side-car as JSON."""
    from umss_jax.weights import store

    if not arrays:
        if name == store.PUBLISHED and not store.store_path(name).is_file():
            store.load_published()
        typer.echo(json.dumps(store.read_side_car(name), indent=2, ensure_ascii=False))
        return
    variables, about = store.load(name)
    about = {**about, "arrays": {n: list(a.shape) for n, a in store.flatten(variables).items()}}
    typer.echo(json.dumps(about, indent=2, ensure_ascii=False))


@app.command()
def verify(name: NameArgument) -> None:
    """Check hash, names, shapes and values of stored weights."""
    from umss_jax.weights import store

    variables, about = store.load(name)
    count = len(store.flatten(variables))
    architecture = about.get("architecture")
    checked = store.architecture_shapes(architecture) is not None
    tree = f"the tree of {architecture}" if checked else "no known architecture to compare with"
    typer.echo(f"{name}: ok, {count} arrays, hash, finite values, {tree}")


@app.command()
def export(
    name: NameArgument,
    file: Annotated[Path, typer.Argument(help="File to write; a folder for npy.")],
    to: Annotated[str, typer.Option(help="keras, npy or torch.")],
    part: Annotated[
        list[str] | None, typer.Option(help="Only this part, e.g. salience; may be repeated.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file there.")] = False,
) -> None:
    """Write stored weights as the original code reads them."""
    from umss_jax.weights import store
    from weights_convert import export_file
    from weights_convert.convert import kind_for

    variables, _ = store.load(name)
    if part:
        variables = store.select_parts(variables, part)
    kind = kind_for(variables, to)
    path = export_file(variables, kind, file, overwrite=overwrite)
    _say(f"written as {kind}")
    typer.echo(path)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="What to fetch; `list` names what there is.")],
    source: Annotated[
        str | None, typer.Option("--from", help="Mirror address or folder instead of GitHub.")
    ] = None,
) -> None:
    """Download published weights at a pinned commit, check their hash, import and store them."""
    from umss_jax.weights import download as fetching
    from weights_convert import import_file

    if name == "list":
        for known, files in fetching.SOURCES.items():
            pinned = "SHA-256" if all(file.sha256 for file in files) else "git object (SHA-1)"
            typer.echo(f"{known}\t{files[0].repository}@{files[0].commit[:7]}\t{pinned}")
        return
    imported = import_file(fetching.fetch(name, source, progress=sys.stderr.isatty()))
    _store(name, imported.variables, imported.metadata)
