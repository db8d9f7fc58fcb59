"""The file of stored weights: safetensors, whose header carries the metadata and two hashes.

One file, so that no kill can part the tensors from what is known of them. ``__metadata__`` of the
header holds ``umss_jax`` (the metadata as JSON), ``tensors_sha256`` (of all bytes after the header)
and ``header_sha256`` (of all up to there, zeros in its own place), so that every byte is covered.

A header is believed in nothing: it is measured against the file before any array is made.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from umss_jax.files import regular_bytes
from umss_jax.trees import (
    MAX_ARRAYS,
    MAX_BYTES,
    MAX_DIMENSIONS,
    Shape,
    name_problems,
    shortened,
)

MAX_METADATA_BYTES = 4 << 20
_MAX_HEADER_BYTES = 4 * MAX_METADATA_BYTES
_ABOUT = "__metadata__"
_OWN = "umss_jax"
_NO_HASH = "0" * 64
_HEADER_HASH = re.compile(rb'"header_sha256":"([0-9a-f]{64})"')
_BITS = {
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "C64": 64,
    "F32": 32,
    "I32": 32,
    "U32": 32,
    "F16": 16,
    "BF16": 16,
    "I16": 16,
    "U16": 16,
    "BOOL": 8,
    "I8": 8,
    "U8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}
_NAMES = {"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16"}


class Tensor(NamedTuple):
    """An array as the header promises it."""

    dtype: str
    """``float32`` where it is that."""
    shape: Shape


class Header(NamedTuple):
    """What the header of a file says."""

    metadata: dict[str, Any] | None
    """What is known of the weights; None where the file carries nothing of this package."""
    tensors: dict[str, Tensor]
    """By flat name; together they fill the rest of the file exactly."""
    length: int
    """Bytes before the tensors."""


def content_of(flat: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> bytes:
    """The bytes of a file that holds float32 arrays and their metadata; the same for the same."""
    from safetensors.numpy import save

    plain = save({name: np.ascontiguousarray(leaf) for name, leaf in flat.items()})
    length = 8 + int.from_bytes(plain[:8], "little")
    tensors = memoryview(plain)[length:]
    about = {
        "header_sha256": _NO_HASH,
        "tensors_sha256": hashlib.sha256(tensors).hexdigest(),
        _OWN: json.dumps(metadata, sort_keys=True, ensure_ascii=False),
    }
    entries = {_ABOUT: about, **json.loads(plain[8:length])}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    header = len(text).to_bytes(8, "little") + text
    digest = hashlib.sha256(header).hexdigest()
    return header.replace(_NO_HASH.encode(), digest.encode(), 1) + tensors


def read_header(path: Path) -> Header:
    """The header, of which no byte is wrong, where it has a hash.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no safetensors file, or promises what it does not hold.
    """
    size = regular_bytes(path, MAX_BYTES)
    with open(path, "rb") as file:
        start = file.read(8)
        count = int.from_bytes(start, "little")
        if len(start) < 8 or count > min(size - 8, _MAX_HEADER_BYTES):
            raise ValueError("its header is cut short or too long")
        text = file.read(count)
    try:
        entries = json.loads(text, object_pairs_hook=_each_once)
    except RecursionError as error:
        raise ValueError("its header is nested too deep") from error
    if not isinstance(entries, dict):
        raise ValueError("its header is no JSON object")
    about = entries.pop(_ABOUT, {})
    tensors = _tensors(entries, size - 8 - count)
    metadata = None
    if isinstance(about, dict) and {_OWN, "header_sha256"} & set(about):
        _check_header_hash(start + text)
        metadata = json.loads(about[_OWN]) | {"tensors_sha256": about["tensors_sha256"]}
    return Header(metadata, tensors, 8 + count)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_ARRAYS:
        raise ValueError(f"it holds more than {MAX_ARRAYS} arrays")
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its header names something twice")
    return found


def _tensors(entries: Mapping[str, Any], data_bytes: int) -> dict[str, Tensor]:
    """Entries of the header, which must follow each other and fill the file."""
    if problems := name_problems(list(entries)):
        raise ValueError(problems[0])
    places, tensors = [], {}
    for name, entry in entries.items():
        match entry:
            case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)]}:
                is_shape = all(type(size) is int and 0 <= size <= data_bytes for size in shape)
            case _:
                is_shape = False
        if not is_shape or len(shape) > MAX_DIMENSIONS or dtype not in _BITS:
            raise ValueError(f"{shortened(name)} has no type or shape that can be read")
        if 8 * (end - begin) != math.prod(shape) * _BITS[dtype]:
            raise ValueError(f"{shortened(name)} does not have the bytes of its shape")
        places.append((begin, end))
        tensors[name] = Tensor(_NAMES.get(dtype, dtype), tuple(shape))
    reached = 0
    for begin, end in sorted(places):
        if begin != reached:
            raise ValueError("its arrays overlap or leave gaps")
        reached = end
    if reached != data_bytes:
        raise ValueError(f"its arrays have {reached} bytes, but {data_bytes} follow its header")
    return tensors


def _check_header_hash(header: bytes) -> None:
    found = _HEADER_HASH.findall(header)
    blank = header.replace(found[0], _NO_HASH.encode(), 1) if len(found) == 1 else b""
    if len(found) != 1 or hashlib.sha256(blank).hexdigest().encode() != found[0]:
        raise ValueError("a byte of its header is not as it was stored")


def sha256_from(path: Path, start: int) -> str:
    """SHA-256 of a file from some byte on, hexadecimal; reads it in pieces.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no regular file, or too large.
    """
    regular_bytes(path, MAX_BYTES)
    with open(path, "rb") as file:
        file.seek(start)
        return hashlib.file_digest(file, "sha256").hexdigest()
