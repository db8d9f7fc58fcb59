"""Is a file of FFmpeg's formats whole, or locked? Read from its outermost structure alone.

FFmpeg plays what is there of a cut file and says nothing. MP4, Matroska, ASF (WMA) and RIFF (AVI)
state the sizes of their outermost parts, which are compared with the size of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

_MOST_PARTS = 1_000_000
"""Looked at; an hour in fragments of a tenth of a second has fewer."""
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_LOCKS = (
    bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e"),  # content encryption object
    bytes.fromhex("14e68a292226174cb935dae07ee9289c"),  # extended content encryption object
)
_MP4_NAMES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp"})
_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
_HEADER_BYTES = 1 << 20
_UNKNOWN_BYTES = 0x7FFF_0000
"""Programs that write into a pipe cannot know a length and put the largest number there."""


class _Part(NamedTuple):
    name: bytes
    end: int
    """Where it ends by its own words."""


def container_is_cut(path: Path) -> bool:
    """Whether a file is shorter than its own structure says; False of formats that do not say."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        if head[4:8] in _MP4_NAMES:
            return any(part.end > size for part in _boxes(file, size))
        if head[:16] == _ASF_HEADER:
            return any(part.end > size for part in _objects(file, size))
        if head[:4] == b"RIFF":
            stated = int.from_bytes(head[4:8], "little")
            return size < 8 + stated < _UNKNOWN_BYTES
        if head[:4] == b"FORM":
            return 8 + int.from_bytes(head[4:8], "big") > size
        if head[:4] == _EBML.to_bytes(4, "big"):
            return _matroska_end(file) > size
        if head[:4] == b"caff":
            return any(part.end > size for part in _chunks(file, size))
    return False


def lacks_index(path: Path) -> bool:
    """Whether a file is an MP4 without ``moov``, which is written last: cut, or never finished."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(8)[4:] not in _MP4_NAMES:
            return False
        names = {part.name for part in _boxes(file, size) if part.end <= size}
    return b"moov" not in names


def is_protected(path: Path) -> bool:
    """Whether a file is locked by a system of rights, by the words of its header: ASF, Audible."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    if head[:16] == _ASF_HEADER:
        return any(lock in head for lock in _ASF_LOCKS)
    return head[4:12] in (b"ftypaax ", b"ftypaaxc")


def _boxes(file: IO[bytes], size: int) -> Iterator[_Part]:
    """The outermost boxes of an MP4 (ISO 14496-12)."""
    at = 0
    for _ in range(_MOST_PARTS):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        length, least = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, least = int.from_bytes(head[8:16], "big"), 16
        if length == 0:  # to the end of the file
            length = size - at
        if length < least:
            return  # what follows is no box
        at += length
        yield _Part(head[4:8], at)


def _objects(file: IO[bytes], size: int) -> Iterator[_Part]:
    """The outermost objects of an ASF file: a GUID and a size each."""
    at = 0
    for _ in range(_MOST_PARTS):
        file.seek(at)
        head = file.read(24)
        length = int.from_bytes(head[16:24], "little")
        if len(head) < 24 or length < 24 or at >= size:
            return
        at += length
        yield _Part(head[:16], at)


def _chunks(file: IO[bytes], size: int) -> Iterator[_Part]:
    """The chunks of a CAF file; one of unknown length goes to the end."""
    at = 8
    for _ in range(_MOST_PARTS):
        file.seek(at)
        head = file.read(12)
        length = int.from_bytes(head[4:12], "big", signed=True)
        if len(head) < 12 or length < 0 or at >= size:
            return
        at += 12 + length
        yield _Part(head[:4], at)


def _matroska_end(file: IO[bytes]) -> int:
    """Where the segment of a Matroska file ends by its own words; 0 where it does not say."""
    file.seek(4)
    header = _vint(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if int.from_bytes(file.read(4), "big") != _SEGMENT:
        return 0
    length = _vint(file)
    return 0 if length is None else file.tell() + length


def _vint(file: IO[bytes]) -> int | None:
    """A number as EBML (RFC 8794) has it; None where it is the one that means unknown."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0x7F >> more)]) + file.read(more), "big")
    return None if value == (1 << 7 * (more + 1)) - 1 else value
