"""The lock of a run's folder: one process trains a run, and its lock dies with it.

It is one of :mod:`umss_jax.locks` on ``run.lock``, which nothing else may open while it is held.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from umss_jax.errors import OutputError
from umss_jax.locks import take

LOCK = "run.lock"
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
    try:
        file = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        is_free = take(file, shared=True)  # `_lock` waits out the moment that it is ours
    finally:
        os.close(file)
    return None if is_free is None else not is_free


def _lock(file: int) -> bool:
    """Takes the lock; False where there are no locks."""
    until = time.monotonic() + _PATIENCE_S
    while (is_ours := take(file)) is False:
        if time.monotonic() > until:
            raise BusyError(_signature(file))
        time.sleep(_PAUSE_S)
    return bool(is_ours)


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
