"""Assignment of multi-F0 peaks to voices by their ranges and their course through time.

An assignment network, where there is one, has its say as well.

Every frame has a few likely ways to give its peaks to the voices, from high to low: what lies in a
voice's range costs little, a voice may be silent, and two may sing one pitch. A Viterbi search
takes the way through the frames on which voices move least. Where two pitches sound at once only
for moments one voice sings. Any number of voices; discrete: NumPy on the CPU. This
project's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from umss_jax.config import F0Config, HcqtConfig, VoicesConfig
from umss_jax.pitch.config import RangesConfig
from umss_jax.pitch.continuity import salience_peaks
from umss_jax.pitch.runs import true_runs

_NEVER = 1e9
_LEAST = 0.02  # that a network gives to a voice and a pitch
_OVERTONES = (12.0, 19.02, 24.0)  # semitones above: second to fourth harmonic
_NEAR_SEMITONES = 0.4
_LEAST_SUNG = 0.1  # of a segment that tells who sings
_GAP_FRAMES = 3  # within two pitches that sound together


class _Costs(NamedTuple):
    """What it costs to give the peaks of every frame, descending in pitch, to voices."""

    own: np.ndarray
    """``[J, T, N]``, of each voice that sings each, by its range and a network's doubts."""
    gains: np.ndarray
    """``[T, N]``, of a peak that somebody sings."""
    steps: np.ndarray
    """``[T - 1, N + 1, N + 1]``, as :func:`_step_costs`."""


class _Path(NamedTuple):
    """The ways of all frames ``[T, J]``, as numbers of peaks, N for silence, and what they cost."""

    chosen: np.ndarray
    cost: float


def assign_by_ranges(
    peaks_hz: np.ndarray,
    salience: np.ndarray,
    voices: VoicesConfig,
    config: RangesConfig = RangesConfig(),
    assigned: np.ndarray | None = None,
    grid: HcqtConfig = HcqtConfig(),
    sang_before: np.ndarray | None = None,
) -> np.ndarray:
    """Assigns the peaks of every frame to voices.

    Args:
        peaks_hz: ``[T, N]``, Hz, 0 where there is no peak, in any order.
        salience: ``[T, N]`` of the peaks, in (0, 1).
        voices: their ranges.
        config: what counts how much.
        assigned: ``[J, bins, T]`` in (0, 1), what an assignment network says.
        grid: of its bins.
        sang_before: bool ``[J]``, which voices sang just before; None where that is not known.

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
    borders = zip(voices.lowest_notes, voices.highest_notes, strict=True)
    ranged = np.stack([_range_cost(midi, low, high, config) for low, high in borders])
    gains = config.reward * heights - config.overtone_cost * _overtone_doubts(midi, heights)
    own = np.where(np.isnan(midi), _NEVER, ranged + doubts)
    known = np.zeros(len(voices), bool) if sang_before is None else sang_before
    chosen = _chosen(_Costs(own, gains, _step_costs(midi, config)), heights, known, config)
    padded = np.concatenate([hz, np.zeros((len(hz), 1))], axis=1)
    tracks: np.ndarray = np.take_along_axis(padded, chosen, axis=1).T
    return tracks


def _chosen(
    costs: _Costs, heights: np.ndarray, known: np.ndarray, config: RangesConfig
) -> np.ndarray:
    """The peak of every voice in every frame ``[T, J]``; of a solo only one voice sings.

    Where more sound at once nobody is made to rest: voices come and go, and few at a time do not
    tell which of them rest. Who sings a solo is told by the only one that is ``known`` from before.
    """
    voices = len(costs.own)
    path = _cheapest_path(costs, np.ones(voices, bool), config)
    if not _is_solo(path.chosen, heights, config):
        return path.chosen
    alone = [_cheapest_path(costs, np.arange(voices) == voice, config) for voice in range(voices)]
    totals = np.array([one.cost for one in alone])
    if known.sum() == 1:
        sung = [np.count_nonzero(one.chosen < heights.shape[1]) for one in alone]
        totals += np.where(known, 0.0, config.newcomer_cost * np.array(sung))
    return alone[int(np.argmin(totals))].chosen


def _is_solo(chosen: np.ndarray, heights: np.ndarray, config: RangesConfig) -> bool:
    """Whether there are clear pitches, and two of them at once only for moments."""
    if not config.solo_frames:
        return False
    frames, silent = heights.shape
    padded = np.concatenate([heights, np.zeros((frames, 1))], axis=1)
    is_clear = np.take_along_axis(padded, chosen, axis=1) >= config.clear
    ordered = np.sort(np.where(is_clear, chosen, silent), axis=1)
    is_new = np.diff(ordered, axis=1, prepend=-1) > 0
    different = np.count_nonzero(is_new & (ordered < silent), axis=1)
    sounding, together = int(np.count_nonzero(different)), different > 1
    moments = (end - start for start, end in true_runs(together, _GAP_FRAMES))
    is_seldom = int(np.count_nonzero(together)) <= config.solo_share * sounding
    return sounding > 0 and is_seldom and max(moments, default=0) < config.solo_frames


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
    costs: _Costs, present: np.ndarray, config: RangesConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest ways of each frame, as ``[T, W, J]`` numbers of peaks, and what they cost.

    N, the number of peaks, stands for silence, which costs nothing those who are not present.
    """
    _, frames, peaks = costs.own.shape
    numbers = np.arange(peaks)
    ways = np.zeros((frames, 1, 0), int)
    paid, last = np.zeros((frames, 1)), np.full((frames, 1), -1)
    for own, is_present in zip(costs.own[:, :, None], present, strict=True):  # [T, 1, N]
        is_shared = numbers == last[..., None]
        sung = own + np.where(is_shared, config.shared_cost, -costs.gains[:, None])
        sung = np.where((numbers >= last[..., None]) & is_present, sung, _NEVER)
        silent = np.full((*last.shape, 1), config.silent_cost if is_present else 0.0)
        total = paid[..., None] + np.concatenate([sung, silent], axis=-1)
        flat = total.reshape(frames, -1)
        kept = min(config.ways, flat.shape[1])
        best = np.argpartition(flat, kept - 1, axis=1)[:, :kept]
        before, choice = np.divmod(best, peaks + 1)
        ways = np.concatenate(
            [np.take_along_axis(ways, before[..., None], axis=1), choice[..., None]], axis=2
        )
        paid = np.take_along_axis(flat, best, axis=1)
        last = np.where(choice == peaks, np.take_along_axis(last, before, axis=1), choice)
    return ways, paid


def _overtone_doubts(midi: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """How likely each peak ``[T, N]`` is an overtone of a more salient one, at least 0."""
    below = midi[:, :, None] - midi[:, None]
    is_below = np.any(
        [np.abs(below - interval) < _NEAR_SEMITONES for interval in _OVERTONES], axis=0
    )
    other = np.max(np.where(is_below, heights[:, None], 0.0), axis=-1)
    doubts: np.ndarray = other * np.maximum(other - heights, 0.0)
    return doubts


def _range_cost(midi: np.ndarray, low: int, high: int, config: RangesConfig) -> np.ndarray:
    """Of a voice that sings a pitch: little within its range, more and more outside."""
    outside = np.maximum(low - midi, 0) + np.maximum(midi - high, 0)
    middle, half = (low + high) / 2, (high - low) / 2
    cost: np.ndarray = config.centre_cost * np.square((midi - middle) / half)
    return cost + config.outside_cost * outside


def _cheapest_path(costs: _Costs, present: np.ndarray, config: RangesConfig) -> _Path:
    """The path through the frames that costs least in all."""
    ways, paid = _ways(costs, present, config)
    frames = len(ways)
    total, origins = paid[0], np.zeros(paid.shape, int)
    for frame in range(1, frames):
        moves = costs.steps[frame - 1][ways[frame, :, None], ways[frame - 1, None]]
        arriving = total[None] + moves.sum(axis=2)
        origins[frame] = np.argmin(arriving, axis=1)
        total = paid[frame] + np.min(arriving, axis=1)
    chosen = np.zeros(frames, int)
    chosen[-1] = int(np.argmin(total))
    for frame in range(frames - 1, 0, -1):
        chosen[frame - 1] = origins[frame, chosen[frame]]
    return _Path(ways[np.arange(frames), chosen], float(np.min(total)))


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


def ranges_f0(
    salience: np.ndarray,
    voices: VoicesConfig,
    threshold: float = F0Config().multi_f0_threshold,
    grid: HcqtConfig = HcqtConfig(),
    mean_bins: int = 0,
    config: RangesConfig = RangesConfig(),
    assigned: np.ndarray | None = None,
    sang_before: np.ndarray | None = None,
) -> np.ndarray:
    """From salience to the F0 of each voice in its frames.

    Args:
        salience: ``[360, 344]`` in (0, 1), frames of 22 050/256 Hz.
        voices: their ranges.
        threshold: of a peak; ``config`` says what part of it counts here.
        grid: of the bins.
        mean_bins: as for :func:`umss_jax.pitch.continuity.salience_peaks`.
        config: what counts how much.
        assigned: ``[J, 360, 344]`` in (0, 1), what an assignment network says of it.
        sang_before: as for :func:`assign_by_ranges`.

    Returns:
        float32 ``[J, 344]``, Hz, the highest voice first, 0 where unvoiced.
    """
    peaks = salience_peaks(salience, config.threshold_part * threshold, grid, mean_bins)
    f0_hz = assign_by_ranges(peaks.hz, peaks.salience, voices, config, assigned, grid, sang_before)
    return f0_hz.astype(np.float32)


def sang_last(f0_hz: Iterable[np.ndarray], before: np.ndarray | None) -> np.ndarray | None:
    """Which voices sang in the last of several segments in which anybody did for long.

    A sound of a moment, a breath say, tells nothing of who sings.

    Args:
        f0_hz: of each segment ``[J, frames]``, 0 where unvoiced.
        before: bool ``[J]`` of those before them, or None; what stands where nobody sings.
    """
    sung = [np.any(one, axis=1) for one in f0_hz if np.any(one, axis=0).mean() > _LEAST_SUNG]
    return sung[-1] if sung else before
