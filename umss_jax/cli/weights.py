"""``umss-jax weights``: import, list, show, verify, combine, average, export, fetch.

Results go to stdout, messages to stderr; what a user can put right is raised as `UmssError` and
printed by the main command.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from umss_jax.config import VOICES, VoicesConfig, with_voices
from umss_jax.errors import OutputError, UmssError, UsageError, printable
from umss_jax.voice_sets import as_voices
from umss_jax.words import counted

app = typer.Typer(
    help="Import, inspect and export weights.", no_args_is_help=True, rich_markup_mode=None
)

_LISTED = ("name", "architecture", "parameters", "origin")

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name in the store, or a .safetensors file.")
]

OutputOption = Annotated[str, typer.Option("--output", "-o", help="Name to store them under.")]
OverwriteOption = Annotated[bool, typer.Option(help="Replace weights of this name.")]
OriginOption = Annotated[
    str | None, typer.Option(help="Where they come from; by default the models named.")
]
LicenceOption = Annotated[str | None, typer.Option(help="What they may be used for.")]


def _say(text: str) -> None:
    typer.echo(printable(text), err=True)


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="HDF5 or PyTorch file, or folder of .npy files.")
    ],
    name: OutputOption,
    kind: Annotated[
        str | None, typer.Option(help="Kind of file; by default told from its contents.")
    ] = None,
    voices: Annotated[
        str | None,
        typer.Option(
            metavar="VOICES",
            help="Whose weights they are, where the file does not tell (UMSS 2023): their number, "
            "or as of `umss-jax separate`.",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Read a published weight file, check it, and store it under a name.

    Nothing in the file is run, and nothing is stored unless every array fits.
    """
    from weights_convert import import_file

    _refuse_stored(name, overwrite)
    imported = import_file(file, kind)
    metadata = dict(imported.metadata)
    ensemble = as_voices(voices) or VoicesConfig()
    if "assignment" in imported.variables["params"] and not ensemble.is_usual:
        raise UsageError(
            f"{file} has an assignment network of {', '.join(VOICES)}", "leave --voices out"
        )
    if voices is not None:
        number = len(ensemble)
        metadata["hyper_parameters"] = {**metadata["hyper_parameters"], "n_voices": number}
    _store(name, imported.variables, metadata, ensemble)


def _save(
    name: str,
    variables: dict[str, Any],
    metadata: dict[str, Any],
    voices: VoicesConfig = VoicesConfig(),
) -> Path:
    """Stores published weights with the configuration of the networks that they are of."""
    from umss_jax.weights import store
    from umss_jax.weights.recognise import recognised

    return store.save(name, variables, with_voices(recognised(variables), voices), metadata)


def _store(
    name: str,
    variables: dict[str, Any],
    metadata: dict[str, Any],
    voices: VoicesConfig = VoicesConfig(),
) -> None:
    """Stores published weights and tells of it."""
    from umss_jax.weights.store import read_metadata

    path = _save(name, variables, metadata, voices)
    count = read_metadata(name)["parameters"]
    _say(f"{metadata['kind']}: {counted(count, 'parameter')}, all names and shapes fit")
    typer.echo(path)


def bring_published(name: str) -> None:
    """Stores the published networks where a model's name asks for them and they are at hand.

    They are looked for where ``fetch`` brings files, then in ``$UMSS_SHARED/weights``. The name is
    that of one model, or of several joined by ``+``.

    Raises:
        WeightsError: the files are damaged.
        OutputError: they cannot be stored.
    """
    from umss_jax.weights.config import PUBLISHED
    from umss_jax.weights.store import store_path

    if PUBLISHED not in name.split("+") or store_path(PUBLISHED).is_file():
        return
    from umss_jax.weights.download import folder_of

    folders = [folder_of(PUBLISHED)]
    if os.environ.get("UMSS_SHARED"):
        folders.append(Path(os.environ["UMSS_SHARED"]).expanduser() / "weights")
    for folder in folders:
        if (folder / "multi-f0_estimator").is_dir():
            from weights_convert import import_published

            imported = import_published(folder)
            _save(PUBLISHED, imported.variables, imported.metadata)
            return


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of objects.")] = False,
) -> None:
    """List weights: name, architecture, parameters, origin; tab-separated below a header line.

    First the weights that are part of the package (starter, starter-small), then what is stored.
    """
    from umss_jax.files import home
    from umss_jax.weights import store
    from umss_jax.weights.config import PACKAGED
    from umss_jax.weights.stored_metadata import architecture_of

    names, rows = store.stored_names(), []
    for name in [*PACKAGED, *names]:
        try:
            about = store.read_metadata(name)
        except UmssError as error:
            _say(str(error))
            continue
        about |= {"name": name, "architecture": architecture_of(about)}
        rows.append({key: about.get(key) for key in _LISTED})
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        typer.echo("\t".join(_LISTED))
    for row in () if as_json else rows:
        cells = ("" if cell is None else str(cell) for cell in row.values())
        typer.echo("\t".join(printable(cell) for cell in cells))
    if not names:
        _say(f"nothing is stored in {home() / 'weights'}")


@app.command()
def show(
    name: NameArgument,
    arrays: Annotated[bool, typer.Option(help="List every array with its shape too.")] = False,
) -> None:
    """Print what is known of weights as JSON, their configuration among it."""
    from umss_jax.config_tree import plain
    from umss_jax.trees import flatten
    from umss_jax.weights import store

    bring_published(name)
    about = store.read_metadata(name)
    if arrays or "configuration" not in about:
        stored = store.load(name)
        about = {**about, "configuration": plain(stored.config)}
        if arrays:
            shapes = {path: list(leaf.shape) for path, leaf in flatten(stored.variables).items()}
            about = {**about, "arrays": shapes}
    typer.echo(json.dumps(about, indent=2))


@app.command()
def verify(name: NameArgument) -> None:
    """Check hash, names, shapes and values of stored weights."""
    from umss_jax.trees import flatten
    from umss_jax.weights import store

    bring_published(name)
    stored = store.load(name)
    known = "all names and shapes of their configuration"
    if stored.metadata["format"] == 1:
        known = "no configuration (format 1): networks told from names and shapes"
    count = counted(len(flatten(stored.variables)), "array")
    typer.echo(f"{name}: ok, {count}, hash, finite values, {known}")


@app.command()
def combine(
    names: Annotated[
        str, typer.Argument(metavar="NAME+NAME", help="Models; of a part the last one's counts.")
    ],
    name: OutputOption,
    origin: OriginOption = None,
    licence: LicenceOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Store several models as one: of each part the last one's, with its settings."""
    from umss_jax.weights.combine import load_weights

    _refuse_stored(name, overwrite)
    bring_published(names)
    _keep(name, load_weights(names), origin or names, licence)


@app.command()
def average(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME NAME...", help="Models of the same networks.")
    ],
    name: OutputOption,
    origin: OriginOption = None,
    licence: LicenceOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Store the mean of models: of one before and after further training, for instance.

    It often does better than either on recordings of another kind. Of parts that not all have,
    nothing is stored.
    """
    from umss_jax.weights.combine import average_weights

    _refuse_stored(name, overwrite)
    for one in names:
        bring_published(one)
    _keep(name, average_weights(names), origin or f"mean of {', '.join(names)}", licence)


def _refuse_stored(name: str, overwrite: bool) -> None:
    from umss_jax.weights.store import metadata_path, refuse_packaged, store_path

    refuse_packaged(name)
    tensors = store_path(name)
    if not overwrite and (tensors.exists() or metadata_path(tensors).exists()):
        raise OutputError(f"weights are already stored as {name!r}", "add --overwrite")


def _keep(name: str, model: Any, origin: str, licence: str | None) -> None:
    """Stores weights under a name, and prints where."""
    from umss_jax.weights import store

    said = {"origin": origin, "licence": licence}
    metadata = {key: text for key, text in said.items() if text is not None}
    typer.echo(store.save(name, model.variables, model.config, metadata))


@app.command()
def export(
    name: NameArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; a folder for npy.")],
    to: Annotated[str, typer.Option(help="keras, npy or torch.")],
    part: Annotated[
        list[str] | None, typer.Option(help="Only this part, e.g. salience; may be repeated.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file there.")] = False,
) -> None:
    """Write stored weights as the original code reads them.

    Settings that such a file cannot hold are named on stderr: the original code has its own.
    """
    from umss_jax.trees import parts, select_parts
    from umss_jax.weights import store
    from umss_jax.weights.configuration import differences
    from umss_jax.weights.recognise import recognised
    from weights_convert import export_file
    from weights_convert.convert import kind_for

    bring_published(name)
    stored = store.load(name)
    variables = select_parts(stored.variables, part) if part else stored.variables
    kind = kind_for(variables, to)
    path = export_file(variables, kind, file, overwrite=overwrite)
    _say(f"written as {kind}")
    lost = differences(stored.config, recognised(variables), parts(variables))
    if lost:
        _say(f"the file does not hold {', '.join(lost)}: set it in the code that reads it")
    typer.echo(path)


@app.command()
def fetch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What to fetch; `list` names what there is.")
    ],
    source: Annotated[
        str | None, typer.Option("--from", help="Mirror address or folder instead of GitHub.")
    ] = None,
) -> None:
    """Download published weights at a pinned commit, check their hash, import and store them."""
    from umss_jax.weights import download
    from weights_convert import import_file

    if name == "list":
        for known, files in download.SOURCES.items():
            pinned = "SHA-256" if all(file.sha256 for file in files) else "git object (SHA-1)"
            typer.echo(f"{known}\t{files[0].repository}@{files[0].commit[:7]}\t{pinned}")
        return
    imported = import_file(download.fetch(name, source, progress=sys.stderr.isatty()))
    _store(name, imported.variables, imported.metadata)
