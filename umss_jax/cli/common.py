"""What commands share: options, checks, progress, late failures, and how they end."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from umss_jax.config import Assigner
from umss_jax.device import Device
from umss_jax.errors import OutputError, UmssError, UsageError
from umss_jax.interruption import checked, exit_at_once
from umss_jax.progress import progress_bars as progress_bars  # for the commands

if TYPE_CHECKING:
    from umss_jax.audio.recording import Recording
    from umss_jax.inference import ModelEngine

log = logging.getLogger("umss_jax")
INTERRUPTED = 130

FilesArgument = Annotated[
    list[Path],
    typer.Argument(help="Recordings: WAV, FLAC, OGG, MP3, any rate, mono or more channels."),
]
NameOption = Annotated[
    str,
    typer.Option(
        "--name", "-n", help="Model: a name in the store, a .safetensors, or several joined by +."
    ),
]
DeviceOption = Annotated[Device, typer.Option("--device", "-d", help="Where to compute.")]
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


def prepare_jax() -> None:
    """Imports what a model needs and keeps compiled programs: to be called before one is loaded."""
    with exit_at_once():
        importlib.import_module("umss_jax.inference")
    from umss_jax.device import enable_compilation_cache

    enable_compilation_cache()


def run_recordings(
    files: Sequence[Path],
    out: Path,
    verbose: bool,
    wanted: Callable[[Path], bool],
    load: Callable[[], ModelEngine],
    one: Callable[[Recording, Callable[[], ModelEngine]], list[Path]],
) -> int:
    """Does every recording by one model, and prints the paths of the results.

    ``wanted`` says whether a recording needs doing, or refuses it by an OutputError. ``one`` does
    it and returns the results; its second argument gives the model, which is loaded when first
    asked for. The exit code is that of :func:`run_files`.
    """
    from umss_jax.audio.recording import scan

    refuse_twins(files)
    check_writable(out)

    @functools.cache
    def engine() -> ModelEngine:
        loaded = load()
        log.info("model %s: %s", loaded.name, dict(loaded.provenance))
        return loaded

    def do(path: Path) -> None:
        try:
            is_wanted = wanted(path)
        except OutputError as error:
            raise OutputError(f"{path}: {error.message}", error.remedy) from error
        if is_wanted:
            for result in one(scan(path), engine):
                print_path(result)

    return run_files(files, do, verbose)


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
            # A defect or a machine out of memory: the other files still get their chance.
            if verbose:
                traceback.print_exc()
            say(f"{path} failed ({type(error).__name__}: {error}): run it alone with -v")
            failed.append(path)
    if failed and len(files) > 1:
        say(f"{len(failed)} of {len(files)} files failed: {', '.join(map(str, failed))}")
    return 1 if failed else 0


def set_up_logging(verbose: bool) -> None:
    """Messages of this package from INFO on where asked, of others from WARNING on."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s")
    logging.getLogger().setLevel(logging.WARNING)
    log.setLevel(logging.INFO if verbose else logging.WARNING)


def exclude(one: str, has_one: bool, other: str, has_other: bool) -> None:
    """Refuses two options together."""
    if has_one and has_other:
        raise UsageError(f"{one} and {other} exclude each other", "choose one of them")


def refuse_twins(files: Sequence[Path]) -> None:
    """Two recordings of one name would share their results (on some systems whatever the case)."""
    seen: dict[str, Path] = {}
    for path in files:
        twin = seen.setdefault(path.stem.casefold(), path)
        if twin is not path:
            raise UsageError(
                f"the results of {twin} and {path} would both be called {path.stem!r}",
                "rename one of them, or run them with different -o",
            )


def check_writable(out: Path) -> None:
    """Finds out before an hour of work, not after; makes nothing."""
    existing = next((folder for folder in (out, *out.parents) if folder.exists()), out)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise UsageError(
            f"output folder {out} cannot be written ({error.strerror}: {existing})",
            "choose another -o",
        ) from error


def print_path(path: Path) -> None:
    """A result, on stdout at once; not every name is valid UTF-8."""
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(path) + b"\n")
    sys.stdout.buffer.flush()


def say(text: str) -> None:
    """A message of one line, on stderr."""
    print(f"umss-jax: {' '.join(text.split())}", file=sys.stderr)


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
