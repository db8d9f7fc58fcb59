"""Pitch tracks to notes, notes to a MIDI file of one track per voice (`mido`, extra ``midi``)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from umss_jax.separation.config import NoteConfig

_A4_HZ, _A4_NOTE = 440.0, 69


class Note(NamedTuple):
    """One sung note."""

    start_s: float
    end_s: float
    number: int
    """Of MIDI, 0 to 127; 69 is A4 at 440 Hz."""


def notes(f0_hz: np.ndarray, frame_s: float, config: NoteConfig = NoteConfig()) -> list[Note]:
    """Cuts the track of one voice into notes.

    Short gaps are bridged and a running median takes vibrato away. A note begins with the nearest
    semitone of its first ``shortest_note_s`` and lasts as long as the pitch stays near it, so that
    a voice between two semitones does not flicker; intervals shorter than a note are dropped.

    The track is ``[frames]`` in Hz from 0 s, ``frame_s`` apart, 0 where unvoiced; the notes are in
    order, without overlap.
    """
    f0_hz = np.asarray(f0_hz, np.float64)
    found: list[Note] = []
    shortest = _frames(config.shortest_note_s, frame_s)
    lowest, highest = config.lowest_note, config.highest_note
    for start, end in _voiced_runs(f0_hz > 0, _frames(config.largest_gap_s, frame_s)):
        voiced = start + np.flatnonzero(f0_hz[start:end] > 0)
        held = f0_hz[voiced[np.searchsorted(voiced, np.arange(start, end), side="right") - 1]]
        pitch = _A4_NOTE + 12 * np.log2(held / _A4_HZ)
        smooth = _running_median(pitch, _frames(config.smoothing_s, frame_s))
        for first, last, number in _split(smooth, shortest, config.hysteresis_semitones):
            if last - first >= shortest and lowest <= number <= highest:
                found.append(Note((start + first) * frame_s, (start + last) * frame_s, number))
    return found


def write_midi(
    path: Path, voices: Mapping[str, Sequence[Note]], config: NoteConfig = NoteConfig()
) -> None:
    """Writes a MIDI file of type 1: a track for the tempo, then one a voice by name, at most 9."""
    from mido import Message, MetaMessage, MidiFile, MidiTrack

    ticks_per_s = config.ticks_per_beat * 1e6 / config.microseconds_per_beat
    file = MidiFile(type=1, ticks_per_beat=config.ticks_per_beat)
    tempo = MetaMessage("set_tempo", tempo=config.microseconds_per_beat)
    file.tracks.append(MidiTrack([tempo, MetaMessage("end_of_track")]))
    for channel, (name, sung) in enumerate(voices.items()):
        track = MidiTrack([MetaMessage("track_name", name=name)])
        track.append(Message("program_change", channel=channel, program=config.program))
        how, now = {"channel": channel, "velocity": config.velocity}, 0
        for note in sung:
            for kind, time_s in (("note_on", note.start_s), ("note_off", note.end_s)):
                tick = round(time_s * ticks_per_s)
                track.append(Message(kind, note=note.number, time=tick - now, **how))
                now = tick
        track.append(MetaMessage("end_of_track"))
        file.tracks.append(track)
    file.save(path)


def _frames(seconds: float, frame_s: float) -> int:
    return max(1, round(seconds / frame_s))


def _voiced_runs(voiced: np.ndarray, largest_gap: int) -> list[tuple[int, int]]:
    """First frame and frame after the last of every voiced interval, short gaps bridged."""
    edges = np.flatnonzero(np.diff(np.pad(voiced.astype(np.int8), 1)))
    runs: list[tuple[int, int]] = []
    for start, end in edges.reshape(-1, 2).tolist():
        if runs and start - runs[-1][1] <= largest_gap:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


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
