"""Assignment of multi-F0 peaks to voices by their ranges and their course through time.

An assignment network, where there is one, has its say as well.

Every frame has a few likely ways to give its peaks to the voices, from high to low: what lies in a
voice's range costs little, a voice may be silent, and two may sing one pitch. A Viterbi search
takes the way through the frames on which voices move least. Any number of voices;
discrete: NumPy on the CPU. This project's own.
"""

from __future__ import annotations

import numpy as np

from umss_jax.config import F0Config, HcqtConfig, VoicesConfig
from umss_jax.pitch.config import RangesConfig
from umss_jax.pitch.continuity import salience_peaks
from umss_jax.pitch.extractor import nearest_frames

_NEVER = 1e9
_LEAST = 0.02  # that a network gives to a voice and a pitch


def assign_by_ranges(
    peaks_hz: np.ndarray,
    salience: np.ndarray,
    voices: VoicesConfig,
    config: RangesConfig = RangesConfig(),
    assigned: np.ndarray | None = None,
    grid: HcqtConfig = HcqtConfig(),
) -> np.ndarray:
    """Assigns the peaks of every frame to voices.

    Args:
        peaks_hz: ``[T, N]``, Hz, 0 where there is no peak, in any order.
        salience: ``[T, N]`` of the peaks, in (0, 1).
        voices: their ranges.
        config: what counts how much.
        assigned: ``[J, bins, T]`` in (0, 1), what an assignment network says.
        grid: of its bins.

    Returns:
        float64 ``[J, T]``, Hz, the highest voice first, 0 where a voice is silent.
    """
    if not len(peaks_hz):
        return np.zeros((len(voices), 0))
    hz, heights = _strongest(peaks_hz, salience, len(voices) + config.spare_peaks)
    with np.errstate(divide="ignore"):
        midi = np.where(hz > 0, 69 + 12 * np.log2(np.maximum(hz, 1e-9) / 440), np.nan)
    doubts = np.zeros((len(voices), *hz.shape))
    if assigned is not None:
        doubts = config.doubt_cost * _doubts(hz, assigned, grid)
    ways, costs = _ways(midi, heights, doubts, voices, config)
    chosen = _cheapest_path(midi, ways, costs, config)
    padded = np.concatenate([hz, np.zeros((len(hz), 1))], axis=1)
    tracks: np.ndarray = np.take_along_axis(padded, chosen, axis=1).T
    return tracks


def _strongest(hz: np.ndarray, heights: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The most salient peaks of every frame, descending in pitch; zeros after them."""
    order = np.argsort(-np.where(hz > 0, heights, -1), axis=1, kind="stable")[:, :most]
    hz, heights = (np.take_along_axis(one, order, axis=1) for one in (hz, heights))
    order = np.argsort(-hz, axis=1, kind="stable")
    return np.take_along_axis(hz, order, axis=1), np.take_along_axis(heights, order, axis=1)


def _doubts(hz: np.ndarray, assigned: np.ndarray, grid: HcqtConfig) -> np.ndarray:
    """How little a network gives each voice of each peak, ``[J, T, N]``, at least 0."""
    octaves = np.log2(np.maximum(hz, grid.fmin_hz) / grid.fmin_hz)
    bins = np.round(grid.bins_per_octave * octaves).astype(int)
    near = np.clip(bins[..., None] + np.arange(-1, 2), 0, assigned.shape[1] - 1)
    given = assigned[:, near, np.arange(len(hz))[:, None, None]].max(axis=-1)
    doubts: np.ndarray = -np.log((given + _LEAST) / (1 + _LEAST))
    return doubts


def _ways(
    midi: np.ndarray,
    heights: np.ndarray,
    doubts: np.ndarray,
    voices: VoicesConfig,
    config: RangesConfig,
) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest ways of each frame, as ``[T, W, J]`` numbers of peaks, and what they cost.

    N, the number of peaks, stands for silence.
    """
    frames, peaks = midi.shape
    numbers = np.arange(peaks)
    ways = np.zeros((frames, 1, 0), int)
    costs, last = np.zeros((frames, 1)), np.full((frames, 1), -1)
    for low, high, doubt in zip(voices.lowest_notes, voices.highest_notes, doubts, strict=True):
        own = (_range_cost(midi, low, high, config) + doubt)[:, None]  # [T, 1, N]
        is_shared = numbers == last[..., None]
        sung = own + np.where(is_shared, config.shared_cost, -config.reward * heights[:, None])
        sung = np.where(numbers >= last[..., None], sung, _NEVER)
        sung = np.where(np.isnan(midi)[:, None], _NEVER, sung)
        silent = np.full((*last.shape, 1), config.silent_cost)
        total = costs[..., None] + np.concatenate([sung, silent], axis=-1)
        flat = total.reshape(frames, -1)
        kept = min(config.ways, flat.shape[1])
        best = np.argpartition(flat, kept - 1, axis=1)[:, :kept]
        before, choice = np.divmod(best, peaks + 1)
        ways = np.concatenate(
            [np.take_along_axis(ways, before[..., None], axis=1), choice[..., None]], axis=2
        )
        costs = np.take_along_axis(flat, best, axis=1)
        last = np.where(choice == peaks, np.take_along_axis(last, before, axis=1), choice)
    return ways, costs


def _range_cost(midi: np.ndarray, low: int, high: int, config: RangesConfig) -> np.ndarray:
    """Of a voice that sings a pitch: little within its range, more and more outside."""
    outside = np.maximum(low - midi, 0) + np.maximum(midi - high, 0)
    middle, half = (low + high) / 2, (high - low) / 2
    cost: np.ndarray = config.centre_cost * np.square((midi - middle) / half)
    return cost + config.outside_cost * outside


def _cheapest_path(
    midi: np.ndarray, ways: np.ndarray, costs: np.ndarray, config: RangesConfig
) -> np.ndarray:
    """The way of every frame ``[T, J]`` on the path that costs least in all."""
    steps = _step_costs(midi, config)
    total, origins = costs[0], np.zeros(costs.shape, int)
    for frame in range(1, len(midi)):
        moves = steps[frame - 1][ways[frame, :, None], ways[frame - 1, None]]
        arriving = total[None] + moves.sum(axis=2)
        origins[frame] = np.argmin(arriving, axis=1)
        total = costs[frame] + np.min(arriving, axis=1)
    chosen = np.zeros(len(midi), int)
    chosen[-1] = int(np.argmin(total))
    for frame in range(len(midi) - 1, 0, -1):
        chosen[frame - 1] = origins[frame, chosen[frame]]
    path: np.ndarray = ways[np.arange(len(midi)), chosen]
    return path


def _step_costs(midi: np.ndarray, config: RangesConfig) -> np.ndarray:
    """What a voice pays to come to each peak of a frame from each of the one before.

    ``[T - 1, N + 1, N + 1]``, silence last on both axes.
    """
    pitch = np.concatenate([midi, np.full((len(midi), 1), np.nan)], axis=1)
    here, before = pitch[1:, :, None], pitch[:-1, None]
    moved = np.maximum(np.abs(here - before) - config.still_semitones, 0)
    costs = np.minimum(config.step_cost * moved, config.leap_cost)
    costs = np.where(np.isnan(here) ^ np.isnan(before), config.change_cost, costs)
    return np.where(np.isnan(here) & np.isnan(before), 0.0, costs)


def ranges_f0_synth(
    salience: np.ndarray,
    frames: int,
    voices: VoicesConfig,
    threshold: float = F0Config().multi_f0_threshold,
    grid: HcqtConfig = HcqtConfig(),
    mean_bins: int = 0,
    config: RangesConfig = RangesConfig(),
    assigned: np.ndarray | None = None,
) -> np.ndarray:
    """From salience to the F0 of each voice at the synthesiser's frame rate.

    Args:
        salience: ``[360, 344]`` in (0, 1), frames of 22 050/256 Hz.
        frames: to return over the same duration.
        voices: their ranges.
        threshold: of a peak; ``config`` says what part of it counts here.
        grid: of the bins.
        mean_bins: as for :func:`umss_jax.pitch.continuity.salience_peaks`.
        config: what counts how much.
        assigned: ``[J, 360, 344]`` in (0, 1), what an assignment network says of it.

    Returns:
        float32 ``[J, frames]``, Hz, the highest voice first, 0 where unvoiced. Each frame has what
        the nearest of the salience has: no pitch lies between two notes.
    """
    peaks = salience_peaks(salience, config.threshold_part * threshold, grid, mean_bins)
    f0_hz = assign_by_ranges(peaks.hz, peaks.salience, voices, config, assigned, grid)
    return f0_hz[:, nearest_frames(f0_hz.shape[1], frames)].astype(np.float32)
