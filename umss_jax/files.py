"""Files that are whole or not there: written aside and renamed, hashed, kept below one home.

Every file and folder that this package keeps is written through here, so that a kill or a full disk
leaves what was there before.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

from umss_jax.aside import hidden_folder
from umss_jax.errors import OutputError

if TYPE_CHECKING:
    import numpy as np

_NAME_KEPT_BYTES = 80
"""Of a file's name in that of its working copy; the shortest limit in use is 143 (eCryptfs)."""
_WORKING_PATH_BYTES = 64
"""What the path of a working file is longer than that of the result."""


def home() -> Path:
    """The folder of everything that is kept: ``UMSS_JAX_HOME``, else the user's cache folder."""
    chosen = os.environ.get("UMSS_JAX_HOME")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("umss-jax", appauthor=False))


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Writes a file aside, flushes it to the disk, and moves it to its place; makes its folder.

    Raises:
        OutputError: nothing could be written; what was there is as it was.
    """

    def fill(aside: Path) -> None:
        with open(aside, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())

    make_whole(path, fill)


def make_whole(path: Path, make: Callable[[Path], object]) -> None:
    """As :func:`write_whole`, for what makes the file or folder of a path that it is given.

    A symbolic link that is there is replaced, what it points to stays. Devices, pipes and folders
    are not replaced.
    """
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is there and no regular file", "choose another name")
    try:
        with _made(path.parent), hidden_folder(path.parent) as work:
            make(work / "result")
            os.replace(work / "result", path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error})",
            "make room or choose a folder that is writable (UMSS_JAX_HOME moves the store)",
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a whole file; errors as :func:`write_whole`."""
    write_whole(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Writes a whole file in UTF-8; errors as :func:`write_whole`."""
    write_bytes(path, text.encode())


def is_remembered(kind: str, known: bytes) -> bool:
    """Whether :func:`remember` was told so before, in this process or another."""
    return _mark(kind, known).exists()


def remember(kind: str, known: bytes) -> None:
    """Keeps that something was found out, by an empty file below :func:`home`, where that can be.

    ``known`` says all that it depends on.
    """
    with contextlib.suppress(OutputError):
        write_bytes(_mark(kind, known), b"")


def _mark(kind: str, known: bytes) -> Path:
    return home() / kind / hashlib.sha256(known).hexdigest()[:32]


def write_array(path: Path, array: np.ndarray) -> None:
    """Writes a whole ``.npy`` file; errors as :func:`write_whole`."""
    import numpy as np

    write_whole(path, lambda file: np.save(file, array, allow_pickle=False))


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A folder, made where missing; what was made goes again if the block fails and it is empty."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for one in missing:
                one.rmdir()
        raise


@contextlib.contextmanager
def working_folder(result: Path) -> Iterator[Path]:
    """A hidden folder beside a result, in which it is made, and which vanishes whatever happens.

    It lies on the same disk as the result, so that what is finished only needs renaming. The folder
    that the result is in is made where missing. Those that killed processes left beside it are
    removed.

    Raises:
        OutputError: The system refuses to write.
    """
    import soundfile

    try:
        with _made(result.parent), hidden_folder(result.parent) as work:
            yield work
    except (OSError, soundfile.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise OutputError(
            f"{result} cannot be written ({reason})", "free some space or choose another -o"
        ) from error


def regular_bytes(path: Path, at_most: int | None = None) -> int:
    """The size of a regular file; what else a path can name may never end, or wait for ever.

    Raises:
        OSError: it is not there.
        ValueError: it is no regular file, or larger than ``at_most`` bytes.
    """
    found = path.stat()
    _refuse_irregular(found, at_most)
    return found.st_size


def open_regular(path: Path, at_most: int | None = None) -> IO[bytes]:
    """Opens a file to read, if it is one that :func:`regular_bytes` gives the size of.

    Raises:
        OSError: it is not there or cannot be read.
        ValueError: it is no regular file, or larger than ``at_most`` bytes.
    """
    # Not to wait for a pipe's other end.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        _refuse_irregular(os.fstat(descriptor), at_most)
    except ValueError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _refuse_irregular(found: os.stat_result, at_most: int | None) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is not a regular file")
    if at_most is not None and found.st_size > at_most:
        raise ValueError(f"it has {found.st_size} bytes, more than any such file")


def check_place(result: Path) -> None:
    """Finds out before the work whether a file or folder can be written; makes nothing.

    Raises:
        OutputError: its name is too long, a file is where a folder must be, or the system refuses.
    """
    another = "choose another place (-o)"
    try:
        existing, missing = result.parent, [result.name]
        while not (existing.exists() or existing == existing.parent):
            missing.append(existing.name)
            existing = existing.parent
        longest, path_longest = _longest(existing)
        if any(len(os.fsencode(name)) > longest for name in missing):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        if len(os.fsencode(result)) + _WORKING_PATH_BYTES > path_longest:
            raise OSError(errno.ENAMETOOLONG, "Path too long")
        if not existing.is_dir():
            raise OutputError(f"{result} cannot be written ({existing} is a file)", another)
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        too_long = error.errno == errno.ENAMETOOLONG
        remedy = "rename the recording, or choose a shorter -o" if too_long else another
        raise OutputError(f"{result} cannot be written ({error.strerror})", remedy) from error


def _longest(folder: Path) -> tuple[int, int]:
    """Bytes that a name in a folder and a path may have."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX"), os.pathconf(folder, "PC_PATH_MAX")
    except (AttributeError, OSError, ValueError):
        return 255, 4096


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def arrays_sha256(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of arrays with their names, shapes and types, hexadecimal."""
    import numpy as np

    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        value = np.ascontiguousarray(np.asarray(array))
        digest.update(f"{name} {value.dtype.str} {value.shape}\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
