"""What a salience should be where F0 is known: its bin, blurred along frequency."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.config import HcqtConfig

_LEAST = 1e-6


def pitch_targets(f0_hz: jax.Array, blur_bins: float, grid: HcqtConfig = HcqtConfig()) -> jax.Array:
    """Each F0's bin blurred by a Gaussian along frequency: [..., T] → [..., bins, T], 1 at the bin.

    The standard deviation is ``blur_bins`` (Cuesta, McFee, Gómez 2020: one bin). F0 is in Hz, 0
    where unvoiced; pitches off the grid count as unvoiced.
    """
    octaves = jnp.log2(jnp.maximum(f0_hz, 1.0) / grid.fmin_hz)
    place = jnp.round(octaves * grid.bins_per_octave)
    voiced = (f0_hz > 0) & (place >= 0) & (place < grid.bins)
    bins = np.arange(grid.bins, dtype=np.float32).reshape((1,) * (f0_hz.ndim - 1) + (-1, 1))
    distance = (bins - place[..., None, :]) / blur_bins
    return jnp.where(voiced[..., None, :], jnp.exp(-0.5 * distance * distance), 0.0)


def mixture_target(voices: jax.Array) -> jax.Array:
    """The voices' targets [..., J, bins, T] as one, [..., bins, T]: the largest of each bin."""
    return jnp.max(voices, axis=-3)


def cross_entropies(estimate: jax.Array, target: jax.Array) -> jax.Array:
    """−t log p − (1 − t) log(1 − p) of every number, p kept off 0 and 1 by 1e-6."""
    p = jnp.clip(estimate, _LEAST, 1.0 - _LEAST)
    return -(target * jnp.log(p) + (1.0 - target) * jnp.log(1.0 - p))
