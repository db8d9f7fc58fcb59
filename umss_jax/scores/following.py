"""Dynamic time warping with jumps: the course of a score through a recording.

A path goes through the states of a score, which follow each other at a steady tempo, or lies
outside of it. Per frame it goes on by one state, or stays, or leaves one out, at a cost; it may
leave the score anywhere and come back anywhere, at the cost of a jump, but begins at the first
state and ends after the last for nothing. What is heard counts for or against every state; outside
nothing counts. The best path is found exactly (Viterbi). `librosa.sequence.dtw` knows no jumps and
holds the whole matrix of costs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from umss_jax.interruption import check

OUTSIDE = -1
_BLOCK_FRAMES = 256


class Costs(NamedTuple):
    """Of a path, as the evidence of a frame counts."""

    tempo: float
    """Of staying or of leaving a state out."""
    jump: float
    """Of leaving the score and coming back."""


class Course(NamedTuple):
    """The best path."""

    state: np.ndarray
    """int ``[frames]``; -1 outside the score."""
    gain: float
    """Evidence less costs; 0 where the path is outside all the time."""


def best_gains(evidence: np.ndarray, states: np.ndarray, costs: Costs) -> np.ndarray:
    """The gain of the best path alone, ``[K]``, for several readings of the recording at once.

    Args:
        evidence: float32 ``[K, pitches, frames]``, for (positive) or against.
        states: float32 ``[states, pitches]``: 1 where a pitch sounds.
        costs: of the path.
    """
    walk = _Walk(len(evidence), len(states), costs)
    for first in range(0, evidence.shape[2], _BLOCK_FRAMES):
        check()
        block = evidence[:, :, first : first + _BLOCK_FRAMES]
        gains = np.einsum("kpt,sp->tks", block, states, optimize=True)
        for gain in gains:
            walk.step(gain)
    return walk.final()[0]


def follow(evidence: np.ndarray, states: np.ndarray, costs: Costs) -> Course:
    """The best path of one reading; arguments as :func:`best_gains` without the first axis.

    Memory is one byte for each state in each frame.
    """
    frames, count = evidence.shape[1], len(states)
    steps = np.empty((frames, count), np.uint8)
    left = np.empty(frames, np.int64)
    walk = _Walk(1, count, costs)
    for first in range(0, frames, _BLOCK_FRAMES):
        check()
        gains = evidence[:, first : first + _BLOCK_FRAMES].T @ states.T
        for frame, gain in enumerate(gains, start=first):
            steps[frame], left[frame] = walk.step(gain[None])
    gain_of, last = walk.final()
    state = np.full(frames, OUTSIDE)
    at = int(last[0])
    for frame in range(frames - 1, -1, -1):
        state[frame] = at
        if at == OUTSIDE:
            at = int(left[frame])
        elif steps[frame, at] == _ENTER:
            at = OUTSIDE
        else:
            at -= int(steps[frame, at])
    return Course(state, float(gain_of[0]))


_ENTER = 3
"""Instead of the number of states that a step goes on by, 0 to 2."""


class _Walk:
    """The gains of the best paths to every state, frame after frame."""

    def __init__(self, readings: int, states: int, costs: Costs) -> None:
        self._inside = np.full((readings, states), -np.inf, np.float32)
        self._outside = np.zeros(readings, np.float32)
        # Half a jump to enter and half to leave; the ends are open.
        self._enter = np.full(states, costs.jump / 2, np.float32)
        self._enter[0] = 0.0
        self._leave = np.full(states, costs.jump / 2, np.float32)
        self._leave[-1] = 0.0
        self._tempo = np.float32(costs.tempo)

    def step(self, gain: np.ndarray) -> tuple[np.ndarray, int]:
        """Takes the gains ``[K, S]`` of a frame; returns the first reading's steps and exit."""
        before = self._inside
        leaving = before - self._leave
        exits = np.argmax(leaving, axis=1)
        at_exit = np.take_along_axis(leaving, exits[:, None], axis=1)[:, 0]
        best = before - self._tempo
        steps = np.zeros(best.shape, np.uint8)
        self._better(best, steps, before[:, :-1], 1)
        self._better(best, steps, before[:, :-2] - self._tempo, 2)
        entering = self._outside[:, None] - self._enter
        is_entered = entering > best
        np.copyto(best, entering, where=is_entered)
        steps[is_entered] = _ENTER
        is_left = at_exit > self._outside
        self._outside = np.where(is_left, at_exit, self._outside)
        self._inside = best + gain
        return steps[0], int(exits[0]) if is_left[0] else OUTSIDE

    @staticmethod
    def _better(best: np.ndarray, steps: np.ndarray, other: np.ndarray, by: int) -> None:
        """Takes the paths that go on by so many states where they are better."""
        tail, steps_tail = best[:, by:], steps[:, by:]
        is_better = other > tail
        np.copyto(tail, other, where=is_better)
        steps_tail[is_better] = by

    def final(self) -> tuple[np.ndarray, np.ndarray]:
        """Gains and last states of the best paths."""
        leaving = self._inside - self._leave
        last = np.argmax(leaving, axis=1)
        inside = np.take_along_axis(leaving, last[:, None], axis=1)[:, 0]
        is_out = self._outside >= inside
        return np.where(is_out, self._outside, inside), np.where(is_out, OUTSIDE, last)


def follow_closely(
    evidence: np.ndarray, states: np.ndarray, tempo_cost: float, band: int
) -> np.ndarray:
    """The best path near the diagonal: for every frame the state, int ``[frames]``.

    Frame t lies within ``band`` states of state t. Nothing is left out or jumped over.

    Args:
        evidence: float32 ``[pitches, frames]``.
        states: float32 ``[frames + 2 · band, pitches]``: state s is at row ``band + s``.
        tempo_cost: as :attr:`Costs.tempo`.
        band: states on either side.
    """
    frames, width = evidence.shape[1], 2 * band + 1
    steps = np.empty((frames, width), np.int8)
    total = np.zeros(width, np.float32)
    for first in range(0, frames, _BLOCK_FRAMES):
        check()
        block = evidence[:, first : first + _BLOCK_FRAMES]
        rows = states[first : first + block.shape[1] + width - 1]
        gains = rows @ block
        for number in range(block.shape[1]):
            # Column d is state t + d - band: going on by one state keeps the column.
            best, step = total.copy(), np.ones(width, np.int8)
            for source, target, by in (
                (slice(1, None), slice(-1), 0),
                (slice(-1), slice(1, None), 2),
            ):
                other = total[source] - tempo_cost
                is_better = other > best[target]
                best[target][is_better] = other[is_better]
                step[target][is_better] = by
            steps[first + number] = step
            total = best + gains[number : number + width, number]
    place = int(np.argmax(total))
    path = np.empty(frames, int)
    for frame in range(frames - 1, -1, -1):
        path[frame] = frame + place - band
        place -= int(steps[frame, place]) - 1
    return path
