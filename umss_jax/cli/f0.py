"""``umss-jax f0``: recordings in, pitch tracks out."""

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
    set_up_logging,
)
from umss_jax.cli.interrupt import exit_at_once
from umss_jax.config import TrackAssigner
from umss_jax.device import Device
from umss_jax.separate.config import SeparationConfig
from umss_jax.weights.config import DEFAULT_MODEL

if TYPE_CHECKING:
    from umss_jax.separate.pitch_files import PitchOptions
    from umss_jax.separate.pitch_tracks import PitchEngine

_DEFAULTS = SeparationConfig()


def f0(
    files: FilesArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Tracks go to OUT/<track>.f0.csv.")
    ] = Path("f0"),
    name: NameOption = DEFAULT_MODEL,
    device: DeviceOption = Device.AUTO,
    assigner: Annotated[
        TrackAssigner,
        typer.Option(
            "--assigner",
            help="What gives the pitches to the voices; auto: the model's own network, or "
            "heuristic where it has none; none: all pitches of every frame.",
        ),
    ] = TrackAssigner.AUTO,
    midi: Annotated[
        bool, typer.Option("--midi", help="Write <track>.f0.mid too: notes, one track per voice.")
    ] = False,
    salience: Annotated[
        bool, typer.Option("--salience", help="Write <track>.salience.npz too: NumPy arrays.")
    ] = False,
    plot: Annotated[
        bool, typer.Option("--plot", help="Write <track>.f0.png too: salience and tracks.")
    ] = False,
    segment: SegmentOption = _DEFAULTS.segment_s,
    overlap: Annotated[
        float,
        typer.Option("--overlap", help="Part of a segment heard again; joined in its middle."),
    ] = _DEFAULTS.overlap,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there already.")
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Pass over recordings that have theirs already.")
    ] = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Find the pitches that soprano, alto, tenor and bass sing, without separating them.

    Writes OUT/<track>.f0.csv with a time and a pitch per voice in Hz every 16 ms, 0 where silent,
    and prints the files it wrote. With --assigner none each line holds a time and all pitches of
    that frame, tab-separated.
    """
    with exit_at_once():
        from umss_jax.audio.segments import plan_segments
        from umss_jax.separate.pitch_files import PitchOptions, check_options

    exclude("--quiet", quiet, "--verbose", verbose)
    exclude("--overwrite", overwrite, "--skip-existing", skip_existing)
    set_up_logging(verbose)
    config = SeparationConfig(segment_s=segment, overlap=overlap)
    plan_segments(config)
    options = PitchOptions(midi, salience, plot, overwrite, skip_existing)
    check_options(options, assigner is not TrackAssigner.NONE)
    refuse_twins(files)
    check_writable(out)

    @functools.cache
    def engine() -> PitchEngine:
        loaded = load_engine(name, assigner, device, config)
        log.info("model %s: %s", loaded.name, dict(loaded.provenance))
        return loaded

    def one(path: Path) -> None:
        _track(path, out, engine, config, options, quiet)

    return run_files(files, one, verbose)


def load_engine(
    name: str, assigner: TrackAssigner, device: Device, config: SeparationConfig
) -> PitchEngine:
    """The F0 networks of this name on this device."""
    with exit_at_once():
        importlib.import_module("umss_jax.pitch_inference")
    from umss_jax.api import load_tracker
    from umss_jax.cli.weights import bring_published
    from umss_jax.device import enable_compilation_cache

    enable_compilation_cache()
    bring_published(name)
    return load_tracker(name, assigner=assigner, device=device, config=config).engine


def _track(
    path: Path,
    out: Path,
    engine: Callable[[], PitchEngine],
    config: SeparationConfig,
    options: PitchOptions,
    quiet: bool,
) -> None:
    """One recording: refuses what exists before anything is loaded."""
    from umss_jax.audio.recording import scan
    from umss_jax.errors import OutputError
    from umss_jax.separate.pitch_files import missing_paths, pitch_paths, track_file

    try:
        wanted = missing_paths(pitch_paths(path, out, options), options)
    except OutputError as error:
        raise OutputError(f"{path}: {error.message}", error.remedy) from error
    if not wanted:
        log.info("%s: its files are in %s already", path, out)
        return
    recording = scan(path)
    log.info("%s: %.1f s", path, recording.duration_s)
    with progress_bars("tracking", recording.duration_s, path.name, "s", quiet) as advance:
        written = track_file(path, out, engine(), config, options, advance, recording)
    for result in written:
        print_path(result)
