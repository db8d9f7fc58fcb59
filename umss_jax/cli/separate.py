"""``umss-jax separate``: recordings in, folders of stems out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umss_jax.cli.common import (
    AssignerOption,
    ChainOption,
    DeviceOption,
    FilesArgument,
    NameOption,
    OverwriteOption,
    QuietOption,
    ScoreOption,
    SegmentOption,
    SkipExistingOption,
    VerboseOption,
    VoicesOption,
    begin,
    exit_at_once,
    heavy_imports,
    log,
    prepare_jax,
    progress_bars,
    run_recordings,
    say,
    voices_asked,
)
from umss_jax.cli.given import listed
from umss_jax.cli.separate_options import (
    PRACTICE,
    DurationOption,
    FilenameOption,
    FormatOption,
    OthersOption,
    PracticeOption,
    StartOption,
    StemsOption,
    TempoOption,
    practice_config,
    stem_names,
)
from umss_jax.config import Assigner, Chain, VoicesConfig
from umss_jax.device import Device
from umss_jax.errors import printable
from umss_jax.separation.config import ClipMode, SeparationConfig
from umss_jax.train.config import AdaptationConfig
from umss_jax.voice_sets import as_voices
from umss_jax.weights.config import DEFAULT_MODEL
from umss_jax.words import counted

if TYPE_CHECKING:
    from umss_jax.audio.recording import Recording
    from umss_jax.inference import ModelEngine

_DEFAULTS = SeparationConfig()

_OutOption = Annotated[Path, typer.Option("--out", "-o", help="Stems go to OUT/<model>/<track>/.")]
_OverlapOption = Annotated[
    float, typer.Option("--overlap", help="Part of a segment cross-faded into the next.")
]
_FlacOption = Annotated[bool, typer.Option("--flac", help="The same as --format flac.")]
_Float32Option = Annotated[
    bool, typer.Option("--float32", help="Write WAV of 32-bit floating point, not 24 bits.")
]
_ClipModeOption = Annotated[
    ClipMode,
    typer.Option(
        "--clip-mode",
        help="Where a stem would pass full scale: turn all files down by one gain, cut, or "
        "leave it (only --float32 can hold that).",
    ),
]
_FullBandOption = Annotated[
    bool,
    typer.Option(
        "--full-band/--no-full-band",
        help="Share out what lies above 8 kHz too, or leave it in the residual.",
    ),
]
_SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Random seed.")]
_AdaptOption = Annotated[
    int,
    typer.Option("--adapt", min=0, metavar="STEPS", help="First train on each recording itself."),
]
_AdaptAssignmentOption = Annotated[
    bool, typer.Option("--adapt-assignment", help="Train the assignment network as well.")
]
_SaveAdaptedOption = Annotated[
    str,
    typer.Option(
        "--save-adapted",
        metavar="NAME",
        help="Keep the adapted model of the one recording, by name or as a .safetensors file.",
    ),
]
_PlotOption = Annotated[
    bool, typer.Option("--plot", help="With --score: write alignment.png, salience and notes.")
]


def separate(
    files: FilesArgument,
    out: _OutOption = Path("separated"),
    name: NameOption = DEFAULT_MODEL,
    device: DeviceOption = Device.AUTO,
    segment: SegmentOption = _DEFAULTS.segment_s,
    overlap: _OverlapOption = _DEFAULTS.overlap,
    flac: _FlacOption = False,
    float32: _Float32Option = False,
    clip_mode: _ClipModeOption = ClipMode.RESCALE,
    full_band: _FullBandOption = _DEFAULTS.full_band,
    seed: _SeedOption = 0,
    overwrite: OverwriteOption = False,
    skip_existing: SkipExistingOption = False,
    assigner: AssignerOption = Assigner.AUTO,
    chain: ChainOption = Chain.IMPROVED,
    adapt: _AdaptOption = 0,
    adapt_assignment: _AdaptAssignmentOption = False,
    save_adapted: _SaveAdaptedOption = "",
    voices: VoicesOption = None,
    score: ScoreOption = None,
    plot: _PlotOption = False,
    sound_format: FormatOption = None,
    stems: StemsOption = None,
    filename: FilenameOption = None,
    start: StartOption = 0.0,
    duration: DurationOption = None,
    practice: PracticeOption = False,
    others_db: OthersOption = PRACTICE.others_db,
    tempo: TempoOption = PRACTICE.tempo,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Separate recordings into soprano, alto, tenor, bass or other voices, and what is left.

    Writes OUT/<model>/<track>/ with audio files that sum to the recording, f0.csv and
    manifest.json, and prints the folder. Stems have the recording's rate, channels and length. With
    --score it writes alignment.csv too: when each note is sung, and whether it could be followed.
    With --practice there are mixes with each voice in front and without it. With --filename it
    prints the files instead, since they need not be in one folder.
    """
    with heavy_imports():
        from umss_jax.api import model_name
        from umss_jax.audio.recording import scan
        from umss_jax.scores.fit import open_score
        from umss_jax.separation.encodings import check_encoding
        from umss_jax.separation.outputs import MANIFEST
        from umss_jax.separation.request import (
            StemOptions,
            request_of,
            targets_of,
            wants_track,
        )
        from umss_jax.separation.stems import separate_file

    begin(quiet, verbose, overwrite, skip_existing)
    adaptation = AdaptationConfig(steps=adapt, train_assignment=adapt_assignment, seed=seed)
    if adapt or adapt_assignment or save_adapted:
        with exit_at_once():  # what trains takes half a second to import
            from umss_jax.train.adapt import check_adaptation
        check_adaptation(adaptation, assigner, save_adapted, len(listed(files)), overwrite)
    config = SeparationConfig(segment, overlap, seed, full_band=full_band)
    options = StemOptions(
        flac,
        float32,
        clip_mode,
        overwrite,
        plot,
        sound_format,
        stem_names(stems),
        practice_config(practice, others_db, tempo),
        filename,
        start,
        duration,
    )
    asked = as_voices(voices)
    ensemble = voices_asked(asked, name)
    request = request_of(options, score is not None, ensemble.names)

    def places(path: Path, track: str = "") -> dict[str, Path]:
        return targets_of(request, path, out, model_name(name), track)

    opened = open_score(score, ensemble.names) if score is not None else None

    def wanted(path: Path, track: str) -> bool:
        model = model_name(name)
        if wants_track(request, path, out, model, overwrite, skip_existing, track):
            return True
        log.info("%s: stems are in %s already", path, places(path, track)[MANIFEST].parent)
        return False

    def listen(path: Path) -> Recording:
        recording = scan(path, start, duration)
        check_encoding(request.encoding, recording)
        return recording

    def one(recording: Recording, engine: Callable[[], ModelEngine]) -> list[Path]:
        (path, rate_hz, channels, *_), seconds = recording, recording.duration_s
        log.info("%s: %.1f s, %s at %d Hz", path, seconds, counted(channels, "channel"), rate_hz)
        adapted = _adapted(engine(), recording, adaptation, save_adapted, quiet)
        with progress_bars("separating", seconds, printable(path.name), "s", quiet) as advance:
            track = separate_file(path, out, adapted, config, options, advance, recording, opened)
        if not quiet:
            _note_level(path, track.manifest)
            if warning := track.likeness.warning(str(path), adapted.config.voices):
                say(warning)
            if track.score_warning:
                say(track.score_warning)
        return [track.folder] if request.template is None else list(track.files)

    load = functools.partial(load_engine, name, assigner, chain, device, config, adapt > 0, asked)
    named = None if request.template is None else places
    return run_recordings(files, out, quiet, verbose, wanted, load, one, listen, named)


def load_engine(
    name: str,
    assigner: Assigner,
    chain: Chain,
    device: Device,
    config: SeparationConfig,
    init_missing: bool,
    voices: VoicesConfig | None = None,
) -> ModelEngine:
    """The model of this name on this device."""
    prepare_jax()
    from umss_jax.api import load
    from umss_jax.cli.weights import bring_published

    bring_published(name)
    return load(
        name,
        assigner=assigner,
        chain=chain,
        device=device,
        config=config,
        init_missing=init_missing,
        voices=voices,
    ).engine


def _adapted(
    engine: ModelEngine, recording: Recording, config: AdaptationConfig, name: str, quiet: bool
) -> ModelEngine:
    """The engine adapted to a recording, and kept by a name, where that is asked for."""
    if not config.steps:
        return engine
    from umss_jax.train import adapt

    label = printable(recording.path.name)
    with progress_bars("adapting", config.steps, label, "steps", quiet) as advance:
        step = functools.partial(advance, "adapting")
        adapted = adapt.adapt_to_recording(engine, recording, config, step)
    engine = adapted.engine
    if adapted.kept == 0:
        say(f"{recording.path}: the seconds held back are explained no better: nothing is adapted")
    if name:
        kept = adapt.keep_adapted(engine, name, recording, config.steps)
        say(f"{recording.path}: adapted model in {kept}")
    return engine


def _note_level(path: Path, manifest: dict[str, object]) -> None:
    if manifest["gain"] != 1.0:
        say(f"{path}: all stems turned down by {manifest['gain']:.4f} so that none clips")
    cut: Any = manifest["clipped_samples"]
    if cut:
        say(f"{path}: {counted(cut, 'sample')} cut at full scale")
