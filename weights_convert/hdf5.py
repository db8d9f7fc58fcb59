"""Keras HDF5 files, weights alone or whole models: read strictly, written so that Keras loads them.

HDF5 can point at other files, call filters and promise more numbers than it holds. Only plain
contiguous float32 arrays inside the file are read, and only as many bytes as lie there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from umss_jax.files import regular_bytes
from umss_jax.trees import MAX_ARRAYS, MAX_BYTES
from weights_convert.limits import check_total
from weights_convert.table import Arrays, RefusedFileError, Table

MAX_LAYERS = 1000
_MAX_DEPTH = 8
_MAX_NAME = 300
_MAX_NAMES_BYTES = 1 << 30
_NORM = re.compile(r"batch_normalization(?:_v[12])?(?:_(\d+))?")
_LEFT_ASIDE = ("optimizer_weights",)
# Later Keras 2 adds this group without listing it; it is read as a layer, so it must be empty.
_UNLISTED = ("top_level_model_weights",)
_KERAS_VERSION = "2.4.0"


def read(path: Path) -> tuple[Arrays, list[str]]:
    """Arrays of a Keras file.

    Normalisations are renamed to ``norm 0``, ``norm 1``, … by the order of the numbers in their
    automatic names, whatever number those begin at.

    Returns:
        Arrays by ``layer/weight`` (``conv1a/kernel``), and what was left aside on purpose.

    Raises:
        RefusedFileError: with all that is wrong.
    """
    import h5py

    try:
        file_bytes = regular_bytes(path, MAX_BYTES)
        with h5py.File(path, "r") as file:
            group, left_aside = _weights_group(file)
            found = _layers(group, file_bytes)
            count = sum(map(len, found.values()))
            total = sum(item.nbytes for layer in found.values() for item in layer.values())
            check_total(count, total, file_bytes)
            arrays = _renamed(
                {
                    layer: {name: np.asarray(item[()], np.float32) for name, item in items.items()}
                    for layer, items in found.items()
                }
            )
    except RefusedFileError:
        raise
    except Exception as error:  # h5py raises many types where a file is garbled
        reason = str(error)[:300]
        raise RefusedFileError([f"HDF5 is cut short or garbled ({reason})"]) from error
    return arrays, left_aside


def _weights_group(file: Any) -> tuple[Any, list[str]]:
    """The group that lists layers: the root, or ``model_weights`` of a whole model."""
    if "layer_names" in file.attrs:
        return file, []
    import h5py

    if not isinstance(file.get("model_weights", getlink=True), h5py.HardLink):
        raise RefusedFileError(
            ["there is neither layer_names nor model_weights, so not of Keras 2"]
        )
    extra = [name for name in _members(file) if name not in ("model_weights", *_LEFT_ASIDE)]
    if extra:
        raise RefusedFileError([f"extra group {name}" for name in extra])
    group = file["model_weights"]
    if not isinstance(group, h5py.Group):
        raise RefusedFileError(["model_weights is no group"])
    return group, [name for name in _LEFT_ASIDE if file.get(name, getlink=True) is not None]


def _members(group: Any) -> list[str]:
    """Names in a group, of which there are not too many."""
    if len(group) > MAX_LAYERS:
        raise RefusedFileError([f"a group has {len(group)} members, {MAX_LAYERS} at most are read"])
    return list(group)


def _names(attributes: Any, key: str, file_bytes: int) -> list[str]:
    """A list of names in the attributes, which Keras splits where it is long."""
    chunks = [key] if key in attributes else []
    chunks += [f"{key}{n}" for n in range(MAX_LAYERS) if not chunks and f"{key}{n}" in attributes]
    names: list[str] = []
    for chunk in chunks:
        stored = attributes.get_id(chunk)
        if len(stored.shape) != 1 or stored.shape[0] > MAX_LAYERS:
            raise RefusedFileError([f"{key} is no list of at most {MAX_LAYERS} names"])
        if stored.shape[0] == 0:
            continue
        # Names of any length lie elsewhere in the file, where all can be the same long one.
        is_anywhere = stored.dtype.kind == "O" and stored.shape[0] * file_bytes > _MAX_NAMES_BYTES
        if stored.get_storage_size() > 1 << 20 or is_anywhere:
            raise RefusedFileError([f"{key} is too long"])
        for name in attributes[chunk]:
            text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
            if not isinstance(text, str):
                raise RefusedFileError([f"{key} holds something else than names"])
            if len(text) > _MAX_NAME or not text.isprintable():
                raise RefusedFileError([f"{key} holds {text[:60]!r}, which is no plain name"])
            if key == "layer_names" and "/" in text:
                raise RefusedFileError([f"layer {text} has a path for a name"])
            names.append(text)
    return names


def _layers(group: Any, file_bytes: int) -> dict[str, dict[str, Any]]:
    """Datasets by name of each layer that has any: looked at, but not read."""
    import h5py

    names = _names(group.attrs, "layer_names", file_bytes)
    problems = [f"layer {name} is listed twice" for name in set(names) if names.count(name) > 1]
    names += [name for name in _UNLISTED if group.get(name, getlink=True) is not None]
    problems += [
        f"extra layer {name} (not listed)" for name in _members(group) if name not in names
    ]
    layers: dict[str, dict[str, Any]] = {}
    count = 0
    for name in dict.fromkeys(names):
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink) or not isinstance(group[name], h5py.Group):
            problems.append(f"missing layer {name} (listed)")
            continue
        weights: dict[str, Any] = {}
        listed = _names(group[name].attrs, "weight_names", file_bytes)
        count += len(listed)
        check_total(count, 0, file_bytes)
        for path in listed:
            short = path.rsplit("/", 1)[-1].split(":")[0]
            try:
                weights[short] = _array(group[name], path)
            except ValueError as error:
                problems.append(f"{name}/{short}: {error}")
        problems += [
            f"extra weight {name}/{path} (not listed)"
            for path in _datasets(group[name])
            if path not in listed
        ]
        if listed:
            layers[name] = weights
    if problems:
        raise RefusedFileError(problems)
    return layers


def _datasets(layer: Any) -> list[str]:
    """Paths of the datasets below a layer, found without trusting that its groups end."""
    import h5py

    found: list[str] = []
    waiting, looked_at = [("", layer, 0)], 0
    while waiting:
        above, group, depth = waiting.pop()
        for name in _members(group):
            looked_at += 1
            if depth == _MAX_DEPTH or looked_at > MAX_ARRAYS:
                raise RefusedFileError(["its groups are nested too deep, or have no end"])
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue  # where listed, refused by its name
            item = group[name]
            if isinstance(item, h5py.Group):
                waiting.append((f"{above}{name}/", item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                found.append(f"{above}{name}")
    return found


def _array(layer: Any, path: str) -> Any:
    """The dataset of a plain array inside the file, link by link."""
    import h5py

    item = layer
    for name in path.split("/"):
        if not isinstance(item, h5py.Group) or name in ("", ".", ".."):
            raise ValueError("its path leads nowhere")
        link = item.get(name, getlink=True)
        if link is None:
            raise ValueError("missing")
        if not isinstance(link, h5py.HardLink):
            raise ValueError("it points elsewhere")
        item = item[name]
    if not isinstance(item, h5py.Dataset):
        raise ValueError("it is no array")
    if item.shape is None:
        raise ValueError("it has no numbers")
    if item.dtype != np.dtype("<f4") and item.dtype != np.dtype(">f4"):
        raise ValueError(f"it holds {item.dtype} instead of float32")
    if item.id.get_create_plist().get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT):
        raise ValueError("it is stored in pieces or through a filter")
    if item.external or item.id.get_storage_size() != item.nbytes:
        raise ValueError(f"shape {list(item.shape)} is promised, but its numbers are not there")
    return item


def _renamed(layers: dict[str, Arrays]) -> Arrays:
    """``layer/weight`` names, automatic names replaced by ``norm <order>``."""
    norms = {name: int(m[1] or 0) for name in layers if (m := _NORM.fullmatch(name))}
    order = {name: f"norm {n}" for n, name in enumerate(sorted(norms, key=norms.__getitem__))}
    return {
        f"{order.get(layer, layer)}/{weight}": array
        for layer, weights in layers.items()
        for weight, array in weights.items()
    }


def write(arrays: Arrays, table: Table, path: Path) -> None:
    """Write a weights-only file that ``model.load_weights`` of Keras 2 reads.

    Keras pairs layers by their order, so they are listed in Keras's own order (``layer_order``);
    names begin where those of the published files do (``first_norm``).
    """
    import h5py

    with h5py.File(path, "x") as file:
        file.attrs["backend"] = np.bytes_(b"tensorflow")
        file.attrs["keras_version"] = np.bytes_(_KERAS_VERSION.encode())
        names = {place: _automatic_name(place, table) for place in table.layer_order}
        file.attrs["layer_names"] = np.array([names[p].encode() for p in table.layer_order])
        for place in table.layer_order:
            layer = names[place]
            group = file.create_group(layer)
            weights = {
                f"{layer}/{row.source.rsplit('/', 1)[1]}:0": arrays[row.source]
                for row in table.rows
                if row.source.startswith(f"{place}/")
            }
            group.attrs["weight_names"] = np.array([name.encode() for name in weights])
            for name, array in weights.items():
                group.create_dataset(name, data=array)


def _automatic_name(place: str, table: Table) -> str:
    if not place.startswith("norm "):
        return place
    number = int(place.removeprefix("norm ")) + table.first_norm
    return f"batch_normalization_{number}" if number else "batch_normalization"
