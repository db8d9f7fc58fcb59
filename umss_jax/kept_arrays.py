"""Arrays kept on disk to save time: checked when read, made again when damaged, never needed.

An entry is an ``.npy`` file that is followed by the SHA-256 of its bytes. Whatever else lies in
its place (cut, garbled, empty, a folder, a link to somewhere else, a pipe) is replaced. Where
nothing can be written, as on a full disk or in a home that is read-only, that is said once and
work goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

import numpy as np

from umss_jax.errors import OutputError
from umss_jax.files import open_regular, write_whole
from umss_jax.words import warn_once

_DIGEST_BYTES = hashlib.sha256().digest_size
_CHUNK_BYTES = 1 << 20


class KeptArray(NamedTuple):
    """An array and what tells it from others."""

    array: np.ndarray
    digest: str
    """The same for arrays of the same values, shape and type."""


class KeptArrays:
    """The arrays of one folder by their names, which say all that their values depend on.

    ``what`` is what they are, in the plural, for messages.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self._folder, self._what, self._writes = folder, what, True

    def path(self, name: str) -> Path:
        """Where an array lies, if it is kept."""
        return self._folder / f"{name}.npy"

    def drop_all_but(self, most: int) -> None:
        """Deletes what was written, or touched, longest ago, if that can be."""

        def age(path: Path) -> float:
            with contextlib.suppress(OSError):
                return -path.stat().st_mtime
            return 0.0

        for path in sorted(self._folder.glob("*.npy"), key=age)[most:]:
            with contextlib.suppress(OSError):
                path.unlink()

    def get(self, name: str) -> KeptArray | None:
        """What was kept under a name, mapped from disk; None where nothing sound is there."""
        path = self.path(name)
        try:
            return _read(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            warn_once(f"{path} cannot be read ({error.strerror}) and is made again")
        except ValueError as error:
            warn_once(f"{path} is damaged ({error}) and is made again")
        return None

    def put(self, name: str, array: np.ndarray) -> KeptArray:
        """Keeps an array if that can be; returns it, mapped from disk where it is kept."""
        sink = _Digest()
        np.save(sink, array, allow_pickle=False)
        digest = sink.digest

        def write(file: IO[bytes]) -> None:
            np.save(file, array, allow_pickle=False)
            file.write(digest.digest())

        path = self.path(name)
        if self._writes:
            try:
                make_way(path)
                write_whole(path, write)
                kept = _read(path)
                if kept.digest == digest.hexdigest():
                    return kept
            except OutputError as error:
                self._writes = False
                warn_once(
                    f"{error.message}: {self._what} are not kept, which costs time and nothing else"
                )
            except (OSError, ValueError):
                pass  # changed or gone at once: what is in memory is as good
        return KeptArray(array, digest.hexdigest())


class _Digest(io.RawIOBase):
    """A file that keeps nothing but the SHA-256 of what is written."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.digest.update(content)
        return len(content)


def make_way(path: Path) -> None:
    """Clears the place of a file: an empty folder or a pipe goes, another folder is put aside."""
    if path.is_symlink():
        if path.exists() and not path.is_file():  # a link to a file is replaced as files are
            with contextlib.suppress(OSError):
                path.unlink()
        return
    if path.is_fifo() or path.is_socket():
        with contextlib.suppress(OSError):
            path.unlink()
    if path.is_dir():
        with contextlib.suppress(OSError):
            path.rmdir()
            return
        with contextlib.suppress(OSError):
            path.rename(path.with_name(f"{path.name}.{secrets.token_hex(4)}.aside"))


def _read(path: Path) -> KeptArray:
    """An entry whose bytes have the digest that follows them.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such entry.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size - _DIGEST_BYTES
        digest, left = hashlib.sha256(), size
        while left > 0:
            chunk = file.read(min(left, _CHUNK_BYTES))
            if not chunk:
                break
            digest.update(chunk)
            left -= len(chunk)
        if left or file.read(_DIGEST_BYTES + 1) != digest.digest():
            raise ValueError("its bytes are not those that were kept")
        file.seek(0)
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("it is of another format")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if not np.prod(shape):
            return KeptArray(np.zeros(shape, dtype), digest.hexdigest())
        order: Literal["F", "C"] = "F" if fortran else "C"
        mapped = np.memmap(cast(Any, file), dtype, "r", file.tell(), shape, order)
    return KeptArray(mapped, digest.hexdigest())
