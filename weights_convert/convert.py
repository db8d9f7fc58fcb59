"""Import and export of weight files: strict, by table, reversible to the bit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from umss_jax.errors import OutputError, UsageError, WeightsError
from umss_jax.files import file_sha256, make_whole
from umss_jax.trees import (
    Variables,
    WrongTreeError,
    expect_tree,
    flatten,
    parts,
    tree_problems,
    unflatten,
    value_problems,
)
from weights_convert import hdf5, npy, npy_2024, recognise, torch_file
from weights_convert.table import Arrays, RefusedFileError, Table
from weights_convert.tables import table_of_kind, tables_of

_FORMATS = {"keras": hdf5, "torch": torch_file, "npy": npy}
"""The modules that read and write the files of each origin."""
_REMEDY = "nothing was imported; give the file as it was published, or the right --kind"


@dataclass(frozen=True)
class Imported:
    """What a file became.

    Attributes:
        kind: kind of the file.
        variables: ``{'params': …, 'batch_stats': …}``, contiguous float32 arrays.
        metadata: as `umss_jax.weights.store.save` takes it.
    """

    kind: str
    variables: Variables
    metadata: dict[str, Any]


def import_file(path: str | os.PathLike[str], kind: str | None = None) -> Imported:
    """Read a published weight file, or folder of ``.npy`` files.

    Args:
        path: the file or folder.
        kind: its kind; by default told from the contents.

    Returns:
        The variables and what is known about them.

    Raises:
        WeightsError: the file is not of a known kind, unsafe or damaged.
        WrongTreeError: arrays are missing, extra, mis-shaped or unusable; all are listed.
        UnknownModelError: there is no such kind.
    """
    path = Path(path)
    origin = recognise.origin(path)
    table = table_of_kind(kind) if kind else None
    if table is not None and table.origin != origin:
        raise WeightsError(f"{path} is a {origin} file, not of kind {table.kind}", _REMEDY)
    try:
        arrays, left_aside = _FORMATS[origin].read(path)
    except RefusedFileError as error:
        raise WrongTreeError(f"{path} is refused", error.problems, _REMEDY) from error
    if table is None:
        table = recognise.closest(arrays, origin, path)
    derived = {entry.source: entry for entry in table.derived}
    weights = {name: array for name, array in arrays.items() if name not in derived}
    problems = tree_problems(
        {name: array.shape for name, array in weights.items()},
        {row.source: row.shape for row in table.rows},
    )
    problems += _derived_problems(arrays, table)
    problems += [
        f"{name} holds {array.dtype} instead of {' or '.join(table.dtypes)}"
        for name, array in weights.items()
        if array.dtype.name not in table.dtypes
    ]
    if problems:
        raise WrongTreeError(f"{path} is no {table.kind}", problems, _REMEDY)
    flat = table.to_flax(weights)
    if problems := value_problems(flat):
        raise WrongTreeError(f"{path} is damaged", problems, _REMEDY)
    return Imported(
        table.kind,
        unflatten(dict(sorted(flat.items()))),
        _metadata(
            path, table, left_aside, sorted({array.dtype.name for array in weights.values()})
        ),
    )


def _derived_problems(arrays: Arrays, table: Table) -> list[str]:
    lines = []
    for entry in table.derived:
        array = arrays.get(entry.source)
        if array is None:
            lines.append(f"missing {entry.source}")
        elif array.shape != () or array.dtype != np.int64:
            lines.append(f"{entry.source} is no whole number")
        elif entry.fixed and array != entry.value:
            lines.append(f"{entry.source} is {array} instead of {entry.value} ({entry.why})")
    return lines


def _metadata(path: Path, table: Table, left_aside: list[str], dtypes: list[str]) -> dict[str, Any]:
    source: dict[str, Any] = {"name": path.resolve().name, "dtypes": dtypes}
    if path.is_dir():
        source["sha256"] = {
            f"{name}.npy": file_sha256(file) for name, file in npy.files_of(path).items()
        }
    else:
        source["sha256"] = file_sha256(path)
    if left_aside:
        source["left_aside"] = left_aside
    return {
        "kind": table.kind,
        "architecture": table.architecture,
        "hyper_parameters": dict(table.hyper_parameters),
        "origin": table.citation,
        "licence": table.licence,
        "source": source,
    }


def import_published(folder: str | os.PathLike[str]) -> Imported:
    """Late/Deep and VoasCNN from ``multi-f0_estimator`` and ``multi-f0_assigner``, in one tree.

    Args:
        folder: holds the two folders, as ``pre-trained_models`` of the 2024 code.

    Raises:
        WeightsError: as `import_file`.
    """
    return import_file(folder, npy_2024.PUBLISHED.kind)


def kind_for(variables: Mapping[str, Any], origin: str) -> str:
    """The kind of file of this origin that holds exactly these variables.

    Args:
        variables: nested variables.
        origin: ``keras``, ``npy`` or ``torch``.

    Raises:
        UsageError: there is no such origin.
        WeightsError: no kind of this origin holds them.
    """
    candidates = tables_of(origin)
    if not candidates:
        raise UsageError(f"nothing is exported to {origin!r}", "choose keras, npy or torch")
    found = {name: np.shape(leaf) for name, leaf in flatten(variables).items()}
    for table in candidates:
        if table.flax_shapes() == found:
            return table.kind
    holds = ", ".join(parts(variables))
    raise WeightsError(
        f"no {origin} file holds exactly these weights (parts {holds})",
        f"choose parts with --part; known are {', '.join(t.kind for t in candidates)}",
    )


def export_file(
    variables: Mapping[str, Any],
    kind: str,
    path: str | os.PathLike[str],
    overwrite: bool = False,
) -> Path:
    """Write variables as the original code reads them.

    Args:
        variables: exactly those of the kind's architecture.
        kind: kind of file.
        path: file, or folder for the ``npy`` kinds.
        overwrite: whether a file there may be replaced (a folder never is).

    Returns:
        The path.

    Raises:
        WrongTreeError: the variables are not those of the kind.
        OutputError: the place is taken or cannot be written; nothing is left behind.
    """
    table = table_of_kind(kind)
    expect_tree(variables, table.flax_shapes(), f"the variables for a file of kind {kind}")
    flat = {name: np.asarray(leaf) for name, leaf in flatten(variables).items()}
    arrays = table.to_source(flat)
    path = Path(path)
    if path.exists() and (not overwrite or table.origin == "npy" or path.is_dir()):
        raise OutputError(f"{path} exists", "choose another place or remove it first")
    make_whole(path, lambda aside: _FORMATS[table.origin].write(arrays, table, aside))
    return path
