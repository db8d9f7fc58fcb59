"""The store of weights: one safetensors file and one JSON side-car per name.

Trees and flat names are those of `umss_jax.trees`; all leaves are float32. The side-car tells the
architecture, its hyper-parameters, origin, licence, the hash of the source and of the tensors. A
file is read only where every name, shape and the hash agree; what disagrees is listed whole.

The store lies in ``$UMSS_JAX_HOME/weights``, by default in the user's cache folder. One name stands
for files of the package itself, which the store neither replaces nor shadows: :data:`STARTER`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

import umss_jax
from umss_jax.errors import OutputError, UnknownModelError, WeightsError
from umss_jax.files import home, write_bytes, write_text
from umss_jax.trees import Shape as Shape
from umss_jax.trees import Variables as Variables
from umss_jax.trees import WrongTreeError as WrongTreeError
from umss_jax.trees import expect_tree as expect_tree
from umss_jax.trees import flatten as flatten
from umss_jax.trees import part_of as part_of
from umss_jax.trees import parts as parts
from umss_jax.trees import select_parts as select_parts
from umss_jax.trees import tree_problems as tree_problems
from umss_jax.trees import unflatten as unflatten
from umss_jax.trees import value_problems as value_problems

FORMAT = 1
PUBLISHED = "published"
"""Name of the published Late/Deep and VoasCNN, together."""
STARTER = "starter"
"""Name of the weights that are part of the package; see ``starter/MODEL_CARD.md``."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SIDE_CAR_LIMIT_BYTES = 4 << 20
_SOURCE_HINT = (
    "run `umss-jax weights fetch published`, or set UMSS_SHARED to a folder that holds "
    "weights/multi-f0_estimator and weights/multi-f0_assigner"
)


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
    """Refuses to write under the name of the package's own weights.

    Raises:
        OutputError: that is the name.
    """
    if os.fspath(name_or_path) == STARTER:
        raise OutputError(
            f"{STARTER!r} names the weights that are part of umss-jax", "choose another name"
        )


def side_car_path(tensors: Path) -> Path:
    """The JSON beside the tensors."""
    return tensors.with_suffix(".json")


def save(
    name_or_path: str | os.PathLike[str],
    variables: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Store variables under a name.

    Args:
        name_or_path: a name in the store or a path.
        variables: nested; leaves become contiguous float32 arrays.
        metadata: goes into the side-car; ``architecture`` makes later reading check the tree
            against that architecture.

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
    problems = [
        f"{name} holds {leaf.dtype} instead of float32"
        for name, leaf in flat.items()
        if leaf.dtype != np.float32
    ]
    problems = problems or value_problems(flat)
    if problems or not flat:
        raise WrongTreeError(
            f"{tensors.stem}: these variables cannot be stored",
            problems or ["there are none"],
            "store finite float32 variables",
        )
    content = to_bytes({name: np.ascontiguousarray(leaf) for name, leaf in flat.items()})
    side_car = _described(variables, metadata or {})
    side_car["tensors_sha256"] = hashlib.sha256(content).hexdigest()
    text = json.dumps(side_car, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    write_bytes(tensors, content)
    write_text(side_car_path(tensors), text)
    return tensors


def _described(variables: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata with what follows from the variables and from this package."""
    params = flatten(variables.get("params", {}))
    return {
        **metadata,
        "format": FORMAT,
        "package_version": umss_jax.__version__,
        "parts": list(parts(variables)),
        "parameters": int(sum(np.size(leaf) for leaf in params.values())),
    }


def read_side_car(name_or_path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the side-car tells, without reading the tensors.

    Raises:
        UnknownModelError: there is nothing of this name.
        WeightsError: the side-car is missing, damaged or of a later version.
    """
    tensors = store_path(name_or_path)
    path = side_car_path(tensors)
    remedy = _remedy(name_or_path)
    if not tensors.is_file() and not path.is_file():
        if os.fspath(name_or_path) == STARTER:
            raise UnknownModelError(f"the starter weights are not in {tensors.parent}", remedy)
        raise UnknownModelError(
            f"no weights are stored as {os.fspath(name_or_path)!r} (looked for {tensors})",
            "see `umss-jax weights list`, or import them by `umss-jax weights import`",
        )
    try:
        if path.stat().st_size > _SIDE_CAR_LIMIT_BYTES:
            raise WeightsError(f"{path} is too large for a side-car", remedy)
        side_car = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} cannot be read ({error})", remedy) from error
    if not isinstance(side_car, dict) or not isinstance(side_car.get("tensors_sha256"), str):
        raise WeightsError(f"{path} is no side-car of weights", remedy)
    if side_car.get("format") != FORMAT:
        raise WeightsError(
            f"{path} has format {side_car.get('format')!r}, this version reads {FORMAT}",
            f"update umss-jax or {remedy}",
        )
    return side_car


def _remedy(name_or_path: str | os.PathLike[str]) -> str:
    """What helps against damaged files."""
    if os.fspath(name_or_path) == STARTER:
        return "install umss-jax again"
    return "import the weights again"


def load(name_or_path: str | os.PathLike[str]) -> tuple[Variables, dict[str, Any]]:
    """Read stored variables, checked: hash, and names and shapes where the architecture is known.

    Args:
        name_or_path: a name in the store or a path. `PUBLISHED` is imported where it is not stored.

    Returns:
        Nested float32 variables, and the side-car.

    Raises:
        UnknownModelError: there is nothing of this name.
        WeightsError: the files are damaged or do not fit; all that is wrong is listed.
    """
    if os.fspath(name_or_path) == PUBLISHED:
        return load_published()
    return _load(name_or_path)


def _load(name_or_path: str | os.PathLike[str]) -> tuple[Variables, dict[str, Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    side_car = read_side_car(name_or_path)
    tensors = store_path(name_or_path)
    remedy = _remedy(name_or_path)
    try:
        content = tensors.read_bytes()
    except OSError as error:
        raise WeightsError(f"{tensors} cannot be read ({error})", remedy) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != side_car["tensors_sha256"]:
        raise WeightsError(
            f"{tensors} is not what was stored (SHA-256 {digest}, side-car says "
            f"{side_car['tensors_sha256']})",
            remedy,
        )
    try:
        flat = from_bytes(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{tensors} is no safetensors file ({error})", remedy) from error
    problems = [
        f"{name} holds {leaf.dtype} instead of float32"
        for name, leaf in flat.items()
        if leaf.dtype != np.float32
    ] or value_problems(flat)
    expected = architecture_shapes(side_car.get("architecture"))
    if expected is not None:
        problems = tree_problems({n: v.shape for n, v in flat.items()}, expected) + problems
    if problems:
        raise WrongTreeError(f"{tensors} does not fit", problems, remedy)
    return unflatten(dict(sorted(flat.items()))), side_car


def architecture_shapes(architecture: str | None) -> dict[str, Shape] | None:
    """Shapes by flat name of an architecture of the conversion tables or of our own, else None."""
    from umss_jax.networks.registry import network_shapes
    from weights_convert import tables

    if not architecture:
        return None
    return tables.architecture_shapes(architecture) or network_shapes(architecture)


def stored_names() -> list[str]:
    """Names in the store, sorted; :data:`STARTER` is none of them."""
    names = {path.stem for path in (home() / "weights").glob("[!.]*.safetensors")}
    return sorted(names - {STARTER})


def load_published() -> tuple[Variables, dict[str, Any]]:
    """The published Late/Deep salience network and VoasCNN, as one tree of two parts.

    From the store; else imported from what `fetch` brought, else from ``$UMSS_SHARED/weights``, and
    then stored for the next time where the store can be written.

    Raises:
        WeightsError: they are nowhere, or damaged.
    """
    if store_path(PUBLISHED).is_file():
        return _load(PUBLISHED)
    from weights_convert import convert

    folders = [home() / "downloads" / PUBLISHED]
    if os.environ.get("UMSS_SHARED"):
        folders.append(Path(os.environ["UMSS_SHARED"]).expanduser() / "weights")
    for folder in folders:
        if not (folder / "multi-f0_estimator").is_dir():
            continue
        imported = convert.import_published(folder)
        # A store that cannot be written only costs the import again.
        with contextlib.suppress(OutputError):
            save(PUBLISHED, imported.variables, imported.metadata)
        return imported.variables, _described(imported.variables, imported.metadata)
    looked = ", ".join(str(folder) for folder in [store_path(PUBLISHED).parent, *folders])
    raise WeightsError(f"the published F0 weights are not here (looked in {looked})", _SOURCE_HINT)
