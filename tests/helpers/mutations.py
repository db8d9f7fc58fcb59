"""Seeded damage to the bytes of a file, as discs, networks, programs and people do it."""

import numpy as np

HEADER = 512
"""Where most structures lie: half of all damage goes there."""
_FIELDS = (
    *(b"\x00" * n for n in (1, 2, 4, 8)),
    *(b"\xff" * n for n in (1, 2, 4, 8)),
    b"\xff\xff\xff\x7f",
    b"\x7f\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"\x01\x00\x00\x00",
    b"\x00\x00\x00\x01",
    b"\x00\x00\x00\x00\x00\x00\x00\x10",
    b"\x10\x00\x00\x00\x00\x00\x00\x00",
)


def mutate(content: bytes, rng: np.random.Generator, other: bytes = b"") -> bytes:
    """One to three changes: bits flipped, cut, inserted, fields overwritten, another's bytes."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        if not data:
            break
        kinds = (_flip, _cut, _insert, _overwrite, _overwrite, _remove, _splice)
        kinds[int(rng.integers(len(kinds)))](data, rng, other or content)
    return bytes(data)


def _place(data: bytearray, rng: np.random.Generator) -> int:
    end = min(len(data), HEADER) if rng.random() < 0.6 else len(data)
    return int(rng.integers(max(1, end)))


def _flip(data, rng, _) -> None:
    for _ in range(int(rng.integers(1, 9))):
        data[_place(data, rng)] ^= 1 << int(rng.integers(8))


def _cut(data, rng, _) -> None:
    del data[_place(data, rng) :]


def _insert(data, rng, _) -> None:
    at = _place(data, rng)
    data[at:at] = rng.bytes(int(rng.integers(1, 64)))


def _overwrite(data, rng, _) -> None:
    at, field = _place(data, rng), _FIELDS[int(rng.integers(len(_FIELDS)))]
    data[at : at + len(field)] = field


def _remove(data, rng, _) -> None:
    at = _place(data, rng)
    del data[at : at + int(rng.integers(1, 64))]


def _splice(data, rng, other) -> None:
    at, start = _place(data, rng), int(rng.integers(len(other)))
    length = int(rng.integers(1, 4096))
    piece = other[start : start + length]
    data[at : at + len(piece)] = piece
