"""Which files below a folder may be recordings: all but what systems and programs leave there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from umss_jax.audio.suffixes import FILMS, SOUNDS, has_suffix
from umss_jax.errors import DatasetError
from umss_jax.words import counted, readable, some_of

_FOREIGN = frozenset(
    {
        *("__macosx", "@eadir", "#recycle", "$recycle.bin", "recycler", "lost+found"),
        *("system volume information", "thumbs.db", "desktop.ini", "__pycache__"),
    }
)
"""Folders and files of operating systems and archives; those that begin with a dot come besides:
``.DS_Store``, ``._x.wav``, ``.ipynb_checkpoints``, and what this package has not finished."""


class Recordings(NamedTuple):
    """What may be recordings below a folder."""

    files: tuple[Path, ...]
    """In order of their paths."""
    notes: tuple[str, ...]
    """One line for each kind of thing that was passed over and may be missed."""


def recordings_below(folder: Path) -> Recordings:
    """All files below a folder that may be recordings, by their names.

    Links are followed; a folder that is reached again, as by a link to one above it, counts once.

    Raises:
        DatasetError: the folder is not there or cannot be read.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder", "point at the folder of a dataset")
    files: list[Path] = []
    unreadable: list[str] = []
    broken: list[str] = []
    seen: set[tuple[int, int]] = set()
    own = [folder]
    linked: list[Path] = []  # after the others, so that a folder goes by its own name
    while own or linked:
        here = own.pop() if own else linked.pop()
        try:
            about = here.stat()
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            with os.scandir(here) as found:
                entries = sorted(found, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            if here == folder:
                raise DatasetError(
                    f"{folder} cannot be read ({error.strerror})", "check its rights"
                ) from error
            unreadable.append(readable(str(here.relative_to(folder))))
            continue
        for entry in entries:
            if is_foreign(entry.name):
                continue
            if _is(entry.is_dir):
                (linked if entry.is_symlink() else own).append(here / entry.name)
            elif has_suffix(entry.name, SOUNDS):
                if _is(entry.is_file):
                    files.append(here / entry.name)
                elif entry.is_symlink():
                    broken.append(readable(str((here / entry.name).relative_to(folder))))
    notes = []
    if unreadable:
        which = counted(len(unreadable), "folder")
        notes.append(f"{which} cannot be read and is passed over: {some_of(sorted(unreadable))}")
    if broken:
        which = counted(len(broken), "link leads", "links lead")
        notes.append(f"{which} to no recording: {some_of(sorted(broken))}")
    return Recordings(tuple(sorted(files)), tuple(notes))


def is_foreign(name: str) -> bool:
    """Whether a file or folder of this name is hidden or a system's own."""
    return name.startswith((".", "~$")) or name.casefold() in _FOREIGN


def is_audio(path: Path) -> bool:
    """Whether a path is a file that may be a recording, by its name."""
    return has_suffix(path.name, SOUNDS) and not is_foreign(path.name) and path.is_file()


def without_twins(files: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Of recordings in one folder that differ in format alone, the one with the least loss."""
    chosen: dict[tuple[Path, str], Path] = {}
    passed_over = []
    for file in files:
        key = (file.parent, readable(file.stem))
        other = chosen.setdefault(key, file)
        if other is not file:
            best, worse = sorted((other, file), key=_loss)
            chosen[key] = best
            passed_over.append(readable(worse.name))
    if not passed_over:
        return list(files), []
    what = counted(len(passed_over), "recording is", "recordings are")
    return sorted(chosen.values()), [
        f"{what} there in another format too, which is taken instead of {some_of(passed_over)}"
    ]


def _loss(file: Path) -> int:
    return (SOUNDS + FILMS).index(file.suffix.lower())


def file_identity(path: Path) -> tuple[int, int] | Path:
    """The same for every name of one file."""
    try:
        about = path.stat()
    except OSError:
        return path
    return (about.st_dev, about.st_ino)


def _is(question: object) -> bool:
    """What a directory entry says of itself; a loop of links is nothing."""
    try:
        return bool(question())  # type: ignore[operator]
    except OSError:
        return False
