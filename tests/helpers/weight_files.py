"""Weight files for tests, made at test time from random numbers and the conversion tables."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from umss_jax.files import file_sha256
from umss_jax.trees import flatten, unflatten
from umss_jax.weights import store
from umss_jax.weights.recognise import recognised
from umss_jax.weights.stored_file import content_of, read_header
from weights_convert import TABLES, export_file, table_of_kind

KINDS = tuple(table.kind for table in TABLES)


def random_variables(kind: str, seed: int = 0) -> dict:
    """Finite float32 variables of a kind, variances positive."""
    rng = np.random.default_rng(seed)
    flat = {
        path: rng.standard_normal(shape, np.float32) / 8
        for path, shape in table_of_kind(kind).flax_shapes().items()
    }
    return unflatten(
        {path: np.abs(x) + 0.5 if path.endswith("/var") else x for path, x in flat.items()}
    )


def write_random(kind: str, path: Path, seed: int = 0) -> Path:
    """A file (or folder) of a kind, as the original code would read it."""
    return export_file(random_variables(kind, seed), kind, path)


def save_recognised(name, variables: dict, metadata: dict | None = None) -> Path:
    """Stores variables with the configuration of the networks that they are of."""
    return store.save(name, variables, recognised(variables), metadata)


def assert_same(found: dict, expected: dict) -> None:
    """Same names, same bits."""
    found, expected = flatten(found), flatten(expected)
    assert list(found) == list(expected)
    for path, leaf in expected.items():
        assert found[path].dtype == np.float32
        assert found[path].flags["C_CONTIGUOUS"], path
        assert found[path].tobytes() == np.ascontiguousarray(leaf).tobytes(), path


def change_metadata(path: Path, **changes) -> None:
    """Stores weights again with other metadata, which agree with themselves."""
    metadata = read_header(path).metadata
    del metadata["tensors_sha256"]
    path.write_bytes(content_of(load_file(path), {**metadata, **changes}))


def as_earlier_version(path: Path) -> Path:
    """Turns stored weights into the two files of earlier versions; returns that of metadata."""
    metadata = read_header(path).metadata
    save_file(load_file(path), path)
    beside = path.with_suffix(".json")
    metadata["tensors_sha256"] = file_sha256(path)
    beside.write_text(json.dumps(metadata, indent=2, sort_keys=True) + "\n")
    return beside


def change_json(path: Path, **changes) -> None:
    """Changes the metadata beside the tensors."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
