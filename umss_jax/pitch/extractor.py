"""F0 extractor: peak of each assigned salience forward, a copied gradient backward."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.config import F0Config, HcqtConfig
from umss_jax.dsp.interpolation import interpolation_matrix, neighbours
from umss_jax.pitch.grid import bin_frequencies_hz
from umss_jax.precision import SIGNALS

_SEMITONE_OCTAVES = 1.0 / 12.0


class F0Tracks(NamedTuple):
    """F0 of every voice, on the salience's 344 frames."""

    f0_hz_cqt: jax.Array
    """[B, J, frames], Hz, 0 where unvoiced; carries the straight-through gradient."""
    binary: jax.Array
    """[B, J, bins, frames], 1 at the peak of voiced frames, 0 elsewhere; no gradient."""


def extract_f0(
    assigned: jax.Array,
    config: F0Config = F0Config(),
    grid: HcqtConfig = HcqtConfig(),
    salience: jax.Array | None = None,
) -> F0Tracks:
    """Straight-through F0 of assigned saliences [B, J, bins, frames] (paper, section 3.2).

    Forward: F0 = Σ_i f_i S^b_i with S^b one at the largest bin of a frame where that reaches the
    voice's threshold. Backward: the gradient of S^b · f is copied to S^a, that is, F0 behaves as
    Σ_i (S^a_i + stop_gradient(S^b_i f_i − S^a_i)): every bin of the frame receives dF0 unscaled.

    With ``config.mean_bins`` the f_i of a peak is that of :func:`mean_peaks` of the salience
    [B, bins, frames] that was assigned, or of the assigned salience itself where that is None.

    Deviation: the reference marks every bin whose frequency has the F0's integer part, which below
    86 Hz can be two bins and doubles the F0; the paper's equation, and this function, mark one.
    """
    frozen = jax.lax.stop_gradient(assigned)
    peak_bin = jnp.argmax(frozen, axis=2)
    thresholds = np.asarray(config.thresholds, np.float32).reshape(1, -1, 1)
    voiced = jnp.max(frozen, axis=2) >= thresholds
    bins = np.arange(grid.bins).reshape(1, 1, grid.bins, 1)
    binary = ((bins == peak_bin[:, :, None, :]) & voiced[:, :, None, :]).astype(assigned.dtype)
    if config.mean_bins:
        heard = frozen if salience is None else jax.lax.stop_gradient(salience)[:, None]
        place = mean_peaks(jnp.broadcast_to(heard, frozen.shape), peak_bin, config.mean_bins)
        peak_hz = grid.fmin_hz * 2.0 ** (place / grid.bins_per_octave)
    else:
        peak_hz = jnp.asarray(bin_frequencies_hz(grid), jnp.float32)[peak_bin]
    f0_hz = jnp.where(voiced, peak_hz, 0.0)
    total = jnp.sum(assigned, axis=2)
    # The bracket is exactly zero forward and the copied gradient backward.
    return F0Tracks(f0_hz_cqt=f0_hz + (total - jax.lax.stop_gradient(total)), binary=binary)


def mean_peaks(salience: jax.Array, peak_bin: jax.Array, reach: int) -> jax.Array:
    """Where peaks lie between the bins: the mean position of the salience around them.

    Args:
        salience: [..., bins, frames], at least 0.
        peak_bin: int [..., frames].
        reach: bins on either side that count.

    Returns:
        float32 [..., frames], in bins, within ``reach`` of the peak; the peak itself where there is
        no salience.
    """
    offsets = jnp.arange(-reach, reach + 1).reshape((1,) * (peak_bin.ndim - 1) + (-1, 1))
    at = peak_bin[..., None, :] + offsets
    bins = salience.shape[-2]
    is_there = (at >= 0) & (at < bins)
    near = jnp.take_along_axis(salience, jnp.clip(at, 0, bins - 1), axis=-2) * is_there
    total = jnp.sum(near, axis=-2)
    shift = jnp.sum(near * offsets, axis=-2) / jnp.where(total > 0, total, 1.0)
    return peak_bin + shift


def f0_to_synth_frames(f0_hz_cqt: jax.Array, synth_frames: int, floor_hz: float) -> jax.Array:
    """From the salience's frames to the synthesiser's, ``floor_hz`` > 0 standing for unvoiced.

    The floor comes first, then linear interpolation with half-pixel centres, ends held (reference:
    clamp before ``core.resample``). Across voiced/unvoiced borders this invents low F0s at note
    edges, as the reference does.
    """
    weights = jnp.asarray(interpolation_matrix(f0_hz_cqt.shape[-1], synth_frames))
    floored = jnp.maximum(f0_hz_cqt, floor_hz)
    return jnp.einsum("...s,ts->...t", floored, weights, precision=SIGNALS)


def f0_within_notes(f0_hz_cqt: jax.Array, synth_frames: int, floor_hz: float) -> jax.Array:
    """As :func:`f0_to_synth_frames`, but interpolated only within notes.

    Between frames that are both voiced and less than a semitone apart F0 is linear; elsewhere it is
    that of the nearest frame, so that no pitch lies between two notes, or between one and silence.
    """
    low, high, later = neighbours(f0_hz_cqt.shape[-1], synth_frames)
    floored = jnp.maximum(f0_hz_cqt, floor_hz)
    before, after = floored[..., low], floored[..., high]
    share = jnp.broadcast_to(later.astype(np.float32), before.shape)
    apart = jnp.abs(jnp.log2(jax.lax.stop_gradient(after / before)))
    linear = before + share * (after - before)
    return jnp.where(apart < _SEMITONE_OCTAVES, linear, jnp.where(share < 0.5, before, after))


def nearest_frames(source: int, target: int) -> np.ndarray:
    """For each of ``target`` frames the nearest of ``source`` frames over the same duration.

    Returns:
        int ``[target]``. Taking these leaves pitches as they are: none lies between two notes.
    """
    nearest = ((np.arange(target) + 0.5) * source / target).astype(int)
    return np.minimum(nearest, source - 1)


def middle_frames(source: int, target: int) -> np.ndarray:
    """For the middle of each of ``target`` hops the nearest of ``source`` frames.

    Frames of the HCQT are centred where their hops begin; what the synthesiser is told of a hop
    counts in its middle.

    Returns:
        int ``[target]``, as :func:`nearest_frames`.
    """
    nearest = np.floor((np.arange(target) + 0.5) * source / target + 0.5).astype(int)
    return np.minimum(nearest, source - 1)
