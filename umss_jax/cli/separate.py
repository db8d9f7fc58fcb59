"""``umss-jax separate``: recordings in, folders of stems out."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umss_jax.cli.common import (
    DeviceOption,
    FilesArgument,
    NameOption,
    QuietOption,
    SegmentOption,
    VerboseOption,
    check_writable,
    exclude,
    log,
    print_path,
    progress_bars,
    refuse_twins,
    run_files,
    say,
    set_up_logging,
)
from umss_jax.cli.interrupt import exit_at_once
from umss_jax.config import Assigner
from umss_jax.device import Device
from umss_jax.errors import UsageError
from umss_jax.separate.config import ClipMode, SeparationConfig
from umss_jax.weights.config import DEFAULT_MODEL

if TYPE_CHECKING:
    from umss_jax.audio.recording import Recording
    from umss_jax.inference import ModelEngine
    from umss_jax.separate.stems import StemOptions

_DEFAULTS = SeparationConfig()


def separate(
    files: FilesArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Stems go to OUT/<model>/<track>/.")
    ] = Path("separated"),
    name: NameOption = DEFAULT_MODEL,
    device: DeviceOption = Device.AUTO,
    segment: SegmentOption = _DEFAULTS.segment_s,
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
        Assigner,
        typer.Option(
            "--assigner",
            help="What gives the pitches to the voices; auto: the model's own network, or "
            "heuristic where it has none.",
        ),
    ] = Assigner.AUTO,
    adapt: Annotated[
        int,
        typer.Option(
            "--adapt", min=0, metavar="STEPS", help="First train on each recording itself."
        ),
    ] = 0,
    adapt_assignment: Annotated[
        bool, typer.Option("--adapt-assignment", help="Train the assignment network as well.")
    ] = False,
    save_adapted: Annotated[
        str,
        typer.Option(
            "--save-adapted",
            metavar="NAME",
            help="Keep the adapted model of the one recording, by name or as a .safetensors file.",
        ),
    ] = "",
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Separate recordings into soprano, alto, tenor, bass and what is left.

    Writes OUT/<model>/<track>/ with five audio files that sum to the recording, f0.csv and
    manifest.json, and prints the folder. Stems have the recording's rate, channels and length.
    """
    with exit_at_once():
        from umss_jax.audio.recording import choose_encoding
        from umss_jax.audio.segments import plan_segments
        from umss_jax.separate.stems import StemOptions

    exclude("--quiet", quiet, "--verbose", verbose)
    exclude("--overwrite", overwrite, "--skip-existing", skip_existing)
    if adapt_assignment and not adapt:
        raise UsageError("--adapt-assignment needs --adapt", "add --adapt 200")
    if adapt_assignment and assigner is Assigner.HEURISTIC:
        raise UsageError(
            "--adapt-assignment has nothing to train with --assigner heuristic", "drop one of them"
        )
    if save_adapted:
        _check_keeping(save_adapted, adapt, len(files), overwrite)
    set_up_logging(verbose)
    config = SeparationConfig(segment_s=segment, overlap=overlap, seed=seed)
    plan_segments(config)
    choose_encoding(flac, float32)
    refuse_twins(files)
    check_writable(out)
    options = StemOptions(flac, float32, clip_mode, overwrite)

    def open_engine() -> ModelEngine:
        return load_engine(name, assigner, device, config, adapt > 0)

    def adapted(engine: ModelEngine, recording: Recording) -> ModelEngine:
        if not adapt:
            return engine
        with progress_bars("adapting", adapt, recording.path.name, "steps", quiet) as advance:
            step = functools.partial(advance, "adapting")
            new = adapt_engine(engine, recording, adapt, adapt_assignment, config, step)
        if save_adapted:
            say(f"{recording.path}: adapted model in {keep(new, save_adapted, recording, adapt)}")
        return new

    batch = _Batch(out, name, open_engine, adapted, config, options, skip_existing, quiet)
    return run_files(files, batch.separate, verbose)


def load_engine(
    name: str,
    assigner: Assigner,
    device: Device,
    config: SeparationConfig,
    draw_missing: bool,
) -> ModelEngine:
    """The model of this name on this device."""
    with exit_at_once():
        importlib.import_module("umss_jax.inference")
    from umss_jax.api import load
    from umss_jax.cli.weights import bring_published
    from umss_jax.device import enable_compilation_cache

    enable_compilation_cache()
    bring_published(name)
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
    from umss_jax.train.adapt import adapt, training_segments
    from umss_jax.train.config import AdaptationConfig

    if assignment and engine.assigner is Assigner.HEURISTIC:
        raise UsageError(
            f"--adapt-assignment has nothing to train in model {engine.name}", "drop it"
        )
    options = AdaptationConfig(steps=steps, train_assignment=assignment, seed=config.seed)
    segments = training_segments(recording, options)
    return adapt(engine, segments, options, advance).engine


def _check_keeping(name: str, adapt: int, files: int, overwrite: bool) -> None:
    """Refuses what would be noticed only after the adaptation."""
    from umss_jax.weights.store import refuse_starter, store_path

    if not adapt:
        raise UsageError("--save-adapted needs --adapt", "add --adapt 200")
    if files > 1:
        raise UsageError(
            f"--save-adapted keeps one model, here are {files} recordings", "give one at a time"
        )
    refuse_starter(name)
    if store_path(name).exists() and not overwrite:
        raise UsageError(f"{store_path(name)} exists", "use --overwrite or another name")


def keep(engine: ModelEngine, name: str, recording: Recording, steps: int) -> Path:
    """Stores an adapted model with all its networks; returns the path of its tensors."""
    from umss_jax.weights import store

    return store.save(
        name,
        engine.variables,
        engine.config,
        {
            "origin": f"{engine.name}, adapted to {recording.path.name} in {steps} steps",
            "initial_weights": engine.provenance.get("weights", {}),
        },
    )


class _Batch:
    """One run over several files: the model is loaded once, when the first one needs it."""

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
    ) -> None:
        self._out, self._name = out, name
        self._open_engine, self._adapted = open_engine, adapted
        self._config, self._options = config, options
        self._skip_existing, self._quiet = skip_existing, quiet
        self._engine: ModelEngine | None = None

    def separate(self, path: Path) -> None:
        from umss_jax.audio.recording import scan
        from umss_jax.errors import OutputError
        from umss_jax.separate.stems import separate_file, track_folder
        from umss_jax.weights.combine import model_name

        folder = track_folder(path, self._out, model_name(self._name))
        if folder.exists() and self._skip_existing:
            log.info("%s: stems are in %s already", path, folder)
            return
        if folder.exists() and not self._options.overwrite:
            raise OutputError(f"{path}: {folder} exists", "use --overwrite or --skip-existing")
        recording = scan(path)
        log.info(
            "%s: %.1f s, %d channels at %d Hz",
            path,
            recording.duration_s,
            recording.channels,
            recording.sample_rate_hz,
        )
        if self._engine is None:
            self._engine = self._open_engine()
            log.info("model %s: %s", self._engine.name, dict(self._engine.provenance))
        engine = self._adapted(self._engine, recording)
        with progress_bars(
            "separating", recording.duration_s, path.name, "s", self._quiet
        ) as advance:
            track = separate_file(
                path, self._out, engine, self._config, self._options, advance, recording
            )
        _note_level(path, track.manifest, self._quiet)
        print_path(track.folder)


def _note_level(path: Path, manifest: dict[str, object], quiet: bool) -> None:
    if quiet:
        return
    if manifest["gain"] != 1.0:
        say(f"{path}: all stems turned down by {manifest['gain']:.4f} so that none clips")
    if manifest["clipped_samples"]:
        say(f"{path}: {manifest['clipped_samples']} samples cut at full scale")
