"""The course of every voice's F0 near its notes, over all frames at once.

In the middle of a note the most salient bin near it is the voice's. At its borders the voice is
still on its way from the note before, a consonant bends it, and the nearest peak may be another
voice's. So the course is found that costs least in all (Viterbi): what is salient gains, what is
far from the notes costs, and so does every step. Notes that are near in time count alike, so that
the alignment may be late there and a glide may take its time.

This project's own.
"""

from __future__ import annotations

import numpy as np

from umss_jax.config import HcqtConfig
from umss_jax.interruption import check
from umss_jax.scores.config import PathConfig
from umss_jax.scores.evidence import SAME_SEMITONES, SEMITONES, bin_to_midi, midi_to_bin

_NEVER = 1e3
_BLOCK_FRAMES = 512


def singing_paths(
    salience: np.ndarray,
    targets: np.ndarray,
    grid: HcqtConfig,
    frame_s: float,
    config: PathConfig = PathConfig(),
) -> np.ndarray:
    """The bins of the voices' F0.

    Memory is some 9 MB for each minute of four voices.

    Args:
        salience: ``[bins, frames]`` in [0, 1].
        targets: ``[J, frames]``, pitches of MIDI at the tuning of the recording; NaN in rests.
        grid: of the bins.
        frame_s: distance of the frames.
        config: what counts how much.

    Returns:
        int ``[J, frames]``; in rests far from notes of no meaning.
    """
    low, high = _reached(targets, max(1, round(config.near_s / frame_s)))
    bins = _looked_at(targets, config.reach_semitones, grid)
    frames = salience.shape[1]
    totals = np.empty((frames, *bins.shape), np.float32)
    total = np.zeros(bins.shape, np.float32)
    per_bin = config.step_cost * SEMITONES / grid.bins_per_octave
    steps = (np.arange(bins.shape[1]) * per_bin).astype(np.float32)
    for first in range(0, frames, _BLOCK_FRAMES):
        check()
        span = slice(first, first + _BLOCK_FRAMES)
        gains = salience[:, span].T[:, bins]
        costs = _distance_costs(
            bin_to_midi(bins, grid), targets[:, span].T, low[:, span].T, high[:, span].T, config
        )
        for frame, cost in enumerate(costs - gains, start=first):
            total = _arriving(total, steps) + np.where(np.isnan(cost), 0, cost)
            total -= total.min(axis=1, keepdims=True)  # for the precision of float32
            totals[frame] = total
    places = _traced(totals, steps)
    path: np.ndarray = np.take_along_axis(bins, places, axis=1)
    return path


def _looked_at(targets: np.ndarray, reach_semitones: float, grid: HcqtConfig) -> np.ndarray:
    """Bins in reach of the notes of each voice, as many of each: ``[J, width]``."""
    notes = [one[~np.isnan(one)] for one in targets]
    spans = [(one.min(), one.max()) if len(one) else (69.0, 69.0) for one in notes]
    around = np.asarray(spans) + np.array([-reach_semitones, reach_semitones])
    edges = np.clip(np.rint(midi_to_bin(around, grid)).astype(int), 0, grid.bins - 1)
    width = min(int((edges[:, 1] - edges[:, 0]).max()) + 1, grid.bins)
    return np.minimum(edges[:, :1], grid.bins - width) + np.arange(width)


def _reached(targets: np.ndarray, border: int) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest note of each voice so many frames before or after each frame.

    NaN where there is none.
    """
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    size = 2 * border + 1
    low = minimum_filter1d(np.where(np.isnan(targets), np.inf, targets), size, mode="nearest")
    high = maximum_filter1d(np.where(np.isnan(targets), -np.inf, targets), size, mode="nearest")
    is_known = np.isfinite(low)
    return np.where(is_known, low, np.nan), np.where(is_known, high, np.nan)


def _distance_costs(
    midi: np.ndarray, target: np.ndarray, low: np.ndarray, high: np.ndarray, config: PathConfig
) -> np.ndarray:
    """Of the pitches ``[J, width]`` of every voice, ``[frames, J, width]``; NaN far from notes."""
    outside = np.maximum(np.maximum(low[..., None] - midi, midi - high[..., None]), 0)
    costs = np.where(outside > config.reach_semitones, _NEVER, config.note_cost * outside)
    own = np.abs(midi - target[..., None]) < SAME_SEMITONES
    for voice in range(target.shape[1]):
        others = np.delete(target, voice, axis=1)[:, :, None]
        taken = (np.abs(midi[voice] - others) < SAME_SEMITONES).any(axis=1) & ~own[:, voice]
        costs[:, voice] += config.other_cost * taken
    found: np.ndarray = costs.astype(np.float32)
    return found


def _arriving(total: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """What the cheapest ways to every bin cost, ``[J, width]``; ``steps`` by their width."""
    up = np.minimum.accumulate(total - steps, axis=1) + steps
    down = np.minimum.accumulate((total + steps)[:, ::-1], axis=1)[:, ::-1] - steps
    cheapest: np.ndarray = np.minimum(up, down)
    return cheapest


def _traced(totals: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The path from its end back, as places ``[J, frames]``."""
    frames, voices, width = totals.shape
    numbers = np.arange(width)
    place = np.argmin(totals[-1], axis=1)
    path = np.empty((voices, frames), int)
    path[:, -1] = place
    for frame in range(frames - 2, -1, -1):
        place = np.argmin(totals[frame] + steps[np.abs(numbers - place[:, None])], axis=1)
        path[:, frame] = place
    return path
