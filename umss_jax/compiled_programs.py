"""Compiled programs that JAX keeps: damaged ones are deleted, so that they are made again.

JAX itself would run a garbled program, or compile it every time without ever writing it anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import zlib
from pathlib import Path

from umss_jax.errors import OutputError
from umss_jax.files import file_sha256, regular_bytes, write_text
from umss_jax.kept_arrays import make_way
from umss_jax.words import warn_once

_ENTRY, _SEAL = "-cache", "-sha256"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"  # in which JAX packs where it is installed


def drop_damaged(folder: Path) -> None:
    """Deletes the programs in a folder that are not as JAX wrote them, with a word each.

    An entry is sealed with its hash when it is first seen, if it unpacks; from then on its bytes
    must have that hash.
    """
    for entry in sorted(folder.glob(f"*{_ENTRY}")):
        seal = entry.with_name(f"{entry.name.removesuffix(_ENTRY)}{_SEAL}")
        try:
            if _is_sound(entry, seal):
                continue
        except OutputError:
            return  # no room for seals: JAX will not write here either
        warn_once(f"the compiled program {entry} is damaged and is made again")
        make_way(entry)
        for path in (entry, seal):
            with contextlib.suppress(OSError):
                path.unlink()


def _is_sound(entry: Path, seal: Path) -> bool:
    try:
        regular_bytes(entry)
        if seal.is_file():
            return seal.read_text() == file_sha256(entry)
        content = entry.read_bytes()
        if not _unpacks(content):
            return False
        write_text(seal, hashlib.sha256(content).hexdigest())
        return True
    except FileNotFoundError:
        return not entry.is_symlink()  # another process has deleted it
    except (OSError, ValueError):
        return False


def _unpacks(content: bytes) -> bool:
    """Whether a packed program is whole, as far as its packing tells."""
    if content[:4] != _ZSTANDARD:
        try:
            return bool(zlib.decompress(content))
        except zlib.error:
            return False
    for name in ("compression.zstd", "zstandard"):
        try:
            unpacker = importlib.import_module(name)
        except ImportError:
            continue
        try:
            return bool(unpacker.decompress(content))
        except Exception:  # of a type that each has for itself
            return False
    return True
