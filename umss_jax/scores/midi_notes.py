"""Notes of a MIDI file (`mido`, extra ``midi`` or ``scores``), as they are played."""

from __future__ import annotations

import bisect
import io
from collections import defaultdict
from typing import Any

from umss_jax.scores.notes import SECONDS_PER_BEAT, Part, Score, part_of

_DRUMS = 9
"""The channel that General MIDI keeps for drums, counted from 0."""
_MOST_TICKS_PER_BEAT = 32_767
"""More is a time code of film, which has no beats."""


class _Bars:
    """Where bars begin, from the time signatures of a file."""

    def __init__(self, signatures: list[tuple[int, int, int]], ticks_per_beat: int) -> None:
        self._ticks_per_beat = ticks_per_beat
        first = [] if signatures and signatures[0][0] == 0 else [(0, 4, 4)]
        self._starts: list[tuple[int, float, float, float]] = []  # tick, bar, ticks a bar, a beat
        for tick, above, below in first + signatures:
            beat = 4 * ticks_per_beat / below
            bar = 1.0
            if self._starts:
                before, number, length, _ = self._starts[-1]
                bar = number + -(-(tick - before) // length)
            self._starts.append((tick, bar, above * beat, beat))
        self._ticks = [start[0] for start in self._starts]

    def of(self, tick: int) -> tuple[int, float]:
        """Number of the bar, and beat in it from 1 on."""
        start, bar, length, beat = self._starts[bisect.bisect_right(self._ticks, tick) - 1]
        number, rest = divmod(tick - start, length)
        return int(bar + number), 1 + rest / beat


class _Clock:
    """Ticks to seconds by the tempos of a file."""

    def __init__(self, tempos: list[tuple[int, int]], ticks_per_beat: int) -> None:
        self._starts = [(0, 0.0, 0.5 / ticks_per_beat)]
        for tick, microseconds in tempos:
            before, time_s, each_s = self._starts[-1]
            time_s += (tick - before) * each_s
            beat_s = min(max(microseconds * 1e-6, SECONDS_PER_BEAT[0]), SECONDS_PER_BEAT[1])
            self._starts.append((tick, time_s, beat_s / ticks_per_beat))
        self._ticks = [start[0] for start in self._starts]

    def seconds(self, tick: int) -> float:
        start, time_s, each_s = self._starts[bisect.bisect_right(self._ticks, tick) - 1]
        return time_s + (tick - start) * each_s


def midi_score(content: bytes) -> Score:
    """The notes of a MIDI file: a part for every track and channel that has notes, without drums.

    Raises:
        ValueError: it is no MIDI file, is cut off, or has no beats.
    """
    from mido import MidiFile

    try:
        file = MidiFile(file=io.BytesIO(content), clip=True)
    except Exception as error:  # of any kind, for instance of a key that does not exist
        raise ValueError("it is no MIDI file, or not a whole one") from error
    if not 0 < file.ticks_per_beat <= _MOST_TICKS_PER_BEAT:
        raise ValueError("it counts frames of film instead of beats")
    tempos: list[tuple[int, int]] = []
    signatures: list[tuple[int, int, int]] = []
    sung: list[tuple[str, list[tuple[int, int, int]]]] = []
    offset = 0
    for track in file.tracks:
        name, found, end = _track(track, offset, tempos, signatures)
        for channel, notes in sorted(found.items()):
            sung.append((name if len(found) == 1 else f"{name} {channel + 1}".strip(), notes))
        if file.type == 2:  # tracks one after the other
            offset = end
    clock = _Clock(sorted(tempos), file.ticks_per_beat)
    bars = _Bars(sorted(signatures), file.ticks_per_beat)
    parts = [_part(name, notes, file.ticks_per_beat, clock, bars) for name, notes in sung]
    return Score(tuple(parts), "written")


def _track(
    track: Any, start: int, tempos: list[tuple[int, int]], signatures: list[tuple[int, int, int]]
) -> tuple[str, dict[int, list[tuple[int, int, int]]], int]:
    """Name of a track, its notes by channel (onset, offset, pitch in ticks), and where it ends."""
    name, tick = "", start
    open_notes: dict[tuple[int, int], list[int]] = defaultdict(list)
    found: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for message in track:
        tick += message.time
        if message.type == "track_name" and not name:
            name = message.name.strip("\0 \t\r\n")
        elif message.type == "set_tempo":
            tempos.append((tick, message.tempo))
        elif message.type == "time_signature":
            signatures.append((tick, message.numerator or 4, message.denominator))
        elif message.type in ("note_on", "note_off") and message.channel != _DRUMS:
            begun = open_notes[message.channel, message.note]
            if message.type == "note_on" and message.velocity:
                begun.append(tick)
            elif begun:
                found[message.channel].append((begun.pop(0), tick, message.note))
    for (channel, pitch), begun in open_notes.items():
        found[channel].extend((onset, tick, pitch) for onset in begun)
    sounding = {
        channel: [note for note in notes if note[1] > note[0]] for channel, notes in found.items()
    }
    return name, {channel: notes for channel, notes in sounding.items() if notes}, tick


def _part(
    name: str, notes: list[tuple[int, int, int]], ticks_per_beat: int, clock: _Clock, bars: _Bars
) -> Part:
    rows = []
    for onset, offset, pitch in notes:
        beats = (onset / ticks_per_beat, offset / ticks_per_beat)
        rows.append((*beats, clock.seconds(onset), clock.seconds(offset), pitch, *bars.of(onset)))
    return part_of(name, rows)
