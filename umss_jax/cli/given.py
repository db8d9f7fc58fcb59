"""The recordings that a command was given: each once, and no two with the same results."""

from __future__ import annotations

import contextlib
import glob
import os
import select
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from umss_jax.errors import AudioError, OutputError, UsageError, printable
from umss_jax.interruption import check

_STDIN = "stdin"
_BLOCK_BYTES = 1 << 20
_LOOK_AGAIN_S = 0.2


def _no_word(line: str) -> None:
    """For who tells nothing."""


def listed(files: Sequence[Path], tell: Callable[[str], None] = _no_word) -> list[Path]:
    """The recordings that arguments stand for.

    A folder stands for those in it, by their names and in order, without results that are there;
    of one that is there in several formats the best. A pattern such as ``*.wav``, which shells of
    Windows do not expand, stands for what it matches. What stands for nothing is returned as it is.
    """
    found: list[Path] = []
    for path in files:
        matches = [path]
        if glob.has_magic(str(path)) and not path.exists():
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
        for match in matches or [path]:
            found += (_recordings_in(match, tell) or [match]) if match.is_dir() else [match]
    return found


def _recordings_in(folder: Path, tell: Callable[[str], None]) -> list[Path]:
    from umss_jax.audio.suffixes import has_suffix
    from umss_jax.data.folder_files import is_foreign, without_twins

    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:  # whoever reads the folder says so
        return []
    own = _results_in(folder)
    here = [
        folder / name
        for name in names
        if has_suffix(name) and not is_foreign(name) and name not in own
    ]
    chosen, notes = without_twins([path for path in here if path.is_file()])
    for note in notes:
        tell(f"{folder}: {note}")
    return chosen


def _results_in(folder: Path) -> set[str]:
    """Sounds of a folder that are results: of separations by the manifests, of notes by the F0.

    Manifests have other names too where a template named the files.
    """
    from umss_jax.documents import NoDocumentError, read_json
    from umss_jax.separation.outputs import MANIFEST, SONIFIED, TRACKS

    stem, ext = MANIFEST.rsplit(".", 1)
    found = {path.name.removesuffix(TRACKS) + SONIFIED for path in folder.glob(f"*{TRACKS}")}
    for path in folder.glob(f"*{stem}*.{ext}"):
        with contextlib.suppress(OSError, NoDocumentError, TypeError, KeyError):
            found |= {str(name) for name in read_json(path)["outputs"]}
    return found


def refuse_folder(folder: Path) -> None:
    """Says of a folder that it holds no recordings, and where there may be some.

    Raises:
        AudioError: always.
    """
    below = [path for path in sorted(folder.glob("*/")) if _recordings_in(path, _no_word)]
    remedy = f"name those in it that do, such as {below[0]}" if below else "name another"
    raise AudioError(f"{folder} is a directory without recordings", remedy)


@contextlib.contextmanager
def spooled(files: Sequence[Path], called: MutableMapping[str, str]) -> Iterator[list[Path]]:
    """The files, with the standard input (``-``) kept in one called ``stdin`` while that lasts.

    A file that is called ``-`` comes before it. ``called`` is told what messages are to call it.

    Raises:
        UsageError: nothing is piped in.
        OutputError: there is no room for it.
    """
    if not any(_is_stdin(path) for path in files):
        yield list(files)
        return
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- is the standard input, and nothing is piped into it", "name a file")
    with tempfile.TemporaryDirectory(prefix="umss-jax-") as folder:
        kept = Path(folder) / _STDIN / _STDIN  # a template may ask for the folder's name too
        try:
            kept.parent.mkdir()
            with kept.open("wb") as file:
                while data := _next_bytes(sys.stdin.buffer):
                    file.write(data)
        except OSError as error:
            free = shutil.disk_usage(folder).free >> 20
            raise OutputError(
                f"the standard input cannot be kept in {folder} ({error.strerror}, {free} MB free)",
                "make room or set TMPDIR to another folder",
            ) from error
        called[printable(str(kept))] = called[str(kept)] = _STDIN
        try:
            yield [kept if _is_stdin(path) else path for path in files]
        finally:
            called.clear()


def _next_bytes(stream: Any) -> bytes:
    """What comes next through a pipe, empty at its end; a signal ends the waiting."""
    with contextlib.suppress(OSError, ValueError):  # of streams that are none of the system's
        if os.name == "posix":
            while not select.select([stream.fileno()], [], [], _LOOK_AGAIN_S)[0]:
                check()
    check()
    data: bytes = stream.read1(_BLOCK_BYTES)
    return data


def _is_stdin(path: Path) -> bool:
    return str(path) == "-" and not path.exists()


def given_once(
    files: Sequence[Path],
    tell: Callable[[str], None],
    places: Callable[[Path], Mapping[str, Path]] | None = None,
) -> dict[Path, str]:
    """The files in their order, with the names of their tracks where these are not the files'.

    One that is named twice, or by a link too, is there once. Recordings of one name in different
    folders are told apart by these, unless ``places`` says where the results of each go.

    Raises:
        UsageError: two recordings have one name in one folder: they would share their results (on
            some systems whatever the case and the form of the letters).
    """
    from umss_jax.separation.naming import check_targets
    from umss_jax.separation.outputs import (
        MANIFEST,
        is_same_file,
        same_on_some_systems,
        track_name,
    )

    def name_of(path: Path) -> str:
        return track_name(path) if places is None else str(places(path)[MANIFEST])

    alike: dict[str, list[Path]] = defaultdict(list)
    tracks: dict[Path, str] = {}
    for path in files:
        if path.is_dir():
            tracks[path] = ""
            continue
        group = alike[same_on_some_systems(name_of(path))]
        twin = next((other for other in group if other == path or is_same_file(other, path)), None)
        if twin is None:
            group.append(path)
            tracks[path] = ""
            continue
        other = "" if str(twin) == str(path) else f" (as {path} too)"
        tell(f"{twin} is named twice{other}: it is done once")
    if places is not None:
        check_targets({path: places(path) for group in alike.values() for path in group})
        return tracks
    for group in alike.values():
        tracks |= _told_apart(group)
    _refuse_one_name(tracks)
    return tracks


def _told_apart(group: Sequence[Path]) -> dict[Path, str]:
    """Names of the tracks of recordings of one name."""
    from umss_jax.separation.outputs import distinct_tracks

    tracks: dict[Path, str] = {}
    # What is missing fails by itself, and must not change what the others are called.
    for some in (group, [path for path in group if path.exists()]):
        names = distinct_tracks(some) if len(some) > 1 else ["" for _ in some]
        tracks |= dict(zip(some, names, strict=True))
    return tracks


def _refuse_one_name(tracks: Mapping[Path, str]) -> None:
    from umss_jax.separation.outputs import same_on_some_systems, track_name

    seen: dict[str, Path] = {}
    for path, track in tracks.items():
        name = track or track_name(path)
        if path.is_dir():
            continue
        twin = seen.setdefault(same_on_some_systems(name), path)
        if twin is not path:
            raise UsageError(
                f"the results of {twin} and {path} would both be called {name!r}",
                "rename one of them, or run them with different -o",
            )
