"""``umss-jax separate``: recordings in, folders of stems out."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umss_jax.cli.interrupt import exit_at_once
from umss_jax.config import DEFAULT_MODEL, Assigner, ClipMode, SeparationConfig
from umss_jax.device import Device
from umss_jax.errors import UmssError, UsageError

if TYPE_CHECKING:
    from umss_jax.audio import Recording
    from umss_jax.engine import ModelEngine
    from umss_jax.stem_files import StemOptions

_DEFAULTS = SeparationConfig()
_log = logging.getLogger("umss_jax")


def separate(
    files: Annotated[
        list[Path],
        typer.Argument(help="Recordings: WAV, FLAC, OGG, MP3, any rate, mono or more channels."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Stems go to OUT/<model>/<track>/.")
    ] = Path("separated"),
    name: Annotated[
        str, typer.Option("--name", "-n", help="Model: a name in the store, or a .safetensors.")
    ] = DEFAULT_MODEL,
    device: Annotated[Device, typer.Option("--device", "-d", help="Where to compute.")] = (
        Device.AUTO
    ),
    segment: Annotated[
        float, typer.Option("--segment", help="Seconds that the model hears at once.")
    ] = _DEFAULTS.segment_s,
    overlap: Annotated[
        float, typer.Option("--overlap", help="Part of a segment cross-faded into the next.")
    ] = _DEFAULTS.overlap,
    flac: Annotated[bool, typer.Option("--flac", help="Write FLAC of 24 bits, not WAV.")] = False,
    float32: Annotated[
        bool, typer.Option("--float32", help="Write WAV of 32-bit floating point, not 24 bits.")
    ] = False,
    clip_mode: Annotated[
        ClipMode,
        typer.Option(
            "--clip-mode",
            help="Where a stem would pass full scale: turn all files down by one gain, cut, or "
            "leave it (only --float32 can hold that).",
        ),
    ] = ClipMode.RESCALE,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all random numbers.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace stems that are there already.")
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Pass over recordings that have stems already.")
    ] = False,
    assigner: Annotated[
        Assigner, typer.Option("--assigner", help="What gives the pitches to the voices.")
    ] = Assigner.VOAS_CNN,
    adapt: Annotated[
        int,
        typer.Option(
            "--adapt", min=0, metavar="STEPS", help="First train on each recording itself."
        ),
    ] = 0,
    adapt_assignment: Annotated[
        bool, typer.Option("--adapt-assignment", help="Train the assignment network as well.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what is done.")] = False,
) -> int:
    """Separate recordings into soprano, alto, tenor, bass and what is left.

    Writes OUT/<model>/<track>/ with five audio files that sum to the recording, f0.csv and
    manifest.json, and prints the folder. Stems have the recording's rate, channels and length.
    """
    with exit_at_once():
        from umss_jax.audio import choose_encoding
        from umss_jax.separation import plan_segments
        from umss_jax.stem_files import StemOptions

    _exclude("--quiet", quiet, "--verbose", verbose)
    _exclude("--overwrite", overwrite, "--skip-existing", skip_existing)
    if adapt_assignment and not adapt:
        raise UsageError("--adapt-assignment needs --adapt", "add --adapt 200")
    if adapt_assignment and assigner is Assigner.HEURISTIC:
        raise UsageError(
            "--adapt-assignment has nothing to train with --assigner heuristic", "drop one of them"
        )
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s")
    logging.getLogger().setLevel(logging.WARNING)
    _log.setLevel(logging.INFO if verbose else logging.WARNING)
    config = SeparationConfig(segment_s=segment, overlap=overlap, seed=seed)
    plan_segments(config)
    choose_encoding(flac, float32)
    _refuse_twins(files)
    _check_writable(out)
    options = StemOptions(flac, float32, clip_mode, overwrite)

    def open_engine() -> ModelEngine:
        return load_engine(name, assigner, device, config, adapt > 0)

    def adapted(engine: ModelEngine, recording: Recording) -> ModelEngine:
        if not adapt:
            return engine
        with _progress_bars("adapting", adapt, recording.path.name, "steps", quiet) as advance:
            step = functools.partial(advance, "adapting")
            return adapt_engine(engine, recording, adapt, adapt_assignment, config, step)

    batch = _Batch(out, name, open_engine, adapted, config, options, skip_existing, quiet, verbose)
    return batch.run(files)


def load_engine(
    name: str,
    assigner: Assigner,
    device: Device,
    config: SeparationConfig,
    draw_missing: bool,
) -> ModelEngine:
    """The model of this name on this device."""
    with exit_at_once():
        importlib.import_module("umss_jax.engine")
    from umss_jax.api import load

    return load(
        name, assigner=assigner, device=device, config=config, draw_missing=draw_missing
    ).engine


def adapt_engine(
    engine: ModelEngine,
    recording: Recording,
    steps: int,
    assignment: bool,
    config: SeparationConfig,
    advance: Callable[[float], None],
) -> ModelEngine:
    """The engine after unsupervised training on one recording."""
    from umss_jax.adaptation import adapt, training_segments
    from umss_jax.config import AdaptationConfig

    options = AdaptationConfig(steps=steps, train_assignment=assignment, seed=config.seed)
    segments = training_segments(recording, options)
    return adapt(engine, segments, options, advance).engine


class _Batch:
    """One run over several files: the model is loaded once, failures are kept for the end."""

    def __init__(
        self,
        out: Path,
        name: str,
        open_engine: Callable[[], ModelEngine],
        adapted: Callable[[ModelEngine, Recording], ModelEngine],
        config: SeparationConfig,
        options: StemOptions,
        skip_existing: bool,
        quiet: bool,
        verbose: bool,
    ) -> None:
        self._out, self._name = out, name
        self._open_engine, self._adapted = open_engine, adapted
        self._config, self._options = config, options
        self._skip_existing, self._quiet, self._verbose = skip_existing, quiet, verbose
        self._engine: ModelEngine | None = None

    def run(self, files: Sequence[Path]) -> int:
        """Does every file; returns the exit code."""
        failed: list[Path] = []
        for path in files:
            try:
                self._one(path)
            except UsageError:
                raise  # it would meet every other file too
            except UmssError as error:
                _say(str(error))
                failed.append(path)
            except Exception as error:
                # A defect or a machine out of memory: the other files still get their chance.
                if self._verbose:
                    traceback.print_exc()
                _say(f"{path} failed ({type(error).__name__}: {error}): run it alone with -v")
                failed.append(path)
        if failed and len(files) > 1:
            listed = ", ".join(str(path) for path in failed)
            _say(f"{len(failed)} of {len(files)} files failed: {listed}")
        return 1 if failed else 0

    def _one(self, path: Path) -> None:
        from umss_jax.api import model_name
        from umss_jax.audio import scan
        from umss_jax.errors import OutputError
        from umss_jax.stem_files import separate_file, track_folder

        folder = track_folder(path, self._out, model_name(self._name))
        if folder.exists() and self._skip_existing:
            _log.info("%s: stems are in %s already", path, folder)
            return
        if folder.exists() and not self._options.overwrite:
            raise OutputError(f"{path}: {folder} exists", "use --overwrite or --skip-existing")
        recording = scan(path)
        _log.info(
            "%s: %.1f s, %d channels at %d Hz",
            path,
            recording.duration_s,
            recording.channels,
            recording.sample_rate_hz,
        )
        if self._engine is None:
            self._engine = self._open_engine()
            _log.info("model %s: %s", self._engine.name, dict(self._engine.provenance))
        engine = self._adapted(self._engine, recording)
        with _progress_bars(
            "separating", recording.duration_s, path.name, "s", self._quiet
        ) as advance:
            track = separate_file(
                path, self._out, engine, self._config, self._options, advance, recording
            )
        _note_level(path, track.manifest, self._quiet)
        sys.stdout.flush()
        sys.stdout.buffer.write(str(track.folder).encode("utf-8", "surrogateescape") + b"\n")
        sys.stdout.buffer.flush()


def _note_level(path: Path, manifest: dict[str, object], quiet: bool) -> None:
    if quiet:
        return
    if manifest["gain"] != 1.0:
        _say(f"{path}: all stems turned down by {manifest['gain']:.4f} so that none clips")
    if manifest["clipped_samples"]:
        _say(f"{path}: {manifest['clipped_samples']} samples cut at full scale")


def _exclude(one: str, has_one: bool, other: str, has_other: bool) -> None:
    if has_one and has_other:
        raise UsageError(f"{one} and {other} exclude each other", "choose one of them")


def _refuse_twins(files: Sequence[Path]) -> None:
    """Two recordings of one name would share a folder (on some systems whatever the case)."""
    seen: dict[str, Path] = {}
    for path in files:
        twin = seen.setdefault(path.stem.casefold(), path)
        if twin is not path:
            raise UsageError(
                f"{twin} and {path} would both write to the folder {path.stem!r}",
                "rename one of them, or separate them into different -o",
            )


def _check_writable(out: Path) -> None:
    """Finds out before an hour of work, not after; makes nothing."""
    import tempfile

    existing = next((folder for folder in (out, *out.parents) if folder.exists()), out)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise UsageError(
            f"output folder {out} cannot be written ({error.strerror}: {existing})",
            "choose another -o",
        ) from error


_BAR_DELAY_S = 2.0


class _Bar:
    """A bar on stderr once two seconds have passed, whether or not anything was done by then."""

    def __init__(self, total: float, label: str, unit: str) -> None:
        from tqdm import tqdm

        form = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} {unit} [{elapsed}<{remaining}]"
        self._bar = tqdm(
            total=total, desc=label, unit=unit, delay=_BAR_DELAY_S, leave=False, bar_format=form
        )
        self._timer = threading.Timer(_BAR_DELAY_S, self._show)
        self._timer.daemon = True
        self._timer.start()
        self.advance = self._bar.update

    def _show(self) -> None:
        self._bar.refresh()
        self._bar.last_print_t = time.time()  # or closing would not wipe it

    def close(self) -> None:
        self._timer.cancel()
        self._bar.close()


@contextlib.contextmanager
def _progress_bars(
    first_stage: str, total: float, label: str, unit: str, quiet: bool
) -> Iterator[Callable[[str, float], None]]:
    """One bar per stage, where stderr is a terminal; is told the stage and what was done of it."""
    if quiet or not sys.stderr.isatty():
        yield lambda stage, amount: None
        return
    current = first_stage
    bar = _Bar(total, f"{label}: {first_stage}", unit)

    def advance(stage: str, amount: float) -> None:
        nonlocal bar, current
        if stage != current:
            bar.close()
            bar, current = _Bar(total, f"{label}: {stage}", unit), stage
        bar.advance(amount)

    try:
        yield advance
    finally:
        bar.close()


def _say(text: str) -> None:
    print(f"umss-jax: {' '.join(text.split())}", file=sys.stderr)
