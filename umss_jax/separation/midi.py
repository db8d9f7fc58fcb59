"""Pitch tracks to notes, notes to a MIDI file of one track per voice (`mido`, extra ``midi``)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from umss_jax.pitch.runs import true_runs
from umss_jax.separation.config import NoteConfig

_A4_HZ, _A4_NOTE = 440.0, 69
_BEND_SEMITONES = 2
"""What the pitch wheel reaches up and down."""


class Tracks(NamedTuple):
    """The pitches of all voices."""

    f0_hz: np.ndarray
    """``[J, frames]``, 0 where unvoiced."""
    frame_s: float
    salience: np.ndarray | None = None
    """``[J, frames]``, of the pitch; None where it is not known."""


class Note(NamedTuple):
    """One sung note."""

    start_s: float
    end_s: float
    number: int
    """Of MIDI, 0 to 127; 69 is A4 at 440 Hz."""


def notes(
    f0_hz: np.ndarray,
    frame_s: float,
    config: NoteConfig = NoteConfig(),
    salience: np.ndarray | None = None,
) -> list[Note]:
    """Cuts the track of one voice into notes.

    Short gaps are bridged and a running median takes vibrato away. A note begins with the nearest
    semitone of its first ``shortest_note_s`` and lasts as long as the pitch stays near it, so that
    a voice between two semitones does not flicker; intervals shorter than a note are dropped.

    The track is ``[frames]`` in Hz from 0 s, ``frame_s`` apart, 0 where unvoiced; the notes are in
    order, without overlap. Where its ``salience`` ``[frames]`` is given, frames below
    ``frame_salience`` are unvoiced, and notes that do not reach ``onset_salience`` as they begin
    are none.
    """
    f0_hz = np.asarray(f0_hz, np.float64)
    if salience is not None:
        f0_hz = np.where(salience >= config.frame_salience, f0_hz, 0.0)
    found: list[Note] = []
    shortest = _frames(config.shortest_note_s, frame_s)
    lowest, highest = config.lowest_note, config.highest_note
    for start, end in true_runs(f0_hz > 0, _frames(config.largest_gap_s, frame_s)):
        voiced = start + np.flatnonzero(f0_hz[start:end] > 0)
        held = f0_hz[voiced[np.searchsorted(voiced, np.arange(start, end), side="right") - 1]]
        pitch = _A4_NOTE + 12 * np.log2(held / _A4_HZ)
        smooth = _running_median(pitch, _frames(config.smoothing_s, frame_s))
        for first, last, number in _split(smooth, shortest, config.hysteresis_semitones):
            if salience is not None:
                begun = salience[start + first : start + first + shortest]
                if begun.max(initial=0.0) < config.onset_salience:
                    continue
            if last - first >= shortest and lowest <= number <= highest:
                found.append(Note((start + first) * frame_s, (start + last) * frame_s, number))
    return found


def write_midi(
    path: Path,
    voices: Mapping[str, Sequence[Note]],
    config: NoteConfig = NoteConfig(),
    bent_by: Tracks | None = None,
) -> None:
    """Writes a MIDI file of type 1: a track for the tempo, then one a voice by name, at most 9.

    With the tracks that the notes are of, the pitch wheel of each voice follows what is sung, two
    semitones up and down, as General MIDI has it.
    """
    from mido import Message, MetaMessage, MidiFile, MidiTrack

    ticks_per_s = config.ticks_per_beat * 1e6 / config.microseconds_per_beat
    file = MidiFile(type=1, ticks_per_beat=config.ticks_per_beat, charset="utf-8")
    tempo = MetaMessage("set_tempo", tempo=config.microseconds_per_beat)
    file.tracks.append(MidiTrack([tempo, MetaMessage("end_of_track")]))
    for channel, (name, sung) in enumerate(voices.items()):
        track = MidiTrack([MetaMessage("track_name", name=name)])
        track.append(Message("program_change", channel=channel, program=config.program))
        now = 0

        def put(
            kind: str, time_s: float, track: Any = track, channel: int = channel, **what: int
        ) -> None:
            nonlocal now
            tick = round(time_s * ticks_per_s)
            track.append(Message(kind, channel=channel, time=tick - now, **what))
            now = tick

        for note in sung:
            how = {"note": note.number, "velocity": config.velocity}
            bends = [] if bent_by is None else _bends(note, bent_by.f0_hz[channel], bent_by.frame_s)
            for time_s, value in bends[:1]:
                put("pitchwheel", time_s, pitch=value)
            put("note_on", note.start_s, **how)
            for time_s, value in bends[1:]:
                put("pitchwheel", time_s, pitch=value)
            put("note_off", note.end_s, **how)
        track.append(MetaMessage("end_of_track"))
        file.tracks.append(track)
    file.save(path)


def _bends(note: Note, f0_hz: np.ndarray, frame_s: float) -> list[tuple[float, int]]:
    """Times and values of the pitch wheel within a note, the first at its beginning."""
    first, last = round(note.start_s / frame_s), round(note.end_s / frame_s)
    inside = f0_hz[first:last]
    sung = np.flatnonzero(inside > 0)
    semitones = _A4_NOTE + 12 * np.log2(inside[sung] / _A4_HZ) - note.number
    values = np.clip(np.rint(semitones / _BEND_SEMITONES * 8192), -8192, 8191).astype(int)
    bends: list[tuple[float, int]] = []
    for frame, value in zip(sung.tolist(), values.tolist(), strict=True):
        if not bends:
            bends.append((note.start_s, value))
        elif value != bends[-1][1]:
            bends.append(((first + frame) * frame_s, value))
    return bends


def _frames(seconds: float, frame_s: float) -> int:
    return max(1, round(seconds / frame_s))


def _running_median(pitch: np.ndarray, frames: int) -> np.ndarray:
    """Median of the frames around each, mirrored at the ends: of an odd number, always one sung."""
    half = frames // 2
    padded = np.pad(pitch, half, mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    median: np.ndarray = np.median(windows, axis=1)
    return median


def _split(pitch: np.ndarray, shortest: int, hysteresis: float) -> list[tuple[int, int, int]]:
    """First frame, frame after the last, and number of each note of one voiced interval."""
    cut: list[tuple[int, int, int]] = []
    first = 0
    while first < len(pitch):
        number = round(statistics.median_low(pitch[first : first + shortest].tolist()))
        away = np.abs(pitch[first:] - number) > hysteresis
        # A slide may begin a interval: at least one frame belongs to it, or nothing would move on.
        last = first + max(1, int(np.argmax(away))) if away.any() else len(pitch)
        if cut and cut[-1][2] == number:
            cut[-1] = (cut[-1][0], last, number)
        else:
            cut.append((first, last, number))
        first = last
    return cut
