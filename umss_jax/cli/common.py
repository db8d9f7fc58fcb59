"""What commands share: options, checks, progress, late failures, and how they end."""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from umss_jax.config import Assigner, Chain, VoicesConfig
from umss_jax.device import Device, as_device
from umss_jax.environment import explained
from umss_jax.errors import OutputError, UmssError, UsageError, one_line, printable
from umss_jax.files import check_place
from umss_jax.interruption import checked, exit_at_once
from umss_jax.progress import progress_bars as progress_bars  # for the commands

if TYPE_CHECKING:
    from umss_jax.audio.recording import Recording
    from umss_jax.inference import ModelEngine

log = logging.getLogger("umss_jax")
INTERRUPTED = 130
_called: dict[str, str] = {}
"""Paths of files that messages call otherwise: the standard input, which is kept in one."""

FilesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="Recordings or films of any format and rate, mono or more channels; folders of them; "
        "- is the standard input.",
    ),
]
NameOption = Annotated[
    str,
    typer.Option(
        "--name", "-n", help="Model: a name in the store, a .safetensors, or several joined by +."
    ),
]
DeviceOption = Annotated[
    Device,
    typer.Option(
        "--device",
        "-d",
        parser=as_device,
        metavar=f"[{'|'.join(Device)}]",
        help="Where to compute.",
    ),
]
SegmentOption = Annotated[
    float, typer.Option("--segment", help="Seconds that the model hears at once.")
]
AssignerOption = Annotated[
    Assigner,
    typer.Option(
        "--assigner",
        help="What gives the pitches to the voices; auto: the model's own network, or "
        "heuristic where it has none.",
    ),
]
ChainOption = Annotated[
    Chain,
    typer.Option(
        "--chain",
        help="paper: as published; improved: F0 of all voices together, and voices fitted to the "
        "mixture; thorough: improved, and hears more pitches, four times as slowly.",
    ),
]
ScoreOption = Annotated[
    Path | None,
    typer.Option(
        "--score",
        metavar="FILE",
        help="What is sung: MIDI, MusicXML, Humdrum or ABC; pitches are taken by its notes.",
    ),
]
VoicesOption = Annotated[
    str | None,
    typer.Option(
        "--voices",
        metavar="VOICES",
        help="Who sings, from the highest to the lowest: satb, ttbb, ssaa, ssatb, sab, duet …, "
        "names apart by commas, or a .toml file with their ranges.",
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what is there already.")
]
SkipExistingOption = Annotated[
    bool, typer.Option("--skip-existing", help="Pass over recordings that have results already.")
]
NoProgressOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Say what is done.")]


def begin(quiet: bool, verbose: bool, overwrite: bool, skip_existing: bool) -> None:
    """Refuses options that exclude each other; from here on messages are as asked for."""
    exclude("--quiet", quiet, "--verbose", verbose)
    exclude("--overwrite", overwrite, "--skip-existing", skip_existing)
    set_up_logging(verbose)


@contextlib.contextmanager
def heavy_imports() -> Iterator[None]:
    """While half a million objects are imported: signals as in :func:`exit_at_once`, no collection.

    Hardly any of them are ever garbage, and to look for it takes a tenth of the time.
    """
    was_on = gc.isenabled()
    with exit_at_once():
        gc.disable()
        try:
            yield
        finally:
            if was_on:
                gc.enable()


def voices_asked(voices: VoicesConfig | None, name: str) -> VoicesConfig:
    """Those asked for, or else of the model; the usual ones where it is not there yet."""
    from umss_jax.weights.combine import stored_voices

    if voices is not None:
        return voices
    with contextlib.suppress(UmssError):
        return stored_voices(name)
    return VoicesConfig()


def prepare_jax() -> None:
    """Imports what a model needs and keeps compiled programs: to be called before one is loaded."""
    from umss_jax.device import enable_compilation_cache, start_jax
    from umss_jax.kept_programs import keep_programs

    with heavy_imports():
        start_jax()
        importlib.import_module("umss_jax.inference")
    enable_compilation_cache()
    keep_programs()


def run_recordings(
    files: Sequence[Path],
    out: Path,
    quiet: bool,
    verbose: bool,
    wanted: Callable[[Path, str], bool],
    load: Callable[[], ModelEngine],
    one: Callable[[Recording, Callable[[], ModelEngine]], list[Path]],
    listen: Callable[[Path], Recording] | None = None,
    places: Callable[[Path], Mapping[str, Path]] | None = None,
) -> int:
    """Does every recording by one model, and prints the paths of the results.

    Folders, patterns and the standard input are recordings too (:func:`umss_jax.cli.given.listed`).
    ``wanted`` says whether a recording needs doing, by its path and the name of its track if that
    is not the file's, or refuses it by an OutputError. ``one`` does it and returns the results; its
    second argument gives the model, which is loaded when first asked for. ``listen`` reads a
    recording first, by default all of it; ``places`` says where its results go, if these are not
    called by its track. The exit code is that of :func:`run_files`.
    """
    from umss_jax.audio.recording import scan
    from umss_jax.cli.given import given_once, listed, spooled

    check_writable(out)
    with spooled(listed(files) if quiet else listed(files, say), _called) as there:
        tracks = given_once(there, say, places)
        return _run_tracks(tracks, quiet, verbose, wanted, listen or scan, load, one)


def _run_tracks(
    tracks: Mapping[Path, str],
    quiet: bool,
    verbose: bool,
    wanted: Callable[[Path, str], bool],
    listen: Callable[[Path], Recording],
    load: Callable[[], ModelEngine],
    one: Callable[[Recording, Callable[[], ModelEngine]], list[Path]],
) -> int:
    """Does recordings, by path with the names of their tracks."""
    from umss_jax.cli.given import refuse_folder

    files = list(tracks)
    passed: list[Path] = []

    @functools.cache
    def engine() -> ModelEngine:
        loaded = load()
        log.info("model %s: %s", loaded.name, dict(loaded.provenance))
        return loaded

    def do(path: Path) -> None:
        if path.is_dir():
            refuse_folder(path)
        try:
            is_wanted = wanted(path, tracks[path])
        except OutputError as error:
            raise OutputError(f"{path}: {error.message}", error.remedy) from error
        if not is_wanted:
            passed.append(path)
            return
        recording = listen(path)._replace(track=tracks[path])
        if recording.note and not quiet:
            say(recording.note)
        for result in one(recording, engine):
            print_path(result)

    code = run_files(files, do, verbose)
    if passed and not quiet:
        names = ", ".join(map(str, passed))
        say(f"passed over, since results are there: {names} ({len(passed)} of {len(files)})")
    return code


def run_files(files: Sequence[Path], one: Callable[[Path], None], verbose: bool) -> int:
    """Does every file, whatever becomes of the others; the exit code is 1 if any failed.

    ``verbose`` prints where a defect occurred.

    Raises:
        UsageError: It would meet every other file too.
    """
    failed: list[Path] = []
    for path in checked(files):
        try:
            one(path)
        except UsageError:
            raise
        except UmssError as error:
            say(str(error))
            failed.append(path)
        except OSError as error:
            say(f"{path}: {refused(error)}")
            failed.append(path)
        except Exception as error:
            by_environment = explained(error)
            if by_environment is not None:
                raise by_environment from error
            # A defect or a machine out of memory: the other files still get their chance.
            if verbose:
                traceback.print_exc()
            reason = one_line(f"{type(error).__name__}: {error}")
            say(f"{path} failed ({reason}): run it alone with -v")
            failed.append(path)
    if failed and len(files) > 1:
        say(f"{len(failed)} of {len(files)} files failed: {', '.join(map(str, failed))}")
    return 1 if failed else 0


class _OneLine(logging.Formatter):
    """Messages with names in them, as :func:`say` has them."""

    def format(self, record: logging.LogRecord) -> str:
        told = copy.copy(record)
        told.msg, told.args = printable(record.getMessage()), ()
        return super().format(told)


def set_up_logging(verbose: bool) -> None:
    """Messages of this package from INFO on where asked, of others from WARNING on."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    logging.getLogger().setLevel(logging.WARNING)
    log.setLevel(logging.INFO if verbose else logging.WARNING)


def exclude(one: str, has_one: bool, other: str, has_other: bool) -> None:
    """Refuses two options together."""
    if has_one and has_other:
        raise UsageError(f"{one} and {other} exclude each other", "choose one of them")


def check_writable(out: Path) -> None:
    """Finds out before an hour of work whether a folder of results can be written; makes nothing.

    Raises:
        UsageError: it cannot.
    """
    try:
        check_place(out / "result")
    except OutputError as error:
        reason = error.message.partition(" cannot be written ")[2]
        raise UsageError(
            f"output folder {out} cannot be written {reason}", "choose another -o"
        ) from error


def print_path(path: Path) -> None:
    """A result, on stdout at once.

    Its bytes are those of the name, which need not be UTF-8; a terminal must not obey them.
    """
    if sys.stdout is None:
        return
    sys.stdout.flush()
    if sys.stdout.isatty() or not hasattr(sys.stdout, "buffer"):
        print(printable(str(path)), flush=True)
        return
    sys.stdout.buffer.write(os.fsencode(path) + b"\n")
    sys.stdout.buffer.flush()


def say(text: str) -> None:
    """A message of one line, on stderr; names in it are spelt so that no terminal obeys them."""
    for path, name in _called.items():
        text = text.replace(path, name)
    if sys.stderr is not None:
        print(f"umss-jax: {printable(text)}", file=sys.stderr)


def refused(error: OSError) -> str:
    """What the system refused, in words; the last resort for files that nobody asked about."""
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "a file"
    return f"{name} cannot be used ({error.strerror or error}): check its rights and its disk"


def leave(code: int) -> NoReturn:
    """Ends the process after everything was cleaned up.

    Not by way of the interpreter's own end: threads of a computation that was interrupted may
    still run then, and crash.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
