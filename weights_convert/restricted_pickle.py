"""An unpickler that admits NumPy arrays in lists and nothing else.

The ``.npy`` files of the 2024 code are pickles, and a pickle is a program. Two fences stand before
it. First the whole program is read as data: only the few operations that an array of arrays needs
may occur, only four names may be imported, and no operation may claim more memory than the file
has bytes. Only then it runs, and even then on stand-ins: none of the four names resolves to the
real thing, they are inert objects that note the shape, type and bytes, from which the arrays are
made here afterwards.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np

MAX_OPERATIONS = 200_000
MAX_DIMENSIONS = 8

_RECONSTRUCT = "_reconstruct"
_ALLOWED_NAMES = {
    ("numpy.core.multiarray", _RECONSTRUCT),
    ("numpy._core.multiarray", _RECONSTRUCT),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}
_ALLOWED_STRINGS = {part for name in _ALLOWED_NAMES for part in name} | {"f4", "O8", "<", "|"}
_ALLOWED_OPERATIONS = {
    *("PROTO", "FRAME", "STOP", "MARK"),
    *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    *("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"),
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("EMPTY_LIST", "APPEND", "APPENDS"),
}


class RefusedPickleError(ValueError):
    """The pickle is more, or less, than arrays in lists."""


class _NdarrayName:
    """Stands for the name ``numpy.ndarray``."""


class _Dtype:
    """Stands for a dtype: notes its code and byte order."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = code
        self.order: object = None

    def __setstate__(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) >= 2):
            raise RefusedPickleError("a dtype has a state of an unknown form")
        self.order = state[1]


class _Array:
    """Stands for an array: notes its shape, dtype, axis order and content."""

    state: tuple[Any, ...] | None = None

    def __setstate__(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) == 5):
            raise RefusedPickleError("an array has a state of an unknown form")
        self.state = state


def _reconstruct(*_: object) -> _Array:
    return _Array()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED_NAMES:
            raise RefusedPickleError(f"it asks for {module}.{name}")
        return {_RECONSTRUCT: _reconstruct, "ndarray": _NdarrayName, "dtype": _Dtype}[name]

    def persistent_load(self, pid: Any) -> Any:
        raise RefusedPickleError("it asks for something outside the file")


def scan(content: bytes) -> None:
    """Read a pickle as data and refuse it unless it can only be arrays in lists.

    Args:
        content: the pickle, from its first byte to the end of the file.

    Raises:
        RefusedPickleError: with the operation or name that has no place there.
    """
    try:
        for count, (operation, argument, position) in enumerate(pickletools.genops(content)):
            name, number, at = operation.name, argument or 0, position or 0
            if count > MAX_OPERATIONS:
                raise RefusedPickleError(f"it has more than {MAX_OPERATIONS} operations")
            if name == "GLOBAL" and tuple(str(argument).split(" ", 1)) not in _ALLOWED_NAMES:
                raise RefusedPickleError(f"it asks for {str(argument).replace(' ', '.')}")
            if name not in _ALLOWED_OPERATIONS:
                raise RefusedPickleError(f"operation {name} at byte {at} has no place there")
            if name.endswith("BINUNICODE") and argument not in _ALLOWED_STRINGS:
                raise RefusedPickleError(f"it holds the text {str(argument)[:60]!r}")
            if name == "LONG_BINPUT" and number > count:
                raise RefusedPickleError(f"it numbers {number} objects after {count} operations")
            if name == "FRAME" and number > len(content):
                raise RefusedPickleError("a frame is longer than the file")
            if name == "STOP" and at + 1 != len(content):
                raise RefusedPickleError(f"{len(content) - at - 1} bytes follow its end")
    except RefusedPickleError:
        raise
    except Exception as error:  # pickletools raises whatever its argument readers meet
        raise RefusedPickleError(f"it is cut short or garbled ({error})") from error


def load_arrays(content: bytes) -> list[list[np.ndarray]]:
    """The arrays of a pickled one-dimensional object array whose elements are lists of arrays.

    Args:
        content: the pickle, from its first byte to the end of the file.

    Returns:
        Per element the float32 arrays of its list, contiguous.

    Raises:
        RefusedPickleError: the pickle holds anything else; nothing has been run then.
    """
    scan(content)
    try:
        outer = _Unpickler(io.BytesIO(content)).load()
    except RefusedPickleError:
        raise
    except Exception as error:  # whatever a garbled but harmless program stumbles over
        raise RefusedPickleError(f"it is garbled ({error})") from error
    shape, _, elements = _state(outer, "O8")
    if not isinstance(elements, list) or shape != (len(elements),):
        raise RefusedPickleError("the outer array is no list of layers")
    _check_sharing(elements, len(content))
    return [[_array(array) for array in element] for element in elements]


def _check_sharing(elements: list[Any], file_bytes: int) -> None:
    """Refuses, before any array is made, what stands in the file once and is meant many times."""
    seen: set[int] = set()
    total = 0
    for element in elements:
        if not isinstance(element, list):
            raise RefusedPickleError("a layer is no list of arrays")
        for item in (element, *element):
            if id(item) in seen:
                raise RefusedPickleError("several of its arrays are one and the same")
            seen.add(id(item))
            held = item.state[4] if isinstance(item, _Array) and item.state else b""
            total += len(held) if isinstance(held, bytes) else 0
            if total > file_bytes:
                raise RefusedPickleError("its arrays share their numbers")


def _state(array: object, code: str) -> tuple[tuple[int, ...], bool, object]:
    """Shape, whether the first axis runs fastest, and content of a stand-in of this dtype."""
    if not isinstance(array, _Array) or array.state is None:
        raise RefusedPickleError("something else lies where an array should be")
    _, shape, dtype, fortran, content = array.state
    if not isinstance(dtype, _Dtype) or dtype.code != code or dtype.order not in ("<", "|"):
        raise RefusedPickleError(f"an array of another type lies where {code} should be")
    if (
        not isinstance(shape, tuple)
        or len(shape) > MAX_DIMENSIONS
        or not all(type(size) is int and size >= 0 for size in shape)
    ):
        raise RefusedPickleError("an array has an impossible shape")
    return shape, bool(fortran), content


def _array(stand_in: object) -> np.ndarray:
    shape, fortran, content = _state(stand_in, "f4")
    size = 1
    for length in shape:
        size *= length
    if not isinstance(content, bytes) or len(content) != 4 * size:
        raise RefusedPickleError(f"an array of shape {list(shape)} does not have its bytes")
    array = np.frombuffer(content, "<f4").reshape(shape, order="F" if fortran else "C")
    return np.array(array, np.float32, order="C")
