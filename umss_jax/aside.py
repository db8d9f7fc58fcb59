"""Hidden folders in which results are made, and how those of processes that are gone are told.

Such a folder lies beside the result, so that what is finished only needs renaming. A process that
is killed leaves it behind; the next one that writes there removes it. Whether a writer lives is
told by a lock of the operating system on a file in the folder, which dies with its holder and which
network file systems pass on to other hosts. Where nothing keeps locks, what nobody has touched for
days is left over.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from umss_jax.locks import take

PREFIX = ".partial-umss-"
"""Of the hidden folders: short, and nobody else's."""
_LOCK, _MADE = "lock", "made"
_UNTOUCHED_S = 7 * 24 * 3600  # in the file system's own time

_held: set[str] = set()
"""Folders of this process: to open and close their lock files would let go of the locks."""
_swept: set[tuple[int, int]] = set()
"""Where this process has looked for what others left."""


@contextlib.contextmanager
def hidden_folder(parent: Path) -> Iterator[Path]:
    """An empty hidden folder on the disk of ``parent``, which vanishes whatever happens.

    What others left in ``parent`` is removed first.

    Raises:
        OSError: the system refuses.
    """
    while True:
        outer = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        key = os.path.realpath(outer)
        _held.add(key)
        lock = None
        try:
            lock = _hold(outer / _LOCK)
            if lock is not None:
                _sweep(parent, outer)
                inner = outer / _MADE
                inner.mkdir()
                yield inner
                return
        finally:
            # The lock file last: without it nobody could tell that this is left over.
            shutil.rmtree(outer / _MADE, ignore_errors=True)
            shutil.rmtree(outer, ignore_errors=True)
            if lock is not None and lock >= 0:
                os.close(lock)
            _held.discard(key)


def _hold(path: Path) -> int | None:
    """Takes a new lock file; −1 where there are no locks, None where it was just swept away."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    is_ours = take(file)
    if is_ours and path.exists():
        return file
    os.close(file)
    if is_ours is None:
        path.unlink(missing_ok=True)
        return -1
    return None


def _sweep(parent: Path, mine: Path) -> None:
    """Removes hidden folders in ``parent`` whose writers are gone; ``mine`` was made just now."""
    with contextlib.suppress(OSError):
        about = parent.stat()
        place = (about.st_dev, about.st_ino)
        if place in _swept:
            return
        _swept.add(place)
        now_s = mine.stat().st_mtime
        for name in os.listdir(parent):
            folder = parent / name
            if name.startswith(PREFIX) and os.path.realpath(folder) not in _held:
                with contextlib.suppress(OSError):
                    _remove_if_left(folder, now_s)


def _remove_if_left(folder: Path, now_s: float) -> None:
    if not stat.S_ISDIR(folder.lstat().st_mode):
        return  # a link or a file: none of ours
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        lock = os.open(folder / _LOCK, flags)
    except FileNotFoundError:
        if now_s - _touched_s(folder) > _UNTOUCHED_S:
            shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        if take(lock):  # else it is in use
            shutil.rmtree(folder / _MADE, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _touched_s(folder: Path) -> float:
    """When anything in a folder was last changed."""
    places = [Path(path) for path, _, _ in os.walk(folder)]
    files = [item for place in places for item in place.iterdir()]
    return max(item.lstat().st_mtime for item in (*places, *files))
