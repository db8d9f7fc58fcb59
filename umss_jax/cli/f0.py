"""``umss-jax f0``: recordings in, pitch tracks out."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umss_jax.cli.common import (
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
    log,
    prepare_jax,
    progress_bars,
    run_recordings,
    say,
    voices_asked,
)
from umss_jax.config import Chain, TrackAssigner, VoicesConfig
from umss_jax.device import Device
from umss_jax.errors import UsageError, brief, printable
from umss_jax.range_checks import refuse_outside
from umss_jax.separation.config import BarConfig, NoteConfig, SeparationConfig
from umss_jax.voice_sets import as_voices
from umss_jax.weights.config import DEFAULT_MODEL

if TYPE_CHECKING:
    from umss_jax.audio.recording import Recording
    from umss_jax.inference import ModelEngine

_DEFAULTS, _NOTES = SeparationConfig(), NoteConfig()
_METRE = re.compile(r"(?P<beats>\d{1,2})/(?P<unit>[248])")
_MOST_BEATS = 16

_OutOption = Annotated[Path, typer.Option("--out", "-o", help="Tracks go to OUT/<track>.f0.csv.")]
_AssignerOption = Annotated[
    TrackAssigner,
    typer.Option(
        "--assigner",
        help="What gives the pitches to the voices; auto: the model's own network, or "
        "heuristic where it has none; none: all pitches of every frame.",
    ),
]
_MidiOption = Annotated[
    bool, typer.Option("--midi", help="Write <track>.f0.mid too: notes, one track per voice.")
]
_SalienceOption = Annotated[
    bool, typer.Option("--salience", help="Write <track>.salience.npz too: NumPy arrays.")
]
_PlotOption = Annotated[
    bool, typer.Option("--plot", help="Write <track>.f0.png too: salience and tracks.")
]
_NotesOption = Annotated[
    bool, typer.Option("--notes", help="Write <track>.notes.csv too: onset, offset and pitch.")
]
_SonifyOption = Annotated[
    bool, typer.Option("--sonify", help="Write <track>.notes.wav too: the notes as tones.")
]
_ShortestOption = Annotated[
    float, typer.Option("--shortest-note", metavar="SECONDS", help="What is shorter is no note.")
]
_LowestOption = Annotated[
    int, typer.Option("--lowest", metavar="NOTE", help="Lowest note of MIDI, 60 is middle C.")
]
_HighestOption = Annotated[
    int, typer.Option("--highest", metavar="NOTE", help="Highest note of MIDI.")
]
_BpmOption = Annotated[
    float | None,
    typer.Option(
        "--bpm",
        metavar="BEATS",
        help="Tempo of the bars, and what the MIDI file says; default: that of the recording, 120.",
    ),
]
_MusicxmlOption = Annotated[
    bool, typer.Option("--musicxml", help="Write <track>.musicxml too: the notes in bars.")
]
_BendsOption = Annotated[
    bool, typer.Option("--bends", help="In MIDI, let the pitch wheel follow what is sung.")
]
_FrameOption = Annotated[
    float,
    typer.Option(
        "--frame-threshold",
        metavar="SALIENCE",
        help="Of notes: frames that are less salient are left out, 0 to 1.",
    ),
]
_OnsetOption = Annotated[
    float,
    typer.Option(
        "--onset-threshold", metavar="SALIENCE", help="What a note must reach as it begins, 0 to 1."
    ),
]
_MetreOption = Annotated[
    str, typer.Option("--metre", metavar="N/N", help="Of the bars, such as 3/4 or 6/8.")
]
_OverlapOption = Annotated[
    float,
    typer.Option("--overlap", help="Part of a segment heard again; joined in its middle."),
]


def f0(
    files: FilesArgument,
    out: _OutOption = Path("f0"),
    name: NameOption = DEFAULT_MODEL,
    device: DeviceOption = Device.AUTO,
    assigner: _AssignerOption = TrackAssigner.AUTO,
    chain: ChainOption = Chain.IMPROVED,
    midi: _MidiOption = False,
    salience: _SalienceOption = False,
    plot: _PlotOption = False,
    notes: _NotesOption = False,
    sonify: _SonifyOption = False,
    shortest_note: _ShortestOption = _NOTES.shortest_note_s,
    lowest: _LowestOption = _NOTES.lowest_note,
    highest: _HighestOption = _NOTES.highest_note,
    bends: _BendsOption = False,
    frame_threshold: _FrameOption = _NOTES.frame_salience,
    onset_threshold: _OnsetOption = _NOTES.onset_salience,
    bpm: _BpmOption = None,
    metre: _MetreOption = BarConfig().metre,
    musicxml: _MusicxmlOption = False,
    voices: VoicesOption = None,
    score: ScoreOption = None,
    segment: SegmentOption = _DEFAULTS.segment_s,
    overlap: _OverlapOption = _DEFAULTS.overlap,
    overwrite: OverwriteOption = False,
    skip_existing: SkipExistingOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Find the pitches that soprano, alto, tenor and bass, or other voices, sing.

    Writes OUT/<track>.f0.csv with a time and a pitch per voice in Hz every 16 ms, 0 where silent,
    and prints the files it wrote. With --assigner none each line holds a time and all pitches of
    that frame, tab-separated. With --score, OUT/<track>.alignment.csv says when each note is sung.
    """
    with exit_at_once():
        from umss_jax.scores.fit import open_score
        from umss_jax.separation import pitch_files

    begin(quiet, verbose, overwrite, skip_existing)
    config = SeparationConfig(segment_s=segment, overlap=overlap)
    has_score = score is not None
    config_of_notes = _note_config(
        shortest_note, lowest, highest, frame_threshold, onset_threshold, bpm
    )
    options = pitch_files.PitchOptions(
        *(midi, salience, plot, overwrite, skip_existing, has_score),
        *(notes, sonify, config_of_notes, musicxml, bpm),
        bends=bends,
        bars=_bar_config(metre),
    )
    pitch_files.check_options(options, assigner is not TrackAssigner.NONE)
    asked = as_voices(voices)
    names = voices_asked(asked, name).names
    opened = open_score(score, names) if score is not None else None

    def wanted(path: Path, track: str) -> bool:
        if pitch_files.missing_paths(pitch_files.pitch_paths(path, out, options, track), options):
            return True
        log.info("%s: its files are in %s already", path, out)
        return False

    def one(recording: Recording, engine: Callable[[], ModelEngine]) -> list[Path]:
        path, duration_s = recording.path, recording.duration_s
        log.info("%s: %.1f s", path, duration_s)
        with progress_bars("tracking", duration_s, printable(path.name), "s", quiet) as advance:
            return pitch_files.track_file(
                path, out, engine(), config, options, advance, recording, opened, tell
            )

    tell = None if quiet else say
    load = functools.partial(load_engine, name, assigner, chain, device, config, asked)
    return run_recordings(files, out, quiet, verbose, wanted, load, one)


def _bar_config(metre: str) -> BarConfig:
    """Bars of a metre."""
    match = _METRE.fullmatch(metre.strip())
    if match is None or not 1 <= int(match["beats"]) <= _MOST_BEATS:
        raise UsageError(
            f"--metre is {brief(metre)}", f"give one such as 3/4, 2/2 or 6/8, up to {_MOST_BEATS}/8"
        )
    return BarConfig(beats_per_bar=int(match["beats"]), beat_unit=int(match["unit"]))


def _note_config(
    shortest_s: float,
    lowest: int,
    highest: int,
    frame_salience: float,
    onset_salience: float,
    bpm: float | None,
) -> NoteConfig:
    """Settings of notes; UsageError names the option whose value is out of range."""
    slowest, fastest = 4.0, 1000.0
    stated = _NOTES.microseconds_per_beat
    if bpm is not None and not slowest <= bpm <= fastest:
        raise UsageError(f"--bpm is {bpm:g}", f"give a number from {slowest:g} to {fastest:g}")
    if bpm is not None:
        stated = round(60e6 / bpm)
    for option, field, value in (
        ("--shortest-note", "shortest_note_s", shortest_s),
        ("--lowest", "lowest_note", lowest),
        ("--highest", "highest_note", highest),
        ("--frame-threshold", "frame_salience", frame_salience),
        ("--onset-threshold", "onset_salience", onset_salience),
    ):
        refuse_outside("NoteConfig", field, type(value), value, option)
    return NoteConfig(
        shortest_note_s=shortest_s,
        lowest_note=lowest,
        highest_note=highest,
        frame_salience=frame_salience,
        onset_salience=onset_salience,
        microseconds_per_beat=stated,
    )


def load_engine(
    name: str,
    assigner: TrackAssigner,
    chain: Chain,
    device: Device,
    config: SeparationConfig,
    voices: VoicesConfig | None = None,
) -> ModelEngine:
    """The F0 networks of this name on this device."""
    prepare_jax()
    from umss_jax.api import load_tracker
    from umss_jax.cli.weights import bring_published

    bring_published(name)
    return load_tracker(
        name, assigner=assigner, chain=chain, device=device, config=config, voices=voices
    ).engine
