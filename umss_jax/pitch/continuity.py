"""UMSS's heuristic assignment: peaks of the salience, given to voices by continuity of pitch.

The 2022 baseline (Schulze-Forster et al.) does not learn which F0 belongs to which voice. Frames in
which all voices sound are assigned in order of pitch; the gaps between such frames are filled step
by step with the permutation nearest to the neighbouring frame, once forward and once backward, and
the cheaper of the two is kept. Discrete, without gradients: NumPy on the CPU.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from umss_jax.config import VOICES, AudioConfig, F0Config, HcqtConfig
from umss_jax.dsp.interpolation import resample_linear
from umss_jax.pitch.grid import bin_frequencies_hz

_MAXIMUM_PEAKS = 8
"""More candidates in a frame than this are noise: their arrangements grow as the fourth power."""


class Peaks(NamedTuple):
    """Local maxima of a salience, ascending in every frame and padded with zeros at its end."""

    hz: np.ndarray
    """float64 ``[T, N]``; N is the largest number of peaks, at least one."""
    salience: np.ndarray
    """``[T, N]``."""


def salience_peaks(
    salience: np.ndarray,
    threshold: float = F0Config().multi_f0_threshold,
    grid: HcqtConfig = HcqtConfig(),
    mean_bins: int = 0,
) -> Peaks:
    """Local maxima over frequency that reach the threshold.

    Args:
        salience: ``[bins, T]`` in (0, 1), any frame rate.
        threshold: minimum salience of a peak (published: 0.5).
        grid: of the bins.
        mean_bins: bins on either side of a peak over which the mean position of the salience is
            taken; 0 for the peak's bin.

    Returns:
        Their frequencies and saliences. The first and the last bin are no peaks.

    Raises:
        ValueError: if the salience is not ``[bins, T]``.

    Source: ``pitch_activations_to_mf0`` of multif0-estimation-polyvocals.
    """
    salience = np.asarray(salience)
    if salience.ndim != 2 or salience.shape[0] != grid.bins:
        raise ValueError(f"salience {salience.shape}: expected [{grid.bins}, frames]")
    middle = salience[1:-1]
    peaks = (middle > salience[:-2]) & (middle > salience[2:]) & (middle >= threshold)
    frame, bin_ = np.nonzero(peaks.T)
    counts = np.bincount(frame, minlength=salience.shape[1])
    place = np.arange(len(frame)) - np.repeat(np.cumsum(counts) - counts, counts)
    multi_f0_hz = np.zeros((salience.shape[1], max(1, counts.max(initial=0))))
    heights = np.zeros(multi_f0_hz.shape)
    peak = bin_ + 1
    heights[frame, place] = salience[peak, frame]
    multi_f0_hz[frame, place] = bin_frequencies_hz(grid)[peak]
    if mean_bins:
        offsets = np.arange(-mean_bins, mean_bins + 1)
        near = np.pad(salience, ((mean_bins, mean_bins), (0, 0)))
        weights = near[peak[:, None] + mean_bins + offsets, frame[:, None]]
        shift = (weights @ offsets) / weights.sum(axis=1)
        multi_f0_hz[frame, place] *= 2.0 ** (shift / grid.bins_per_octave)
    return Peaks(multi_f0_hz, heights)


def multi_f0_peaks(
    salience: np.ndarray,
    threshold: float = F0Config().multi_f0_threshold,
    grid: HcqtConfig = HcqtConfig(),
    mean_bins: int = 0,
) -> np.ndarray:
    """Multi-F0 estimate: the frequencies of :func:`salience_peaks`, ``[T, N]`` in Hz."""
    return salience_peaks(salience, threshold, grid, mean_bins).hz


@functools.lru_cache(maxsize=32)
def _arrangements(candidates: int, voices: int) -> np.ndarray:
    """All ways to give ``voices`` voices distinct candidates, ``[ways, voices]``, in lexical order.

    The order decides ties: with |Δf| as distance, two voices that both rise or both fall past each
    other cost the same crossed or not.
    """
    return np.array(list(itertools.permutations(range(candidates), voices)))


def _distances(arranged_hz: np.ndarray, neighbour_hz: np.ndarray) -> np.ndarray:
    """Σ|Δf| of ``[..., J]`` to ``[J]`` over the voices that sound in the first.

    Summed voice by voice: with exact ties as common as they are, rounding must be the reference's.
    """
    total = np.zeros(arranged_hz.shape[:-1])
    for voice, hz in enumerate(neighbour_hz):
        column = arranged_hz[..., voice]
        total = total + np.where(column > 0, np.abs(column - hz), 0.0)
    return total


def _walk(
    frames_hz: list[np.ndarray], before_hz: np.ndarray, boundary_hz: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """Assigns frames one after the other, each to what each voice sang last.

    Args:
        frames_hz: candidates of every frame in walking order, ascending, at least J of them, zeros
            for those missing.
        before_hz: [J] what each voice sang last before the first of them, 0 if nothing yet.
        boundary_hz: [J] the frame at which the gap ends, where the way to it counts.

    Returns:
        The frames ``[T, J]`` in walking order, and the summed |Δf|.
    """
    voices, last = len(before_hz), before_hz
    assigned = np.zeros((len(frames_hz), voices))
    distance = 0.0
    for row, candidates in zip(assigned, frames_hz, strict=True):
        if not candidates.any():
            continue
        arranged = candidates[_arrangements(len(candidates), voices)]
        costs = _distances(arranged, last)
        best = int(np.argmin(costs))
        row[:] = arranged[best]
        distance += float(costs[best])
        last = np.where(row > 0, row, last)
    if boundary_hz is not None:
        distance += float(_distances(assigned[-1], boundary_hz))
    return assigned, distance


def _last_sung(frames_hz: np.ndarray) -> np.ndarray:
    """Last positive value of every column of ``[T, J]``, 0 where there is none."""
    sounding = frames_hz > 0
    index = len(frames_hz) - 1 - np.argmax(sounding[::-1], axis=0)
    return np.where(sounding.any(axis=0), frames_hz[index, np.arange(frames_hz.shape[1])], 0.0)


def assign_by_continuity(multi_f0_hz: np.ndarray, voices: int = len(VOICES)) -> np.ndarray:
    """Assigns the F0s of every frame to voices by the continuity rule.

    Args:
        multi_f0_hz: ``[T, N]``, Hz, 0 where there is no F0, any order within a frame. At most the
            lowest eight of a frame are considered.
        voices: number of voices J.

    Returns:
        float64 ``[J, T]``, Hz, highest voice first, 0 where a voice is silent. A frame of exactly J
        F0s is assigned in order of pitch; frames of more or fewer (but not of none) by continuity.

    Raises:
        ValueError: if the input is not ``[T, N]``.

    Source: ``f0_assignement`` in the reference's ``preprocessing_multif0_cuesta_BCBQ.py``, which
    takes silence to lie before and after the excerpt. Deviation: right at the edges its search for
    what a voice sang last wraps round to the other end, and here finds nothing.
    """
    multi_f0_hz = np.asarray(multi_f0_hz, np.float64)
    if multi_f0_hz.ndim != 2:
        raise ValueError(f"F0s of shape {multi_f0_hz.shape}: expected [frames, F0s]")
    silence = np.zeros(voices)
    candidates = [silence, *(_candidates(row, voices) for row in multi_f0_hz), silence]
    counts = np.array([np.count_nonzero(row) for row in candidates])
    silent, full = counts == 0, counts == voices
    assigned = np.zeros((len(candidates), voices))
    for n in np.flatnonzero(full):
        assigned[n] = candidates[n]
    for start, end in _gaps(silent | full):
        # Beside silence on one side only the walk that comes from the other side is taken.
        is_only_forward = silent[end] and not silent[start]
        is_only_backward = silent[start] and not silent[end]
        between = not (silent[start] or silent[end])
        if silent[start] and silent[end]:
            # Silence on both sides says nothing: look for the nearest full frames beyond it.
            before, after = np.flatnonzero(full[:start]), np.flatnonzero(full[end:])
            start = int(before[-1]) if len(before) else start
            end = end + int(after[0]) if len(after) else end
        gap = candidates[start + 1 : end]
        before_hz, after_hz = _last_sung(assigned[: start + 1]), _last_sung(assigned[end:][::-1])
        forward, cost = _walk(gap, before_hz, assigned[end] if between else None)
        backward, back_cost = _walk(gap[::-1], after_hz, assigned[start] if between else None)
        is_forward = is_only_forward or (not is_only_backward and cost <= back_cost)
        assigned[start + 1 : end] = forward if is_forward else backward[::-1]
    return assigned[1:-1, ::-1].T.copy()


def _candidates(row_hz: np.ndarray, voices: int) -> np.ndarray:
    """The F0s of a frame that are considered, ascending, zeros before them for those missing."""
    peaks = np.sort(row_hz[row_hz > 0])[:_MAXIMUM_PEAKS]
    return np.concatenate([np.zeros(max(0, voices - len(peaks))), peaks])


def _gaps(decided: np.ndarray) -> list[tuple[int, int]]:
    """Decided frames right before and right after every run of undecided ones."""
    steps = np.diff(decided.astype(np.int8))
    starts, ends = np.flatnonzero(steps == -1), np.flatnonzero(steps == 1) + 1
    return [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]


def heuristic_f0_synth(
    salience: np.ndarray,
    frames: int = AudioConfig().synth_frames,
    threshold: float = F0Config().multi_f0_threshold,
    grid: HcqtConfig = HcqtConfig(),
    mean_bins: int = 0,
    voices: int = len(VOICES),
) -> np.ndarray:
    """From salience to the F0 of each voice at the synthesiser's frame rate.

    Args:
        salience: ``[360, 344]`` in (0, 1), frames of 22 050/256 Hz.
        frames: to return over the same duration, by default 250 of 16 000/256 Hz.
        threshold: as for :func:`multi_f0_peaks`, as are ``grid`` and ``mean_bins``.
        grid: of the bins.
        mean_bins: around a peak.
        voices: number of voices J.

    Returns:
        float32 ``[J, 250]``, Hz, the highest first, 0 where unvoiced. Values below the lowest peak
        of the excerpt are set to 0: they stem from interpolating across a voiced/unvoiced border.
        (Other values at borders are too low as well and stay, as in the reference.)

    Source: ``f0_assignement`` in the reference's ``preprocessing_multif0_cuesta_BCBQ.py``. Its
    comparison is exact, so that rounding in the interpolation drops some frames of a voice that
    sings the lowest peak; here that takes 1e-5 of it.
    """
    multi_f0_hz = multi_f0_peaks(salience, threshold, grid, mean_bins)
    f0_hz = resample_linear(assign_by_continuity(multi_f0_hz, voices), frames)
    lowest_hz = np.min(multi_f0_hz, initial=np.inf, where=multi_f0_hz > 0)
    return np.where(f0_hz < lowest_hz * (1 - 1e-5), np.float32(0), f0_hz)


def heuristic_tracks(saliences: Sequence[np.ndarray], *details: Any) -> list[np.ndarray]:
    """:func:`heuristic_f0_synth` of each of several, one after the other."""
    return [heuristic_f0_synth(one, *details) for one in saliences]
