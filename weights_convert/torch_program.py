"""The program of a PyTorch checkpoint, read as data before PyTorch runs it.

``torch.load(weights_only=True)`` runs no code of the file, but it makes whatever the file asks of
the names that it allows: a byte array of any length, a storage of any size, keys that take for ever
to hash. Here only those names and operations pass that a checkpoint of plain tensors needs.
"""

from __future__ import annotations

import pickletools
import re
from typing import Any, NamedTuple

from weights_convert.table import RefusedFileError

MAX_PROGRAM_BYTES = 16 << 20
MAX_OPERATIONS = 400_000
_CALLED = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(?:tensor(?:_v2)?|parameter|sparse_tensor"
    r"|qtensor|meta_tensor_no_storage)|torch\.serialization _get_layout|torch (?:Size|device)"
    r"|numpy\._?core\.multiarray scalar|numpy dtype|_codecs encode"
)
_NAMED = re.compile(
    r"torch \w+Storage|torch\.storage \w+Storage|torch per_tensor_affine"
    r"|torch (?:b?float|int|uint|bool|half|double|long|short|complex)\w*"
)
_LITERALS = {
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_SINGLE_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_KEYS = (str, int, type(None))


class _Global(NamedTuple):
    name: str


class _Thing:
    """Whatever is made of other things; what is in it does not matter here."""


def check_program(content: bytes) -> None:
    """Refuses a ``data.pkl`` that asks for more than plain tensors.

    Raises:
        RefusedFileError: with the operation, name or key that has no place there.
    """
    if len(content) > MAX_PROGRAM_BYTES:
        raise RefusedFileError([f"its data.pkl has {len(content)} bytes"])
    try:
        _run(content)
    except RefusedFileError:
        raise
    except Exception as error:  # pickletools raises whatever its argument readers meet
        reason = (str(error) or type(error).__name__)[:300]
        raise RefusedFileError([f"its data.pkl is cut short or garbled ({reason})"]) from error


def _run(content: bytes) -> None:
    """Goes through the program with stand-ins, which take no memory and do nothing."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    for count, (operation, argument, _) in enumerate(pickletools.genops(content)):
        name = operation.name
        if count > MAX_OPERATIONS:
            raise RefusedFileError([f"its data.pkl has more than {MAX_OPERATIONS} operations"])
        if name in _LITERALS:
            stack.append(_CONSTANTS.get(name, argument))
        elif name in ("PROTO", "FRAME", "STOP"):
            continue
        elif name == "GLOBAL":
            stack.append(_allowed(str(argument)))
        elif name == "STACK_GLOBAL":
            last, module = stack.pop(), stack.pop()
            stack.append(_allowed(f"{module} {last}"))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            _remember(
                memo, len(memo) if name == "MEMOIZE" else int(argument or 0), stack[-1], count
            )
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        elif name == "MARK":
            marks.append(len(stack))
        else:
            _combine(name, stack, marks)


def _allowed(name: str) -> _Global:
    if not (_CALLED.fullmatch(name) or _NAMED.fullmatch(name)):
        raise RefusedFileError([f"it asks for {name.replace(' ', '.')[:100]}"])
    return _Global(name)


def _remember(memo: dict[int, Any], place: int, value: Any, count: int) -> None:
    if place > count:
        raise RefusedFileError([f"it numbers {place} objects after {count} operations"])
    memo[place] = value


def _combine(name: str, stack: list[Any], marks: list[int]) -> None:
    """An operation that makes one thing of several."""
    if name in ("EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"):
        stack.append(_Thing())
    elif name == "TUPLE":
        del stack[marks.pop() :]
        stack.append(_Thing())
    elif name in _SINGLE_TUPLES:
        del stack[-_SINGLE_TUPLES[name] :]
        stack.append(_Thing())
    elif name == "APPENDS":
        del stack[marks.pop() :]
    elif name in ("APPEND", "BUILD"):
        stack.pop()
    elif name in ("SETITEM", "SETITEMS"):
        start = marks.pop() if name == "SETITEMS" else len(stack) - 2
        for key in stack[start::2]:
            if not isinstance(key, _KEYS):
                raise RefusedFileError(["one of its keys is no text"])
        del stack[start:]
    elif name == "BINPERSID":
        stack[-1] = _Thing()
    elif name == "REDUCE":
        stack.pop()
        called = stack[-1]
        if not (isinstance(called, _Global) and _CALLED.fullmatch(called.name)):
            raise RefusedFileError(["it calls what is no function of a checkpoint"])
        stack[-1] = _Thing()
    else:
        raise RefusedFileError([f"operation {name} has no place in a checkpoint"])
