"""From one recording to its pitch files: tracks, and if asked notes, salience and a picture.

Everything is written in a hidden folder beside the results and renamed when it is finished.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from umss_jax.audio.recording import Recording, scan
from umss_jax.audio.resampling import read_16k
from umss_jax.audio.segments import frame_times_s
from umss_jax.errors import OutputError, UsageError
from umss_jax.files import check_place, working_folder
from umss_jax.pitch.tables import multi_f0_rows, voice_rows, voices_header
from umss_jax.scores.fit import Fit, ScoreFile
from umss_jax.separation.bars import write_bars
from umss_jax.separation.config import BarConfig, NoteConfig, SeparationConfig
from umss_jax.separation.joining import concatenate_tracks
from umss_jax.separation.midi import Tracks, notes, write_midi
from umss_jax.separation.note_files import write_note_table, write_sonified
from umss_jax.separation.outputs import (
    MIDI,
    MUSICXML,
    NOTES,
    PICTURE,
    SALIENCE,
    SONIFIED,
    TRACK_ALIGNMENT,
    TRACKS,
    is_wanted,
    track_name,
)
from umss_jax.separation.pitch_plot import SalienceImage, image_columns, write_plot
from umss_jax.separation.scored import fit_sound, note_boxes, write_alignment
from umss_jax.separation.stream import PitchBlock, Progress, track_blocks

if TYPE_CHECKING:
    from umss_jax.inference import ModelEngine


class PitchOptions(NamedTuple):
    """What is written besides the tracks, and what happens to files that exist."""

    midi: bool = False
    salience: bool = False
    plot: bool = False
    overwrite: bool = False
    skip_existing: bool = False
    """Leave the files that are there and write those that are missing."""
    alignment: bool = False
    """The notes of a score as well."""
    note_table: bool = False
    sonify: bool = False
    """The notes as tones, to check them by ear."""
    notes: NoteConfig = NoteConfig()
    musicxml: bool = False
    bpm: float | None = None
    """Of the bars; None: found in the recording."""
    bends: bool = False
    """Of MIDI: the pitch wheel follows what is sung."""
    bars: BarConfig = BarConfig()

    def suffixes(self) -> tuple[str, ...]:
        """Endings of the files that are wanted, the tracks first."""
        wanted = {TRACKS: True, MIDI: self.midi, SALIENCE: self.salience, PICTURE: self.plot}
        wanted[TRACK_ALIGNMENT] = self.alignment
        wanted |= {NOTES: self.note_table, SONIFIED: self.sonify, MUSICXML: self.musicxml}
        return tuple(suffix for suffix, asked in wanted.items() if asked)

    @property
    def needs_salience(self) -> bool:
        """Whether the notes depend on how salient their pitches are."""
        least = max(self.notes.frame_salience, self.notes.onset_salience)
        return self.has_notes and least > 0

    @property
    def has_notes(self) -> bool:
        """Whether notes are written anywhere."""
        return self.midi or self.note_table or self.sonify or self.musicxml


def check_options(options: PitchOptions, has_voices: bool) -> None:
    """Refuses before the work what could not be written after it.

    Raises:
        UsageError: a package is not installed, or notes are asked for without voices.
    """
    for option, asked in (
        ("--score", options.alignment),
        ("--midi", options.midi),
        ("--notes", options.note_table),
        ("--sonify", options.sonify),
        ("--musicxml", options.musicxml),
    ):
        if asked and not has_voices:
            raise UsageError(f"{option} needs voices, --assigner none has none", "drop one of them")
    if options.bends and not options.midi:
        raise UsageError("--bends is of MIDI, and none is asked for", "add --midi")
    for option, asked, package, extra in (
        ("--midi", options.midi, "mido", "midi"),
        ("--plot", options.plot, "matplotlib", "plot"),
        ("--musicxml", options.musicxml, "music21", "scores"),
    ):
        if asked:
            need_package(option, package, extra)


def need_package(option: str, package: str, extra: str) -> None:
    """Refuses an option whose package is not installed, by a UsageError that names the extra."""
    if importlib.util.find_spec(package) is None:
        raise UsageError(
            f"{option} needs {package}, which is not installed",
            f"pip install 'umss-jax[{extra}]'",
        )


def pitch_paths(path: Path, out: Path, options: PitchOptions, track: str = "") -> list[Path]:
    """The files of a recording: ``OUT/<track>.f0.csv`` and those asked for besides."""
    return [out / f"{track or track_name(path)}{suffix}" for suffix in options.suffixes()]


def track_file(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    engine: ModelEngine,
    config: SeparationConfig = SeparationConfig(),
    options: PitchOptions | None = None,
    progress: Progress | None = None,
    recording: Recording | None = None,
    score: ScoreFile | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[Path]:
    """Finds the pitches of one file and writes them to ``OUT/<track>.f0.csv``.

    With voices the table is comma-separated, ``time_s,soprano,alto,tenor,bass``, 0 where unvoiced,
    as in separation; without, it has no heading and per line a time and the pitches of that frame,
    tab-separated (read by ``mir_eval.io.load_ragged_time_series``). Frames are 16 ms apart.

    ``.f0.mid`` holds a track per voice, ``.notes.csv`` a line per note, ``.notes.wav`` the notes as
    tones, ``.musicxml`` the notes in bars, ``.salience.npz`` the arrays ``salience`` [360, frames],
    ``time_s`` and ``frequency_hz``, ``.f0.png`` salience and tracks. Memory stays constant, but
    for the tracks themselves (4 MB an hour) where notes or a picture are made. With a score, whose
    notes the tracks then follow, the salience is held as well (5 MB a minute), and
    ``.alignment.csv`` tells of every note.

    Args:
        path: The recording.
        out: Folder for all results; made where it is missing.
        engine: The networks.
        config: Segments and overlap.
        options: What to write, and what to do with existing files.
        progress: Told the stage (``tracking``) and the seconds done since the last call.
        recording: The result of :func:`umss_jax.audio.recording.scan`, where it is known already.
        score: What is sung (:func:`umss_jax.scores.fit.open_score`).
        tell: Given one line, where a score fits little of the recording, or bars have no tempo.

    Returns:
        The files written: none where all exist and shall be left.

    Raises:
        AudioError: The recording cannot be read or is silent.
        OutputError: A file exists already or cannot be written.
        ScoreError: The recording is not of the score.
        UsageError: Options that cannot be met.
    """
    options = (options or PitchOptions())._replace(alignment=score is not None)
    check_options(options, bool(engine.voices))
    targets = pitch_paths(Path(path), Path(out), options, recording.track if recording else "")
    wanted = missing_paths(targets, options)
    if not wanted:
        return []
    recording = recording or scan(path)
    with working_folder(targets[0]) as work:
        made = pitch_paths(Path(path), work, options)
        fit = _write_all(recording, made, engine, config, options, progress, score, tell)
        # The tracks last: where they are, everything is.
        for source, target in reversed(list(zip(made, targets, strict=True))):
            if target in wanted:
                os.replace(source, target)
    if fit is not None and tell is not None and (warning := fit.warning(str(path))):
        tell(warning)
    return wanted


def missing_paths(targets: list[Path], options: PitchOptions) -> list[Path]:
    """Which of the files are to be written.

    Raises:
        OutputError: a file would be replaced unasked, a folder has its name, or it cannot be
            written.
    """
    for target in targets:
        if os.path.isdir(target):  # which takes names of any length
            raise OutputError(f"{target} is a folder", "move it away or choose another -o")
    wanted = [p for p in targets if is_wanted(p, options.overwrite, options.skip_existing)]
    for target in wanted:
        check_place(target)
    return wanted


def _write_all(
    recording: Recording,
    made: list[Path],
    engine: ModelEngine,
    config: SeparationConfig,
    options: PitchOptions,
    progress: Progress | None,
    score: ScoreFile | None,
    tell: Callable[[str], None] | None,
) -> Fit | None:
    """Writes the files in one pass over the recording; returns how the score fits."""
    by_suffix = dict(zip(options.suffixes(), made, strict=True))
    audio = engine.config.audio
    sound = read_16k(recording, audio)
    times = frame_times_s(-(-sound.samples // audio.hop_samples), audio)
    hz = engine.frequencies_hz
    image = SalienceImage(len(hz), len(times), image_columns(recording.duration_s))
    kept: list[np.ndarray] = []
    kept_salience: list[np.ndarray] = []
    frame_s = audio.hop_s
    blocks: Iterator[PitchBlock] = track_blocks(sound, engine, config)
    fit = None
    if score is not None:
        name = str(recording.path)
        fit, known, heard = fit_sound(sound, engine, config, score, name, progress)
        write_alignment(by_suffix[TRACK_ALIGNMENT], fit)
        blocks, progress = iter([PitchBlock(known.f0_hz_synth, heard)]), None
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(made[0].open("w", newline="", encoding="utf-8"))
        rows = voice_rows if engine.voices else multi_f0_rows
        if engine.voices:
            table.write(voices_header(engine.voices))
        store = None
        if options.salience:
            store = stack.enter_context(_salience_archive(by_suffix[SALIENCE], times, hz))
        frame = 0
        for block in blocks:
            frames = block.f0_hz_synth.shape[1]
            table.write(rows(times[frame : frame + frames], block.f0_hz_synth))
            if store is not None:
                store.write(np.asarray(block.salience_synth.T, "<f4", order="C").tobytes())
            if options.plot:
                image.push(block.salience_synth)
            if options.has_notes or options.plot:
                kept.append(block.f0_hz_synth)
            if options.needs_salience:
                kept_salience.append(salience_of(block.f0_hz_synth, block.salience_synth, hz))
            frame += frames
            if progress is not None:
                progress("tracking", frames * frame_s)
    if options.has_notes:
        heard_salience = np.concatenate(kept_salience, axis=1) if kept_salience else None
        sung = Tracks(concatenate_tracks(kept), frame_s, heard_salience)
        told = _write_notes(recording, by_suffix, engine, options, sung)
        if told and tell is not None:
            tell(told)
    if options.plot:
        title = f"{recording.path.name} ({engine.name})".encode("utf-8", "replace").decode()
        tracks_hz = concatenate_tracks(kept)
        boxes = note_boxes(fit) if fit is not None else []
        write_plot(
            by_suffix[PICTURE], title, image, tracks_hz, times, hz, engine.voices, notes=boxes
        )
    return fit


def _write_notes(
    recording: Recording,
    by_suffix: Mapping[str, Path],
    engine: ModelEngine,
    options: PitchOptions,
    tracks: Tracks,
) -> str | None:
    """Writes the files of notes; returns one line where there is something to say."""
    f0_hz, frame_s, salience = tracks
    rows = zip(engine.voices, f0_hz, salience if salience is not None else f0_hz, strict=True)
    sung = {
        voice: notes(track, frame_s, options.notes, None if salience is None else heard)
        for voice, track, heard in rows
    }
    if options.midi:
        write_midi(by_suffix[MIDI], sung, options.notes, tracks if options.bends else None)
    if options.note_table:
        write_note_table(by_suffix[NOTES], sung, f0_hz, frame_s)
    if options.sonify:
        rate_hz = engine.config.audio.sample_rate_hz
        write_sonified(by_suffix[SONIFIED], sung, recording.duration_s, rate_hz)
    if options.musicxml:
        return write_bars(by_suffix[MUSICXML], recording, sung, options.bpm, options.bars)
    return None


def salience_of(f0_hz: np.ndarray, salience: np.ndarray, frequencies_hz: np.ndarray) -> np.ndarray:
    """The salience ``[J, frames]`` of tracks ``[J, frames]``: the largest of the three nearest.

    ``salience`` is ``[bins, frames]``; where there is no pitch it is 0.
    """
    octaves = np.log2(np.maximum(f0_hz, frequencies_hz[0]) / frequencies_hz[0])
    per_octave = 1 / np.log2(frequencies_hz[1] / frequencies_hz[0])
    nearest = np.rint(octaves * per_octave).astype(int)
    around = np.clip(nearest + np.arange(-1, 2)[:, None, None], 0, len(frequencies_hz) - 1)
    heard = salience[around, np.arange(f0_hz.shape[1])].max(axis=0)
    return np.where(f0_hz > 0, heard, 0.0)


@contextlib.contextmanager
def _salience_archive(
    path: Path, times_s: np.ndarray, frequencies_hz: np.ndarray
) -> Iterator[IO[bytes]]:
    """An ``.npz`` whose ``salience`` is written frame by frame: ``[bins, frames]`` by columns."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in (("time_s", times_s), ("frequency_hz", frequencies_hz)):
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        shape = (len(frequencies_hz), len(times_s))
        header = {"descr": "<f4", "fortran_order": True, "shape": shape}
        with archive.open("salience.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            yield member
