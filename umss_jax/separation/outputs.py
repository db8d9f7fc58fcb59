"""Files of a recording: their names, whether they are to be written, and how they are replaced."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from umss_jax.config import VOICES
from umss_jax.errors import OutputError
from umss_jax.files import working_folder

SOUNDS = (*VOICES, "residual")
"""Audio files of `umss-jax separate`, without extension."""
F0_TABLE, MANIFEST = "f0.csv", "manifest.json"
"""What it writes beside them."""
TRACKS, MIDI, SALIENCE, PICTURE = ".f0.csv", ".f0.mid", ".salience.npz", ".f0.png"
"""What `umss-jax f0` adds to the name of a recording."""
_PAGE_MARK = '<meta name="generator" content="umss-jax report'


def is_page(path: Path) -> bool:
    """Whether `umss-jax report` wrote the file: it may be replaced or removed unasked."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return _PAGE_MARK in file.read(2000)
    except OSError:
        return False


def is_of_pitches(path: Path, track: str) -> bool:
    """Whether the file is called as `umss-jax f0` calls those of a track."""
    return path.name in {track + suffix for suffix in (TRACKS, MIDI, SALIENCE, PICTURE)}


def is_wanted(result: Path, overwrite: bool, skip_existing: bool = False) -> bool:
    """Whether a file or folder is to be written.

    Raises:
        OutputError: it exists, and nothing was said about what then.
    """
    if result.exists() and not (overwrite or skip_existing):
        raise OutputError(f"{result} exists", "use --overwrite or --skip-existing")
    return not (skip_existing and result.exists())


@contextlib.contextmanager
def finished_together(folder: Path) -> Iterator[Path]:
    """A working folder that becomes ``folder`` if the block ends well, and vanishes if it does not.

    Files of a replaced folder that are not ours (somebody's notes or session, true voices) move to
    the new one. A page about the replaced stems does not, nor do pitches and salience of another
    recording.

    Raises:
        OutputError: The system refuses to write.
    """
    with working_folder(folder) as work:
        yield work
        work.chmod(0o777 & ~_umask())  # the folder is for its owner only
        _replace(work, folder)


def _replace(work: Path, folder: Path) -> None:
    if not folder.exists():
        work.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=".replaced-", dir=folder.parent))
    folder.rename(old / "track")
    try:
        work.rename(folder)
    except BaseException:
        (old / "track").rename(folder)
        old.rmdir()
        raise
    ours = {f"{name}.{extension}" for name in SOUNDS for extension in ("wav", "flac")}
    is_same = _recording_of(old / "track") == _recording_of(folder)
    for item in (old / "track").iterdir():
        is_stale = is_page(item) or (is_of_pitches(item, folder.name) and not is_same)
        if item.name not in ours | {F0_TABLE, MANIFEST} and not is_stale:
            item.rename(folder / item.name)
    shutil.rmtree(old)


def _recording_of(folder: Path) -> object:
    """Hash of the file whose stems a folder holds; None where its manifest does not say."""
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["input"]["sha256"]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
