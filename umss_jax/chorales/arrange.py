"""Four-part scores for other ensembles: transposed, with fewer parts, or with parts added.

All parts are transposed alike, and where that does not suffice single ones by octaves, so that they
lie in the ranges of the voices. Lines that come to lie among others are untangled: at every moment
the highest note is the highest voice's, and of two on one pitch one takes another tone of the
chord where there is room. So equal voices sing in close position, as they do. Fewer voices take a
subset of the parts. More take parallel thirds as well: two steps of the piece's scale below the
soprano, alto or tenor, or above the bass, in the same rhythm.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from umss_jax.chorales.scores import Note, Score
from umss_jax.config import VoicesConfig

_MOST_SEMITONES = 14
_FARTHEST = 26
"""Semitones that a line may move, by transposition and octave together."""
_OCTAVES = (-12, 0, 12)
_OCTAVE_COST = 0.5
_CENTRE_COST = 0.02
_CHANCE_COST = 1.0
"""Ways that cost about as much are chosen from by chance."""
_SCALE_TONES = 7

Line = tuple[Note, ...]


def sections_of(voices: VoicesConfig) -> tuple[str, ...]:
    """The usual voice whose lowest note is nearest to that of each."""
    usual = VoicesConfig()
    lowest = np.asarray(usual.lowest_notes)
    return tuple(usual.names[int(np.argmin(np.abs(lowest - note)))] for note in voices.lowest_notes)


def arranged(score: Score, voices: VoicesConfig, rng: np.random.Generator) -> Score:
    """A score of four parts for other voices; for the usual ones as it is."""
    if voices.is_usual:
        return score
    lines: list[Line] = list(score.voices)
    if len(voices) > len(lines):
        scale = _scale(lines)
        added = [_parallel(line, scale, above=line is lines[-1]) for line in lines]
        chosen, shifts = _with_added(lines, added, voices, rng)
    else:
        chosen, shifts = _subset(lines, voices, rng)
    moved = [
        tuple(note._replace(midi=note.midi + shift) for note in line)
        for line, shift in zip(chosen, shifts, strict=True)
    ]
    is_tangled = len(set(shifts)) > 1 or len(voices) > len(lines)
    return score._replace(voices=tuple(_untangled(moved) if is_tangled else moved))


def _untangled(lines: Sequence[Line]) -> list[Line]:
    """Lines that do not cross, of the notes that sound at each moment."""
    moments = sorted({at for line in lines for note in line for at in (note.start, note.end)})
    rows: list[list[Note]] = [[] for _ in lines]
    for start, end in itertools.pairwise(moments):
        sounding = [_sounding(line, (start + end) / 2) for line in lines]
        there = [number for number, note in enumerate(sounding) if note is not None]
        notes = sorted((note for note in sounding if note), key=lambda note: -note.midi)
        pitches = _spread([note.midi for note in notes])
        for number, note, midi in zip(there, notes, pitches, strict=True):
            row, is_last = rows[number], abs(note.end - end) < 1e-6
            held = bool(row) and row[-1].midi == midi and abs(row[-1].end - start) < 1e-6
            if held and note.start < start - 1e-6:
                beats = row[-1].beats + end - start
                row[-1] = row[-1]._replace(beats=beats, breath=note.breath and is_last)
            else:
                row.append(Note(start, end - start, midi, note.breath and is_last))
    return [tuple(row) for row in rows]


def _sounding(line: Line, beat: float) -> Note | None:
    return next((note for note in line if note.start <= beat < note.end), None)


def _spread(pitches: Sequence[int]) -> list[int]:
    """Descending pitches, of which one of two alike goes to a tone of the chord beside it.

    The lower one goes down where there is room above the next voice, else the upper one goes up.
    """
    tones = {pitch % 12 for pitch in pitches}
    spread = list(pitches)
    for lower in range(1, len(spread)):
        upper, pitch = lower - 1, spread[lower]
        if pitch != spread[upper]:
            continue
        floor = spread[lower + 1] if lower + 1 < len(spread) else pitch - 12
        ceiling = spread[upper - 1] if upper else pitch
        down = [p for p in range(pitch - 1, floor, -1) if p % 12 in tones]
        up = [p for p in range(pitch + 1, ceiling) if p % 12 in tones]
        if down:
            spread[lower] = down[0]
        elif up:
            spread[upper] = up[0]
    return spread


def _subset(
    lines: Sequence[Line], voices: VoicesConfig, rng: np.random.Generator
) -> tuple[list[Line], list[int]]:
    """Some of the lines, the highest first, and how far each moves."""
    costs = _costs(lines, voices)
    means = [_mean(line) for line in lines]
    best: tuple[float, list[int], list[int]] | None = None
    for numbers in itertools.combinations(range(len(lines)), len(voices)):
        luck = rng.uniform(0, _CHANCE_COST)
        for octaves in itertools.product(_OCTAVES, repeat=len(numbers)):
            order = np.argsort(
                [-(means[n] + octave) for n, octave in zip(numbers, octaves, strict=True)],
                kind="stable",
            )
            ordered = [numbers[place] for place in order]
            moves = [octaves[place] for place in order]
            extra = luck + _OCTAVE_COST * sum(map(bool, octaves))
            cost, shift = _best_shift(costs, ordered, moves)
            if best is None or cost + extra < best[0]:
                best = cost + extra, ordered, [shift + move for move in moves]
    assert best is not None
    return [lines[n] for n in best[1]], best[2]


def _with_added(
    lines: Sequence[Line], added: Sequence[Line], voices: VoicesConfig, rng: np.random.Generator
) -> tuple[list[Line], list[int]]:
    """All lines and some of the added ones."""
    everything = [*lines, *added]
    costs = _costs(everything, voices)
    best: tuple[float, list[int], int] | None = None
    more = len(voices) - len(lines)
    for numbers in itertools.combinations(range(len(lines), len(everything)), more):
        chosen = [*range(len(lines)), *numbers]
        ordered = sorted(chosen, key=lambda n: -_mean(everything[n]))
        cost, shift = _best_shift(costs, ordered, [0] * len(ordered))
        cost += rng.uniform(0, _CHANCE_COST)
        if best is None or cost < best[0]:
            best = cost, ordered, shift
    assert best is not None
    return [everything[n] for n in best[1]], [best[2]] * len(voices)


def _best_shift(
    costs: np.ndarray, numbers: Sequence[int], moves: Sequence[int]
) -> tuple[float, int]:
    """The transposition of all lines by which they suit their voices best, and what it costs."""
    shifts = np.arange(-_MOST_SEMITONES, _MOST_SEMITONES + 1)
    total = np.zeros(len(shifts))
    for voice, (number, move) in enumerate(zip(numbers, moves, strict=True)):
        total += costs[number, shifts + move + _FARTHEST, voice]
    best = int(np.argmin(total))
    return float(total[best]), int(shifts[best])


def _costs(lines: Sequence[Line], voices: VoicesConfig) -> np.ndarray:
    """How badly each line suits each voice where it is moved, ``[lines, 2 · 26 + 1, J]``."""
    lowest, highest = np.asarray(voices.lowest_notes), np.asarray(voices.highest_notes)
    moved = np.arange(-_FARTHEST, _FARTHEST + 1)[:, None, None]
    costs = []
    for line in lines:
        pitch = np.asarray([note.midi for note in line])[None, :, None] + moved
        beats = np.asarray([note.beats for note in line])
        outside = np.maximum(lowest - pitch, 0) + np.maximum(pitch - highest, 0)
        away = pitch - (lowest + highest) / 2
        cost = np.square(outside) + _CENTRE_COST * np.square(away)
        costs.append((cost * beats[None, :, None]).sum(axis=1) / beats.sum())
    return np.stack(costs)


def _mean(line: Line) -> float:
    return sum(n.midi * n.beats for n in line) / sum(n.beats for n in line)


def _scale(lines: Sequence[Line]) -> list[int]:
    """The seven pitch classes that sound longest, ascending."""
    beats = np.zeros(12)
    for note in itertools.chain.from_iterable(lines):
        beats[note.midi % 12] += note.beats
    return sorted(np.argsort(-beats, kind="stable")[:_SCALE_TONES].tolist())


def _parallel(line: Line, scale: Sequence[int], above: bool) -> Line:
    """A line two steps of the scale below another, or above it."""
    tones = [12 * octave + tone for octave in range(-1, 12) for tone in scale]

    def third(midi: int) -> int:
        if above:
            return next(t for t in tones[tones.index(_above(tones, midi)) + 1 :])
        return tones[tones.index(_below(tones, midi)) - 1]

    return tuple(note._replace(midi=third(note.midi)) for note in line)


def _below(tones: Sequence[int], midi: int) -> int:
    return max(tone for tone in tones if tone < midi)


def _above(tones: Sequence[int], midi: int) -> int:
    return min(tone for tone in tones if tone > midi)
