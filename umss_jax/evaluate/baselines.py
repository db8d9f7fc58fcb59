"""A separation without learning: a harmonic comb on the F0 of each voice, as soft masks.

Whatever is trained has to beat it. The masks know nothing but the F0s.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from umss_jax.config import HcqtConfig, MaskConfig
from umss_jax.evaluate.config import CombConfig

_REACH = 6.0
"""Lobes are summed out to at least this many standard deviations: exp(-18) of their height."""


def comb_magnitudes(
    f0_hz_250: jax.Array,
    config: CombConfig | None = None,
    mask: MaskConfig | None = None,
    sample_rate_hz: int = 16_000,
) -> jax.Array:
    """Magnitudes of Gaussian lobes at the harmonics of every voice.

    Args:
        f0_hz_250: ``[..., J, T]``, Hz, one value per hop of ``mask``; below 20 Hz is unvoiced.
        config: standard deviation of the lobes (30 Hz), decay of the harmonics (6 dB per octave),
            highest harmonic.
        mask: grid of bins and frames to return.
        sample_rate_hz: of the audio to be masked.

    Returns:
        float32 ``[..., J, fft_size // 2 + 1, T + 1]``, 1 at most; zero where unvoiced. The frame
        after the last F0 (centred on the end of the audio) holds that F0.
    """
    config, mask = config or CombConfig(), mask or MaskConfig()
    lowest_hz = HcqtConfig().fmin_hz
    reach = math.ceil(_REACH * config.lobe_hz / lowest_hz)
    f0_hz = jnp.concatenate([f0_hz_250, f0_hz_250[..., -1:]], axis=-1)[..., None, :]
    voiced = f0_hz >= config.minimum_hz
    f0_hz = jnp.where(voiced, f0_hz, 1e3)
    bins_hz = jnp.arange(mask.fft_size // 2 + 1, dtype=jnp.float32) * (
        sample_rate_hz / mask.fft_size
    )
    bins_hz = bins_hz.reshape((1,) * (f0_hz.ndim - 2) + (-1, 1))
    nearest = jnp.round(bins_hz / f0_hz)
    decay = config.roll_off_db_per_octave / (20 * math.log10(2))
    total = jnp.zeros_like(nearest)
    for step in range(-reach, reach + 1):
        harmonic = nearest + step
        sounds = voiced & (harmonic >= 1) & (harmonic * f0_hz < config.maximum_hz)
        offset = (bins_hz - harmonic * f0_hz) / config.lobe_hz
        height = jnp.maximum(harmonic, 1.0) ** -decay
        total = total + jnp.where(sounds, height * jnp.exp(-0.5 * offset**2), 0.0)
    return total


def comb_masks(f0_hz_250: jax.Array, config: CombConfig | None = None) -> jax.Array:
    """Share of each voice in the summed :func:`comb_magnitudes`, on the default grid.

    Returns:
        float32 ``[..., J, F, T + 1]`` in [0, 1]; they sum to 1 except where all lobes vanish (below
        1e-12), where they are 0: what no comb claims belongs to no voice.
    """
    magnitudes = comb_magnitudes(f0_hz_250, config)
    return magnitudes / (jnp.sum(magnitudes, axis=-3, keepdims=True) + 1e-12)
