"""The store of weights: one safetensors file per name, in whose header the metadata lie.

Trees and flat names are those of :mod:`umss_jax.trees`; all leaves are float32. The metadata
hold the whole configuration that the weights were trained with, origin, licence, the hash of the
source and of the tensors. A file is read only where every name, shape and the hash agree; what
disagrees is listed whole. Format 2 holds a configuration, format 1 held none.

Earlier versions wrote the metadata as a JSON file beside the tensors. Both are read, this last.

The store lies in ``$UMSS_JAX_HOME/weights``, by default in the user's cache folder. The names of
:data:`PACKAGED` stand for files of the package itself, which the store neither replaces nor
shadows.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import umss_jax
from umss_jax.config import ModelConfig
from umss_jax.config_tree import plain
from umss_jax.errors import OutputError, UnknownModelError, WeightsError
from umss_jax.files import home, is_remembered, make_whole, remember, write_bytes
from umss_jax.kept_programs import made_from
from umss_jax.trees import (
    Shape,
    Variables,
    WrongTreeError,
    flatten,
    parts,
    tree_problems,
    type_problems,
    unflatten,
    value_problems,
)
from umss_jax.weights.config import PACKAGED, PUBLISHED
from umss_jax.weights.configuration import FORMAT_1, restore
from umss_jax.weights.stored_file import Header, content_of, read_header, sha256_from
from umss_jax.weights.stored_metadata import FORMAT, checked, read_json, reason_of

_FITS = "fitting_weights"  # under which it is remembered that arrays are of a configuration
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class StoredWeights(NamedTuple):
    """Weights as they are used."""

    variables: Variables
    """``{'params': {part: …}, 'batch_stats': {part: …}}``, float32."""
    config: ModelConfig
    """What they were trained with."""
    metadata: dict[str, Any]
    """What else is known of them."""


def store_path(name_or_path: str | os.PathLike[str]) -> Path:
    """Where the tensors of a name lie; a path with a folder or ``.safetensors`` stands for itself.

    Raises:
        WeightsError: the name is neither.
    """
    text = os.fspath(name_or_path)
    if text.endswith(".safetensors"):
        return Path(text)
    if os.sep in text or (os.altsep and os.altsep in text):
        return Path(text + ".safetensors")
    if text in PACKAGED:
        return Path(str(resources.files("umss_jax") / "starter" / PACKAGED[text]))
    if not _NAME.fullmatch(text):
        raise WeightsError(
            f"{text!r} is no name for weights", "use letters, digits, dots, dashes and underscores"
        )
    return home() / "weights" / f"{text}.safetensors"


def refuse_packaged(name_or_path: str | os.PathLike[str]) -> None:
    """Refuses (OutputError) to write under the name of the package's own weights."""
    if os.fspath(name_or_path) in PACKAGED:
        raise OutputError(
            f"{os.fspath(name_or_path)!r} names the weights that are part of umss-jax",
            "choose another name",
        )


def metadata_path(tensors: Path) -> Path:
    """The JSON beside the tensors, where an earlier version wrote them."""
    return tensors.with_suffix(".json")


def save(
    name_or_path: str | os.PathLike[str],
    variables: Mapping[str, Any],
    config: ModelConfig,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Store variables under a name or path, with the configuration that they were trained with.

    ``metadata`` is what else is known of them.

    Returns:
        The path of the tensors.

    Raises:
        WeightsError: the leaves are not float32, or not finite.
        OutputError: nothing could be written, or the name is that of the package's own weights;
            what was there is as it was.
    """
    refuse_packaged(name_or_path)
    tensors = store_path(name_or_path)
    flat = {name: np.asarray(leaf) for name, leaf in flatten(variables).items()}
    problems = type_problems(flat) or value_problems(flat)
    if problems or not flat:
        raise WrongTreeError(
            f"{tensors.stem}: these variables cannot be stored",
            problems or ["there are none"],
            "store finite float32 variables",
        )
    params = flatten(variables.get("params", {}))
    described = {
        **(metadata or {}),
        "format": FORMAT,
        "package_version": umss_jax.__version__,
        "parts": list(parts(variables)),
        "parameters": int(sum(np.size(leaf) for leaf in params.values())),
        "configuration": plain(config),
    }
    write_bytes(tensors, content_of(flat, described))
    _remove_earlier_metadata(tensors)
    return tensors


def _remove_earlier_metadata(tensors: Path) -> None:
    """Metadata that an earlier version wrote beside the file that has just been replaced."""
    path = metadata_path(tensors)
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if "tensors_sha256" in read_json(path):
            path.unlink()


def copy(source: Path, target: Path) -> None:
    """Copies stored weights from path to path, as they are; OutputError where that fails."""
    if metadata_path(source).is_file():
        make_whole(metadata_path(target), partial(shutil.copyfile, metadata_path(source)))
    make_whole(target, partial(shutil.copyfile, source))


def read_metadata(name_or_path: str | os.PathLike[str]) -> dict[str, Any]:
    """What is known of weights, without reading the tensors; errors as :func:`load`."""
    return _described(name_or_path)[0]


def _described(name_or_path: str | os.PathLike[str]) -> tuple[dict[str, Any], Header | None]:
    """Metadata, and the header of the tensors' file where that is where they were found."""
    tensors = store_path(name_or_path)
    path, remedy = metadata_path(tensors), _remedy(name_or_path)
    if not tensors.exists() and not path.exists():
        raise _unknown(os.fspath(name_or_path), tensors)
    header: Header | None = None
    wrong: Exception | None = None
    try:
        header = read_header(tensors)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        wrong = error
    if header is not None and header.metadata is not None:
        return checked(header.metadata, tensors, remedy), header
    if wrong is not None and not path.exists():
        raise WeightsError(
            f"{tensors} is no safetensors file, or not what was stored ({reason_of(wrong)})", remedy
        )
    try:
        metadata = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{tensors} carries no metadata, and {path} cannot be read ({reason_of(error)})", remedy
        ) from error
    return checked(metadata, path, remedy), None


def _unknown(name: str, tensors: Path) -> UnknownModelError:
    """The error of weights that are not there."""
    if name in PACKAGED:
        return UnknownModelError(f"the {name} weights are not in {tensors.parent}", _remedy(name))
    if name == PUBLISHED:
        return UnknownModelError(
            f"the published F0 weights are not here (looked for {tensors})",
            "bring them by `umss-jax weights fetch published`; --from takes a folder that holds "
            "multi-f0_estimator and multi-f0_assigner",
        )
    return UnknownModelError(
        f"no weights are stored as {name!r} (looked for {tensors})",
        "see `umss-jax weights list`, or import them by `umss-jax weights import`",
    )


def _remedy(name_or_path: str | os.PathLike[str]) -> str:
    """What helps against damaged files."""
    if os.fspath(name_or_path) in PACKAGED:
        return "install umss-jax again"
    return "import the weights again"


def load(name_or_path: str | os.PathLike[str]) -> StoredWeights:
    """Read stored weights, checked: hash, values, names and shapes of their configuration.

    Raises:
        UnknownModelError: there is nothing of this name.
        WeightsError: the files are damaged, do not fit or are of a later version; all that is
            wrong is listed.
    """
    metadata, header = _described(name_or_path)
    tensors, remedy = store_path(name_or_path), _remedy(name_or_path)
    header = _check_tensors(tensors, header, metadata["tensors_sha256"], remedy)
    config = FORMAT_1
    if metadata["format"] != 1:
        # Before anything is read that takes memory: the header must be that of the configuration.
        config = restore(metadata.get("configuration"), str(tensors))
        shapes = {name: tensor.shape for name, tensor in header.tensors.items()}
        _check_shapes(shapes, config, tensors, remedy)
    variables = unflatten(dict(sorted(_read_tensors(tensors, remedy).items())))
    if metadata["format"] == 1:
        from umss_jax.weights.recognise import recognised

        config = recognised(variables, FORMAT_1)
    return StoredWeights(variables, config, metadata)


def _check_shapes(
    shapes: Mapping[str, Shape], config: ModelConfig, tensors: Path, remedy: str
) -> None:
    """That arrays are those of a configuration: remembered, since it takes all networks to know."""
    known = json.dumps([made_from(), repr(config), sorted(shapes.items())]).encode()
    if is_remembered(_FITS, known):
        return
    from umss_jax.weights.recognise import expected_shapes

    expected = expected_shapes(config, sorted({name.split("/")[1] for name in shapes}))
    if problems := tree_problems(shapes, expected):
        raise WrongTreeError(f"{tensors} does not fit its configuration", problems, remedy)
    remember(_FITS, known)


def _check_tensors(path: Path, header: Header | None, sha256: str, remedy: str) -> Header:
    """The header of a file in which no byte is wrong and which holds nothing but variables."""
    try:
        digest = sha256_from(path, header.length if header else 0)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read ({reason_of(error)})", remedy) from error
    if digest != sha256:
        raise WeightsError(
            f"{path} is not what was stored (SHA-256 {digest}, its metadata say {sha256[:64]})",
            remedy,
        )
    try:
        header = header or read_header(path)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise WeightsError(f"{path} is no safetensors file ({reason_of(error)})", remedy) from error
    problems = [
        f"{name} lies in no part"
        for name in header.tensors
        if not name.startswith(("params/", "batch_stats/")) or name.count("/") < 2
    ]
    problems += [
        f"{name} holds {tensor.dtype} instead of float32"
        for name, tensor in header.tensors.items()
        if tensor.dtype != "float32"
    ]
    if problems:
        raise WrongTreeError(f"{path} does not fit", problems, remedy)
    return header


def _read_tensors(path: Path, remedy: str) -> dict[str, np.ndarray]:
    """Arrays by flat name, of which no value is wrong."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    try:
        flat: dict[str, np.ndarray] = from_bytes(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({reason_of(error)})", remedy) from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is no safetensors file ({reason_of(error)})", remedy) from error
    if problems := value_problems(flat):
        raise WrongTreeError(f"{path} does not fit", problems, remedy)
    return flat


def stored_names() -> list[str]:
    """Names in the store, sorted; those of :data:`PACKAGED` are none of them."""
    names = {path.stem for path in (home() / "weights").glob("[!.]*.safetensors")}
    return sorted(names - set(PACKAGED))
