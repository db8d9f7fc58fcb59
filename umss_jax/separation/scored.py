"""Separation with a score: the pitches of the whole recording first, by its notes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from umss_jax.audio.arrays import Sound
from umss_jax.audio.resampling import Sound16k, array_16k
from umss_jax.audio.segments import frame_times_s
from umss_jax.errors import UsageError
from umss_jax.files import file_sha256
from umss_jax.pitch.continuity import multi_f0_peaks
from umss_jax.pitch.grid import midi_to_hz
from umss_jax.scores.aligned import NOWHERE
from umss_jax.scores.fit import Fit, ScoreFile, fit_score
from umss_jax.separation.config import SeparationConfig
from umss_jax.separation.pitch_plot import NoteBox
from umss_jax.separation.stream import (
    KnownPitches,
    PitchTracks,
    Progress,
    Separation,
    separate_sound,
    track_blocks,
)

if TYPE_CHECKING:
    from umss_jax.inference import ModelEngine

_COLUMNS = (
    "voice",
    "measure",
    "beat",
    "score_onset_beats",
    "score_offset_beats",
    "onset_s",
    "offset_s",
    "pitch_midi",
    "confidence",
    "used",
)


class Scored(NamedTuple):
    """A recording with its score."""

    fit: Fit
    known: KnownPitches
    salience_synth: np.ndarray
    """float32 ``[bins, frames]``."""


def fit_sound(
    sound: Sound16k,
    engine: ModelEngine,
    config: SeparationConfig,
    score: ScoreFile,
    name: str,
    progress: Progress | None = None,
) -> Scored:
    """Finds the pitches of a recording at 16 kHz by its score.

    The salience of the whole recording is held in memory, about 5 MB for each minute.

    Raises:
        UsageError: the engine gives pitches to nobody.
        ScoreError: the recording is of something else.
    """
    if not engine.voices:
        raise UsageError("a score needs voices, --assigner none has none", "drop one of them")
    audio = engine.config.audio
    saliences, tracks = [], []
    for block in track_blocks(sound, engine, config):
        saliences.append(block.salience_synth)
        tracks.append(block.f0_hz_synth)
        if progress is not None:
            progress("tracking", block.f0_hz_synth.shape[1] * audio.hop_s)
    salience, own = np.concatenate(saliences, axis=1), np.concatenate(tracks, axis=1)
    fit = fit_score(score, salience, own, engine.config, name)
    f0, grid = engine.config.f0, engine.config.hcqt
    peaks = multi_f0_peaks(salience, f0.multi_f0_threshold, grid)
    counts = np.count_nonzero(peaks, axis=1)
    return Scored(fit, KnownPitches(fit.f0_hz_synth, counts), salience)


def separate_with_score(
    passed: Sound, engine: ModelEngine, config: SeparationConfig, score: ScoreFile
) -> Separation:
    """Separates an array that was checked by its score; errors as :func:`fit_sound`."""
    sound = array_16k(passed, engine.config.audio)
    scored = fit_sound(sound, engine, config, score, "the array")
    return separate_sound(passed, engine, config, scored.known)._replace(fit=scored.fit)


def track_with_score(
    passed: Sound, engine: ModelEngine, config: SeparationConfig, score: ScoreFile
) -> PitchTracks:
    """The pitches of an array that was checked by its score; errors as :func:`fit_sound`."""
    sound = array_16k(passed, engine.config.audio)
    fit, known, salience = fit_sound(sound, engine, config, score, "the array")
    times = frame_times_s(salience.shape[1], engine.config.audio)
    return PitchTracks(known.f0_hz_synth, salience, times, engine.frequencies_hz, fit)


def score_manifest(fit: Fit) -> dict[str, object]:
    """What a manifest says of the score (JSON values)."""
    path = fit.score.path
    return {"file": path.name, "sha256": file_sha256(path), **fit.summary()}


def write_alignment(path: Path, fit: Fit) -> None:
    """Writes the notes as a table, a line each, in the order of the recording.

    Those that the recording does not have come last, without times. Pitches are those of the
    recording; ``used`` is 1 where the voice's F0 is that of the note.
    """
    rows: list[tuple[float, int, list[object]]] = []
    for number, (notes, voice) in enumerate(zip(fit.notes, fit.cast.voices, strict=True)):
        part = voice.part
        for n, note in enumerate(notes.note):
            is_placed = notes.onset[n] != NOWHERE
            onset_s = notes.onset[n] * fit.frame_s
            row: list[object] = [
                part.name,
                int(part.measure[note]) or "",
                f"{part.beat[note]:.6g}" if part.beat[note] else "",
                f"{part.onset_beats[note]:.6g}",
                f"{part.offset_beats[note]:.6g}",
                f"{onset_s:.3f}" if is_placed else "",
                f"{notes.offset[n] * fit.frame_s:.3f}" if is_placed else "",
                int(notes.pitch[n]),
                f"{notes.confidence[n]:.3f}",
                int(fit.is_used[number][n]),
            ]
            rows.append((onset_s if is_placed else np.inf, number, row))
    rows.sort(key=lambda one: one[:2])
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_COLUMNS)
        table.writerows(row for _, _, row in rows)


def note_boxes(fit: Fit) -> list[NoteBox]:
    """The notes as a picture shows them."""
    return [
        NoteBox(
            voice=number,
            start_s=float(notes.onset[n] * fit.frame_s),
            end_s=float(notes.offset[n] * fit.frame_s),
            hz=float(midi_to_hz(notes.pitch[n] + fit.tuning_semitones)),
            is_believed=bool(fit.is_used[number][n]),
        )
        for number, notes in enumerate(fit.notes)
        for n in np.flatnonzero(notes.onset != NOWHERE)
    ]
