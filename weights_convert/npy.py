"""Folders of ``.npy`` files as the 2024 code writes and reads them, without ``allow_pickle``."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from umss_jax.files import regular_bytes
from umss_jax.trees import MAX_DIMENSIONS
from weights_convert.limits import check_total, most_bytes
from weights_convert.restricted_pickle import RefusedPickleError, load_arrays
from weights_convert.table import Arrays, RefusedFileError, Table

SUBFOLDERS = ("multi-f0_estimator", "multi-f0_assigner")
"""Folders of the 2024 code, read as one where the folder above them is given."""

_MAX_HEADER_CHARACTERS = 10_000
_GLOBAL = "c{}.multiarray\n_reconstruct\n"


def read_file(path: Path) -> Arrays:
    """One ``.npy`` file: name ``""`` for a plain array, ``[layer][number]`` for pickled ones.

    Raises:
        ValueError: the file is cut short, garbled, too long, of another type or unsafe.
        OSError: it cannot be read.
    """
    if regular_bytes(path) > most_bytes("npy"):
        raise ValueError("it is larger than any such file")
    with open(path, "rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            if version not in ((1, 0), (2, 0), (3, 0)):
                raise ValueError(f"version {version} is not known")
            if version == (1, 0):
                header = np.lib.format.read_array_header_1_0(file, _MAX_HEADER_CHARACTERS)
            else:
                header = np.lib.format.read_array_header_2_0(file, _MAX_HEADER_CHARACTERS)
        except Exception as error:  # NumPy parses the header as Python and raises as Python does
            reason = str(error)[:300]
            raise ValueError(f"its header is cut short or garbled ({reason})") from error
        shape, fortran, dtype = header
        content = file.read(most_bytes("npy"))
    if len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"its header tells an array of {len(shape)} dimensions")
    if dtype == np.dtype(object):
        layers = load_arrays(content)
        if shape != (len(layers),):
            raise RefusedPickleError(f"its header tells {list(shape)} layers, it has {len(layers)}")
        return {
            f"[{layer}][{number}]": array
            for layer, arrays in enumerate(layers)
            for number, array in enumerate(arrays)
        }
    if dtype != np.dtype("<f4"):
        raise ValueError(f"it holds {dtype} instead of float32")
    size = 1
    for length in shape:
        size *= int(length)
    if size < 0 or len(content) != 4 * size:
        raise ValueError(f"its header tells shape {list(shape)}, but {len(content)} bytes follow")
    array = np.frombuffer(content, "<f4").reshape(shape, order="F" if fortran else "C")
    return {"": np.array(array, np.float32, order="C")}


def files_of(folder: Path) -> dict[str, Path]:
    """The ``.npy`` files of a folder and of its `SUBFOLDERS`, by relative path without suffix."""
    paths = [*folder.glob("*.npy")]
    for name in SUBFOLDERS:
        paths += (folder / name).glob("*.npy")
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(paths)}


def read(folder: Path) -> tuple[Arrays, list[str]]:
    """All ``.npy`` files of a folder.

    Returns:
        Arrays by row name, and what was left aside on purpose: nothing.

    Raises:
        RefusedFileError: with one line per file that cannot be read.
    """
    arrays: Arrays = {}
    problems = []
    files = files_of(folder)
    _check_files(files)
    for name, path in files.items():
        try:
            found = read_file(path)
        except (OSError, ValueError) as error:
            problems.append(f"{name}.npy: {error}")
            continue
        arrays.update({f"{name}{place}": array for place, array in found.items()})
    if problems:
        raise RefusedFileError(problems)
    return arrays, []


def _check_files(files: dict[str, Path]) -> None:
    """Refuses a folder before it is read whose files are too large together, or are none."""
    problems, total = [], 0
    for name, path in files.items():
        try:
            total += regular_bytes(path)
        except (OSError, ValueError) as error:
            problems.append(f"{name}.npy: {error}")
    if problems:
        raise RefusedFileError(problems)
    check_total(len(files), total, most_bytes("npy"))


def write(arrays: Arrays, _: Table, folder: Path) -> None:
    """Make the folder of the files that arrays by row name are named after.

    Pickles are of protocol 3 and call NumPy by its old name, which old and new NumPy both read.
    """
    folder.mkdir()
    files: dict[str, list[list[np.ndarray]]] = {}
    for name, array in arrays.items():
        stem, *places = name.replace("]", "").split("[")
        (folder / stem).parent.mkdir(exist_ok=True)
        if not places:
            np.save(folder / f"{stem}.npy", array, allow_pickle=False)
            continue
        layers = files.setdefault(stem, [])
        layer = int(places[0])
        if layer == len(layers):
            layers.append([])
        layers[layer].append(array)
    for stem, layers in files.items():
        outer = np.empty(len(layers), object)
        outer[:] = layers
        program = pickle.dumps(outer, protocol=3)
        new, old = (_GLOBAL.format(name).encode() for name in ("numpy._core", "numpy.core"))
        with open(folder / f"{stem}.npy", "xb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|O", "fortran_order": False, "shape": outer.shape}
            )
            file.write(program.replace(new, old, 1))
