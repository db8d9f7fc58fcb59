"""The lock of a run's folder: one process trains a run, and its lock dies with it.

It is a POSIX byte-range lock (``fcntl.lockf``) on ``run.lock``. The kernel lets go of it however
the process ends, on whatever host, and no number of a process or name of a host is asked. Chosen
over ``flock`` (and the library filelock, which takes that) because NFS, Lustre and GPFS forward
byte-range locks to the other hosts, while ``flock`` often holds on one host only.

Such a lock belongs to the process: closing any descriptor of its file lets go of it, so nothing
else may open ``run.lock`` while it is held.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from umss_jax.errors import OutputError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None

LOCK = "run.lock"
_BUSY = (errno.EACCES, errno.EAGAIN)
_PATIENCE_S, _PAUSE_S = 1.0, 0.05

_held: set[Path] = set()
"""Folders that this process trains in."""


class BusyError(Exception):
    """Another process holds the lock; the text says which."""


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[bool]:
    """Holds the lock of a run's folder, which is made where missing.

    Yields whether it is held: False where the file system keeps no locks, and then no
    ``run.lock`` stays there.

    Raises:
        BusyError: a process has it, be it this one.
        OutputError: the folder cannot be written.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        key = folder.resolve()
        if key in _held:
            raise BusyError(f"process {os.getpid()} on {platform.node()}")
        _held.add(key)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _unwritable(folder, error) from error
        try:
            is_locked = _lock(file)
            if is_locked:
                _sign(file)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()
            yield is_locked
        finally:
            os.close(file)
    finally:
        _held.discard(key)


def is_held(folder: Path) -> bool | None:
    """Whether a process trains in a folder; None where no lock tells."""
    if folder.resolve() in _held:
        return True
    if fcntl is None:
        return None
    try:
        file = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # A shared lock needs no right to write; `_lock` waits out the moment that it is held.
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return True if error.errno in _BUSY else None
    finally:
        os.close(file)
    return False


def _lock(file: int) -> bool:
    """Takes the lock; False where there are no locks."""
    if fcntl is None:
        return False
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in _BUSY:
                return False  # ENOLCK, ENOSYS, EOPNOTSUPP, …: what a file system says varies
            if time.monotonic() > until:
                raise BusyError(_signature(file)) from error
        time.sleep(_PAUSE_S)


def _sign(file: int) -> None:
    """Writes who holds the lock, for messages only."""
    with contextlib.suppress(OSError):  # a full disk
        os.ftruncate(file, 0)
        os.pwrite(file, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)


def _signature(file: int) -> str:
    with contextlib.suppress(OSError):
        text = os.pread(file, 300, 0).decode("utf-8", "replace").strip()
        if text.startswith("process ") and text.isprintable():
            return text
    return "another process"


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{folder} cannot be written ({error.strerror or error})",
        "make room, or choose a folder that is writable (--runs)",
    )
