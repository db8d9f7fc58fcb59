"""What a trained model is compared with: the mixture itself, ideal masks, and a harmonic comb.

The comb separates without learning, by soft masks that know nothing but the F0 of each voice:
whatever is trained has to beat it.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.data.excerpts import Excerpt
from umss_jax.dsp.masks import apply_masks, soft_mask_stems
from umss_jax.evaluate.config import EvaluationConfig
from umss_jax.evaluate.protocol import F0Estimator, StemEstimator

masked_stems = jax.jit(soft_mask_stems, static_argnums=2)
"""Stems [J, S] of a mixture [S] by the soft masks of voices [J, S]."""

_DEFAULT = EvaluationConfig()
_REACH = 6.0
"""Lobes are summed out to at least this many standard deviations: exp(-18) of their height."""


def unprocessed(excerpt: Excerpt) -> np.ndarray:
    """The mixture as the estimate of every voice: where a separation starts from."""
    return np.repeat(excerpt.mixture[None], len(excerpt.sources), axis=0)


def ideal_ratio_masks(excerpt: Excerpt, config: EvaluationConfig = _DEFAULT) -> np.ndarray:
    """Soft masks of the true voices: the ceiling of what soft masking can reach."""
    return np.asarray(masked_stems(excerpt.mixture, excerpt.sources, config.mask))


def harmonic_comb(
    f0: F0Estimator | None = None, config: EvaluationConfig = _DEFAULT
) -> StemEstimator:
    """A comb without learning on the reference's F0, or on that of an estimator."""

    def estimate(excerpt: Excerpt) -> np.ndarray:
        f0_hz_synth = excerpt.f0_hz_synth if f0 is None else f0(excerpt)
        if f0_hz_synth is None:
            raise ValueError(f"{excerpt.name}: there is no reference F0")
        return np.asarray(
            _comb_stems(excerpt.mixture, jnp.asarray(f0_hz_synth, jnp.float32), config)
        )

    return estimate


@partial(jax.jit, static_argnums=2)
def _comb_stems(mixture: jax.Array, f0_hz_synth: jax.Array, config: EvaluationConfig) -> jax.Array:
    return apply_masks(mixture, comb_masks(f0_hz_synth, config), config.mask)


def comb_magnitudes(f0_hz_synth: jax.Array, config: EvaluationConfig = _DEFAULT) -> jax.Array:
    """Magnitudes of Gaussian lobes at the harmonics of every voice.

    Args:
        f0_hz_synth: ``[..., J, T]``, Hz, one value per hop of the masks; below 20 Hz is unvoiced.
        config: of the comb standard deviation of the lobes (30 Hz), decay of the harmonics (6 dB
            per octave) and highest harmonic; grid of the masks' bins and frames; rate of the audio.

    Returns:
        float32 ``[..., J, fft_size // 2 + 1, T + 1]``, 1 at most; zero where unvoiced. The frame
        after the last F0 (centred on the end of the audio) holds that F0.
    """
    comb, fft_size = config.comb, config.mask.fft_size
    reach = math.ceil(_REACH * comb.lobe_hz / config.hcqt.fmin_hz)
    f0_hz = jnp.concatenate([f0_hz_synth, f0_hz_synth[..., -1:]], axis=-1)[..., None, :]
    voiced = f0_hz >= comb.minimum_hz
    f0_hz = jnp.where(voiced, f0_hz, 1e3)
    bin_hz = config.audio.sample_rate_hz / fft_size
    bins_hz = jnp.arange(fft_size // 2 + 1, dtype=jnp.float32) * bin_hz
    bins_hz = bins_hz.reshape((1,) * (f0_hz.ndim - 2) + (-1, 1))
    nearest = jnp.round(bins_hz / f0_hz)
    decay = comb.roll_off_db_per_octave / (20 * math.log10(2))
    total = jnp.zeros_like(nearest)
    for step in range(-reach, reach + 1):
        harmonic = nearest + step
        sounds = voiced & (harmonic >= 1) & (harmonic * f0_hz < comb.maximum_hz)
        offset = (bins_hz - harmonic * f0_hz) / comb.lobe_hz
        height = jnp.maximum(harmonic, 1.0) ** -decay
        total = total + jnp.where(sounds, height * jnp.exp(-0.5 * offset**2), 0.0)
    return total


def comb_masks(f0_hz_synth: jax.Array, config: EvaluationConfig = _DEFAULT) -> jax.Array:
    """Share of each voice in the summed comb magnitudes; arguments as :func:`comb_magnitudes`.

    float32 ``[..., J, F, T + 1]`` in [0, 1]; they sum to 1 except where all lobes vanish (below
    1e-12), where they are 0: what no comb claims belongs to no voice.
    """
    magnitudes = comb_magnitudes(f0_hz_synth, config)
    return magnitudes / (jnp.sum(magnitudes, axis=-3, keepdims=True) + 1e-12)
