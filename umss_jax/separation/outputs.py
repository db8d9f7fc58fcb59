"""Files of a recording: their names, whether they are to be written, and how they are replaced."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from umss_jax.config import VOICES
from umss_jax.documents import NoDocumentError, read_json
from umss_jax.errors import OutputError
from umss_jax.files import check_place, working_folder
from umss_jax.separation.config import SoundFormat

RESIDUAL = "residual"


def sounds_of(voices: Sequence[str]) -> tuple[str, ...]:
    """Audio files of `umss-jax separate`, without extension, in the order of the voices."""
    return (*voices, RESIDUAL)


SOUNDS = sounds_of(VOICES)
"""Those of the usual voices."""
IN_FRONT, MISSING = "_predominant", "_missing"
"""What `--practice` adds to the name of a voice."""
F0_TABLE, MANIFEST = "f0.csv", "manifest.json"
"""What it writes beside them."""
ALIGNMENT, ALIGNMENT_PICTURE = "alignment.csv", "alignment.png"
"""What it writes of a score."""
TRACKS, MIDI, SALIENCE, PICTURE = ".f0.csv", ".f0.mid", ".salience.npz", ".f0.png"
NOTES, SONIFIED, MUSICXML = ".notes.csv", ".notes.wav", ".musicxml"
TRACK_ALIGNMENT = f".{ALIGNMENT}"
"""What `umss-jax f0` adds to the name of a recording."""
_OF_PITCHES = (TRACKS, MIDI, SALIENCE, PICTURE, TRACK_ALIGNMENT, NOTES, SONIFIED, MUSICXML)
_OURS = frozenset(
    {
        f"{name}.{extension}"
        for name in (*SOUNDS, *(voice + mix for voice in VOICES for mix in (IN_FRONT, MISSING)))
        for extension in SoundFormat
    }
    | {F0_TABLE, MANIFEST, ALIGNMENT, ALIGNMENT_PICTURE}
)
_ASIDE = ".replaced-"
_KEPT_BY_WINDOWS = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(10)}
)
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
    return path.name in {track + suffix for suffix in _OF_PITCHES}


def track_name(recording: Path, windows: bool = os.name == "nt") -> str:
    """What the results of a recording are called: as its file without the extension.

    Dots at the beginning would hide them or name another folder, dots and blanks at the end vanish
    on Windows, and so they become ``_``, as what Windows keeps for itself does there.
    """
    return plain_name(os.path.splitext(recording.name)[0], windows)


def track_folder(recording: Path, out: Path, model: str, track: str = "") -> Path:
    """Folder of a recording's stems: ``OUT/<model>/<track>``; a track may have another name."""
    return out / plain_name(model) / (track or track_name(recording))


def distinct_tracks(recordings: Sequence[Path], windows: bool = os.name == "nt") -> list[str]:
    """Track names of recordings of one name in different folders, told apart by their folders.

    Of the folders' paths that counts in which they differ: ``2023/live/credo.wav`` and
    ``2024/live/credo.wav`` become ``2023_credo`` and ``2024_credo``.
    """
    parents = [Path(os.path.abspath(recording)).parent.parts for recording in recordings]
    shortest = min(map(len, parents))
    begin = next((k for k in range(shortest) if len({p[k] for p in parents}) > 1), shortest)
    most = shortest - begin
    end = next((k for k in range(most) if len({p[-1 - k] for p in parents}) > 1), most)
    names = []
    for recording, parts in zip(recordings, parents, strict=True):
        own = parts[begin : len(parts) - end]
        names.append(plain_name("_".join((*own, track_name(recording, windows))), windows))
    return names


def plain_name(name: str, windows: bool = os.name == "nt") -> str:
    """A text as the name of a file or folder that any system can have; see :func:`track_name`."""
    if windows:
        name = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name)
        name = f"_{name}" if name.split(".")[0].rstrip().casefold() in _KEPT_BY_WINDOWS else name
    shown = name.lstrip(".")
    begun = "_" * (len(name) - len(shown)) + shown
    kept = begun.rstrip(". ")
    return kept + "_" * (len(begun) - len(kept))


def same_on_some_systems(name: str) -> str:
    """Equal for names that some system takes for one: of other case or another normal form."""
    decomposed = unicodedata.normalize("NFD", name)
    return unicodedata.normalize("NFC", decomposed.casefold())


def wants_stems(
    folder: Path, recording: Path, overwrite: bool, skip_existing: bool = False
) -> bool:
    """Whether the folder of stems is to be written; what a killed run set aside is put back first.

    Raises:
        OutputError: it exists, and nothing was said about what then; it cannot be written; or it
            holds the recording itself, which would be replaced.
    """
    with contextlib.suppress(OSError):
        _restore(_target(folder))
    if not is_wanted(folder, overwrite, skip_existing):
        return False
    target = _target(folder)
    if os.path.exists(target) and not target.is_dir():
        raise OutputError(f"{folder} is a file, not a folder", "move it away or choose another -o")
    if any(is_same_file(target / name, recording) for name in _ours(target)):
        raise OutputError(
            f"{folder} holds the recording itself, which would be replaced", "choose another -o"
        )
    check_place(target)
    return True


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths name one file that exists."""
    try:
        return one.samefile(other)
    except OSError:  # one of them does not exist
        return False


def _target(folder: Path) -> Path:
    """Where a folder truly is: a link to it stays, and its target is what is replaced."""
    return Path(os.path.realpath(folder)) if folder.is_symlink() else folder


def is_wanted(result: Path, overwrite: bool, skip_existing: bool = False) -> bool:
    """Whether a file or folder is to be written.

    Raises:
        OutputError: it exists, and nothing was said about what then.
    """
    exists = os.path.lexists(result)
    if exists and not (overwrite or skip_existing):
        raise OutputError(f"{result} exists", "use --overwrite or --skip-existing")
    return not (skip_existing and exists)


@contextlib.contextmanager
def finished_together(folder: Path) -> Iterator[Path]:
    """A working folder that becomes ``folder`` if the block ends well, and vanishes if it does not.

    Files of a replaced folder that are not ours (somebody's notes or session, true voices) move to
    the new one. A page about the replaced stems does not, nor do pitches and salience of another
    recording.

    Raises:
        OutputError: The system refuses to write.
    """
    folder = _target(folder)
    with working_folder(folder) as work:
        yield work
        work.chmod(0o777 & ~_umask())  # the folder is for its owner only
        _replace(work, folder)


def _ours(folder: Path) -> frozenset[str]:
    """Names of files that `umss-jax separate` wrote into a folder, or may write."""
    own: set[str] = set()
    with contextlib.suppress(OSError, NoDocumentError, TypeError, KeyError):
        own = {Path(str(name)).name for name in read_json(folder / MANIFEST)["outputs"]}
    return _OURS | own


def _replace(work: Path, folder: Path) -> None:
    if not folder.exists():
        work.rename(folder)
        return
    aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=folder.parent))
    old = aside / folder.name
    with _locked(aside):
        folder.rename(old)
        try:
            work.rename(folder)
        except BaseException:
            old.rename(folder)
            aside.rmdir()
            raise
        _carry_over(old, folder)
        shutil.rmtree(aside)


def _restore(folder: Path) -> None:
    """Puts right what a run that was killed while it replaced a folder left beside it."""
    for aside in folder.parent.glob(f"{_ASIDE}*"):
        old = aside / folder.name
        with _locked(aside) as is_ours:
            if not is_ours:
                continue
            if not old.is_dir():  # of another recording, or killed before anything was moved
                with contextlib.suppress(OSError):
                    aside.rmdir()
            elif folder.exists():
                _carry_over(old, folder)
                shutil.rmtree(aside)
            else:
                old.rename(folder)
                aside.rmdir()


def _carry_over(old: Path, folder: Path) -> None:
    """Moves what is not ours, or still true, from the replaced folder into the new one."""
    is_same = _recording_of(old) == _recording_of(folder)
    ours = _ours(old)
    for item in list(old.iterdir()):
        is_stale = is_page(item) or (is_of_pitches(item, folder.name) and not is_same)
        if item.name in ours or is_stale:
            continue
        place = folder / item.name
        while os.path.lexists(place):  # made since a run was killed: both are kept
            place = place.with_name(f"{place.name}.replaced")
        item.rename(place)


@contextlib.contextmanager
def _locked(aside: Path) -> Iterator[bool]:
    """Whether nobody else is at work on a folder set aside; the lock dies with its holder."""
    try:
        import fcntl
    except ImportError:  # Windows, where a folder in use cannot be renamed anyway
        yield True
        return
    descriptor = os.open(aside, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = True
        except OSError as error:  # of any other kind: a file system without locks
            is_ours = not isinstance(error, BlockingIOError)
        yield is_ours
    finally:
        os.close(descriptor)


def _recording_of(folder: Path) -> object:
    """Hash of the file whose stems a folder holds; None where its manifest does not say."""
    try:
        return read_json(folder / MANIFEST)["input"]["sha256"]
    except (OSError, NoDocumentError, TypeError, KeyError):
        return None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
