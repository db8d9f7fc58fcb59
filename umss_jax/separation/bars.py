"""Notes in bars: a steady tempo is found, and MusicXML written (`music21`, extra ``scores``).

A tempo is one whose half beats are where notes begin: the mean of the onsets' directions on that
circle is long (Rayleigh's test). Singers who follow no steady beat have none. Twice or half a tempo
is the same music written otherwise: what is looked for spans one octave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from umss_jax.audio.recording import Recording
from umss_jax.separation.config import BarConfig
from umss_jax.separation.midi import Note
from umss_jax.words import readable


class Beat(NamedTuple):
    """A steady tempo."""

    bpm: float
    first_s: float
    """Of a beat, at or before the first note."""


def find_beat(onsets_s: Sequence[float], config: BarConfig = BarConfig()) -> Beat | None:
    """The tempo of a recording by the times at which its notes begin; None where there is none."""
    onsets = np.asarray(onsets_s, np.float64)
    if len(onsets) < config.fewest_onsets:
        return None
    steps = round((config.fastest_bpm - config.slowest_bpm) / config.step_bpm)
    bpm = np.linspace(config.slowest_bpm, config.fastest_bpm, steps + 1)
    turns = np.exp(2j * np.pi * onsets[None] * bpm[:, None] / 60)
    on_beats, on_halves = np.abs(turns.mean(axis=1)), np.abs((turns**2).mean(axis=1))
    best = int(np.argmax(on_halves + on_beats))
    if on_halves[best] < config.least_clarity:
        return None
    return beat_at(onsets, float(bpm[best]))


def beat_at(onsets_s: Sequence[float] | np.ndarray, bpm: float) -> Beat:
    """The beats of a tempo that is known: where most notes begin on them."""
    onsets = np.asarray(onsets_s, np.float64)
    if not len(onsets):
        return Beat(bpm, 0.0)
    period = 60 / bpm
    mean = np.exp(2j * np.pi * onsets / period).mean()
    phase_s = float(np.angle(mean)) / (2 * np.pi) * period
    before = np.floor((onsets.min() - phase_s) / period + 0.25)
    return Beat(bpm, phase_s + float(before) * period)


def in_beats(
    notes: Sequence[Note], beat: Beat, config: BarConfig = BarConfig()
) -> list[tuple[float, float, int]]:
    """Onset and length in beats on the grid, and number, of each note; none overlaps the next."""
    grid = config.grid_per_beat
    place = [
        [round((time_s - beat.first_s) * beat.bpm / 60 * grid) for time_s in (n.start_s, n.end_s)]
        for n in notes
    ]
    found: list[tuple[float, float, int]] = []
    free = 0
    for number, (start, end) in enumerate(place):
        start = max(start, free)
        following = place[number + 1][0] if number + 1 < len(place) else end
        end = max(start + 1, min(end, max(following, start + 1)))
        found.append((start / grid, (end - start) / grid, notes[number].number))
        free = end
    return found


def write_bars(
    path: Path,
    recording: Recording,
    voices: Mapping[str, Sequence[Note]],
    bpm: float | None,
    config: BarConfig = BarConfig(),
) -> str | None:
    """Writes the notes of a recording as MusicXML, by its own tempo where none is given.

    Returns:
        One line where the recording has none: bars are then of 120 beats a minute.
    """
    onsets = [note.start_s for sung in voices.values() for note in sung]
    beat = find_beat(onsets) if bpm is None else beat_at(onsets, bpm)
    usual = BarConfig.usual_bpm
    chosen = beat or beat_at(onsets, usual)
    write_musicxml(path, readable(recording.path.stem), voices, chosen, config)
    if beat is not None:
        return None
    return f"{recording.path} has no steady tempo: its bars are of {usual:g} beats a minute (--bpm)"


def write_musicxml(
    path: Path,
    title: str,
    voices: Mapping[str, Sequence[Note]],
    beat: Beat,
    config: BarConfig = BarConfig(),
) -> None:
    """Writes a part for each voice in bars of its metre; the beats are quarters."""
    from music21 import clef, metadata, meter, note, stream, tempo

    score = stream.Score()
    score.metadata = metadata.Metadata(title=title)
    for number, (voice, sung) in enumerate(voices.items()):
        part = stream.Part(id=voice)
        part.partName = voice
        middle = np.median([one.number for one in sung]) if sung else 60
        part.insert(0, clef.TrebleClef() if middle >= 60 else clef.BassClef())
        part.insert(0, meter.TimeSignature(config.metre))
        if number == 0:
            part.insert(0, tempo.MetronomeMark(number=round(beat.bpm, 1)))
        for onset, length, pitch in in_beats(sung, beat, config):
            part.insert(onset, note.Note(pitch, quarterLength=length))
        score.insert(0, part.makeNotation())
    score.write("musicxml", fp=path)
