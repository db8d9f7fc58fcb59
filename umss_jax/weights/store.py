"""The store of weights: one safetensors file and one JSON file of metadata per name.

Trees and flat names are those of :mod:`umss_jax.trees`; all leaves are float32. The metadata
hold the whole configuration that the weights were trained with, origin, licence, the hash of the
source and of the tensors. A file is read only where every name, shape and the hash agree; what
disagrees is listed whole. Format 2 holds a configuration, format 1 held none.

The store lies in ``$UMSS_JAX_HOME/weights``, by default in the user's cache folder. One name stands
for files of the package itself, which the store neither replaces nor shadows: :data:`STARTER`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import umss_jax
from umss_jax.config import ModelConfig
from umss_jax.config_tree import plain
from umss_jax.errors import OutputError, UnknownModelError, WeightsError
from umss_jax.files import home, write_bytes, write_text
from umss_jax.trees import (
    Variables,
    WrongTreeError,
    flatten,
    parts,
    tree_problems,
    type_problems,
    unflatten,
    value_problems,
)
from umss_jax.weights.config import PUBLISHED, STARTER
from umss_jax.weights.configuration import FORMAT_1, restore

FORMAT = 2

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_METADATA_LIMIT_BYTES = 4 << 20


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
    if text == STARTER:
        return Path(str(resources.files("umss_jax") / "starter" / "weights.safetensors"))
    if not _NAME.fullmatch(text):
        raise WeightsError(
            f"{text!r} is no name for weights", "use letters, digits, dots, dashes and underscores"
        )
    return home() / "weights" / f"{text}.safetensors"


def refuse_starter(name_or_path: str | os.PathLike[str]) -> None:
    """Refuses (OutputError) to write under the name of the package's own weights."""
    if os.fspath(name_or_path) == STARTER:
        raise OutputError(
            f"{STARTER!r} names the weights that are part of umss-jax", "choose another name"
        )


def metadata_path(tensors: Path) -> Path:
    """The JSON beside the tensors."""
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
    from safetensors.numpy import save as to_bytes

    refuse_starter(name_or_path)
    tensors = store_path(name_or_path)
    flat = {name: np.asarray(leaf) for name, leaf in flatten(variables).items()}
    problems = type_problems(flat) or value_problems(flat)
    if problems or not flat:
        raise WrongTreeError(
            f"{tensors.stem}: these variables cannot be stored",
            problems or ["there are none"],
            "store finite float32 variables",
        )
    content = to_bytes({name: np.ascontiguousarray(leaf) for name, leaf in flat.items()})
    params = flatten(variables.get("params", {}))
    described = {
        **(metadata or {}),
        "format": FORMAT,
        "package_version": umss_jax.__version__,
        "parts": list(parts(variables)),
        "parameters": int(sum(np.size(leaf) for leaf in params.values())),
        "configuration": plain(config),
        "tensors_sha256": hashlib.sha256(content).hexdigest(),
    }
    text = json.dumps(described, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    write_bytes(tensors, content)
    write_text(metadata_path(tensors), text)
    return tensors


def read_metadata(name_or_path: str | os.PathLike[str]) -> dict[str, Any]:
    """What is known of weights, without reading the tensors; errors as :func:`load`."""
    tensors = store_path(name_or_path)
    path = metadata_path(tensors)
    remedy = _remedy(name_or_path)
    if not tensors.is_file() and not path.is_file():
        raise _unknown(os.fspath(name_or_path), tensors)
    try:
        if path.stat().st_size > _METADATA_LIMIT_BYTES:
            raise WeightsError(f"{path} is too large for metadata", remedy)
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} cannot be read ({error})", remedy) from error
    if (
        not isinstance(metadata, dict)
        or not isinstance(metadata.get("tensors_sha256"), str)
        or not isinstance(metadata.get("parts"), list)
    ):
        raise WeightsError(f"{path} holds no metadata of weights", remedy)
    if metadata.get("format") not in (1, FORMAT):
        raise WeightsError(
            f"{path} has format {metadata.get('format')!r}, this version reads 1 to {FORMAT}",
            f"update umss-jax or {remedy}",
        )
    return metadata


def _unknown(name: str, tensors: Path) -> UnknownModelError:
    """The error of weights that are not there."""
    if name == STARTER:
        return UnknownModelError(f"the starter weights are not in {tensors.parent}", _remedy(name))
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
    if os.fspath(name_or_path) == STARTER:
        return "install umss-jax again"
    return "import the weights again"


def load(name_or_path: str | os.PathLike[str]) -> StoredWeights:
    """Read stored weights, checked: hash, values, names and shapes of their configuration.

    Raises:
        UnknownModelError: there is nothing of this name.
        WeightsError: the files are damaged, do not fit or are of a later version; all that is
            wrong is listed.
    """
    from umss_jax.weights.recognise import expected_shapes, recognised

    metadata = read_metadata(name_or_path)
    tensors = store_path(name_or_path)
    flat = _read_tensors(tensors, metadata["tensors_sha256"], _remedy(name_or_path))
    variables = unflatten(dict(sorted(flat.items())))
    if metadata["format"] == 1:
        return StoredWeights(variables, recognised(variables, FORMAT_1), metadata)
    config = restore(metadata.get("configuration"), str(tensors))
    shapes = {name: value.shape for name, value in flat.items()}
    problems = tree_problems(shapes, expected_shapes(config, parts(variables)))
    if problems:
        raise WrongTreeError(
            f"{tensors} does not fit its configuration", problems, _remedy(name_or_path)
        )
    return StoredWeights(variables, config, metadata)


def _read_tensors(path: Path, sha256: str, remedy: str) -> dict[str, np.ndarray]:
    """Arrays by flat name, of which no byte and no value is wrong."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error})", remedy) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise WeightsError(
            f"{path} is not what was stored (SHA-256 {digest}, its metadata say {sha256})", remedy
        )
    try:
        flat: dict[str, np.ndarray] = from_bytes(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is no safetensors file ({error})", remedy) from error
    problems = type_problems(flat) or value_problems(flat)
    if problems:
        raise WrongTreeError(f"{path} does not fit", problems, remedy)
    return flat


def stored_names() -> list[str]:
    """Names in the store, sorted; :data:`STARTER` is none of them."""
    names = {path.stem for path in (home() / "weights").glob("[!.]*.safetensors")}
    return sorted(names - {STARTER})
