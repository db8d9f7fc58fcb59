"""Voices' spectra fitted to the mixture, as far as it shows how loud each voice is.

Where one voice alone has a harmonic, the mixture tells how loud it is; where several meet, only
their models do. So the spectrum of every voice keeps its fine structure, the harmonics of its F0,
and is multiplied by a smooth envelope, which is read off the bins that the voice dominates: first
one that changes slowly in time and fast in frequency (timbre, the room), then one that changes fast
in time and slowly in frequency (loudness, vowels), and again.

This project's own. The envelopes are estimated as spectral templates and gains are in non-negative
matrix factorisation (Lee, Seung 1999; source-filter models: Durrieu et al. 2010), with weights in
place of a cost function: see :func:`fit_envelopes`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.config import MaskConfig
from umss_jax.precision import SIGNALS


class Smoothness(NamedTuple):
    """Of one envelope: bands, and how far in time each value reaches."""

    least_band_hz: float
    band_share: float
    """Bands are as wide as this share of their frequency, and at least ``least_band_hz``."""
    reach_s: float


_TIMBRE = Smoothness(94.0, 0.1, 0.98)
_LOUDNESS = Smoothness(470.0, 0.2, 0.13)
_PHONEME = Smoothness(94.0, 0.1, 0.34)
_STEPS = (_TIMBRE, _LOUDNESS, _TIMBRE, _LOUDNESS, _PHONEME)
_FLOOR = 1e-7


def fit_envelopes(
    magnitudes: jax.Array, mixture: jax.Array, rate_hz: int, config: MaskConfig
) -> jax.Array:
    """Magnitudes of voices that together come closer to those of their mixture.

    In every band and stretch the voice is multiplied by Σ M |X| / Σ M |Y|, where M is its share of
    the powers, |X| the mixture's magnitude and |Y| that of all voices (root of their summed power):
    a voice that explains a bin alone is brought to what is heard there, and a bin that it does not
    explain says nothing about it.

    Args:
        magnitudes: of the voices, ``[..., J, F, T]``.
        mixture: magnitude of the mixture, ``[..., F, T]``.
        rate_hz: of the signals.
        config: says how long a frame and a hop are.

    Returns:
        float32 ``[..., J, F, T]``.
    """
    bins, frames = mixture.shape[-2:]
    heard = mixture[..., None, :, :]
    for step in _STEPS:
        bands = _bands(bins, rate_hz, step)
        near = _near_frames(frames, step.reach_s * rate_hz / config.hop_samples)
        power = magnitudes**2
        total = jnp.sum(power, axis=-3, keepdims=True) + _FLOOR**2
        share = power / total
        explained = _summed(share * heard, bands, near)
        expected = _summed(share * jnp.sqrt(total), bands, near)
        gain = jnp.log((explained + _FLOOR) / (expected + _FLOOR))
        magnitudes = magnitudes * jnp.exp(
            jnp.einsum("kf,...kt->...ft", bands, gain, precision=SIGNALS)
        )
    return magnitudes


def _summed(values: jax.Array, bands: np.ndarray, near: np.ndarray) -> jax.Array:
    """Sums over bands and neighbouring frames, ``[..., K, T]``."""
    summed = jnp.einsum("kf,...ft->...kt", bands, values, precision=SIGNALS)
    return jnp.einsum("...ks,ts->...kt", summed, near, precision=SIGNALS)


@lru_cache
def _bands(bins: int, rate_hz: int, step: Smoothness) -> np.ndarray:
    """Overlapping triangles ``[K, F]``, which sum to 1 at every bin."""
    bin_hz = rate_hz / (2 * (bins - 1))
    centres = [0.0]
    while centres[-1] < bins - 1:
        width = max(step.least_band_hz / bin_hz, step.band_share * centres[-1])
        centres.append(centres[-1] + width)
    at = np.arange(bins)
    peaks = np.eye(len(centres))
    return np.stack([np.interp(at, centres, peak) for peak in peaks]).astype(np.float32)


@lru_cache
def _near_frames(frames: int, reach: float) -> np.ndarray:
    """Hann weights ``[T, T]`` of the frames around each one."""
    apart = np.abs(np.arange(frames)[:, None] - np.arange(frames)) / max(reach, 1.0)
    return np.where(apart < 1, 0.5 + 0.5 * np.cos(np.pi * apart), 0.0).astype(np.float32)
