"""What nobody sings, as far as it is steady: noise, hum and a DC offset, kept out of the voices.

The masks of the voices add up to 1, so whatever a recording holds is somebody's. Noise is told from
singing by two signs. It lies between the harmonics of all voices, whose F0 is known; and its level
stays: over some seconds the median power of a bin is a few times its tenth percentile (6.6 times
for Gaussian noise, whose power is exponentially distributed; once for hum), where that of music
changes a hundredfold. What is found so is subtracted from all voices alike, as a Wiener filter does
it, and thereby left to the residual.

This project's own; the quantile as the floor of noise is that of Stahl, Fischer, Bippus (2000).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from umss_jax.config import MaskConfig
from umss_jax.dsp.harmonic_lines import VOICED_HZ, is_near_harmonic
from umss_jax.dsp.stft import centred_stft

_LOW, _MIDDLE = 0.1, 0.5  # quantiles of a bin's power
_LOW_SHARE, _MIDDLE_SHARE = 0.10536, 0.69315  # of the mean power of Gaussian noise: -ln(1 - q)
_STEADIEST = 16.0  # median to lowest tenth: 6.6 of noise, and what 60 independent frames add to it
_LEAST_FRAMES = 24  # in which a bin must be free of harmonics
_LOBE_BINS = 2.5  # half the main lobe of a Hann window, and half a bin
_SPREAD = 0.005  # of the frequency: vibrato, and singers who do not quite agree
_HIGHEST_HZ = 3000.0  # above, vibrato smears harmonics over all bins, and voices are weak
_NEAR_BINS = 16  # to either side, which tell of a bin that is never free
_AT, _BETWEEN = 2.0, 6.0  # times the noise is subtracted at harmonics, and between them
_CONSONANT_S = 0.3  # of a voice, before and after what it sings
_FAINT = 0.03  # of its share is left to a voice that rests: -30 dB
_FLOOR = 1e-20


def voice_gains(
    mixture: jax.Array, f0_hz_synth: jax.Array, rate_hz: int, config: MaskConfig
) -> jax.Array:
    """What part of each bin is the voices', all together.

    Args:
        mixture: ``[B, S]``.
        f0_hz_synth: ``[B, J, S / hop]``, Hz; below 1 Hz is unvoiced.
        rate_hz: of the mixture.
        config: of the masks.

    Returns:
        float32 ``[B, F, T]`` in [0, 1], for the frames of the masks.
    """
    power = jnp.abs(centred_stft(mixture, config.fft_size, config.hop_samples)) ** 2
    sung = _near_harmonics(f0_hz_synth, power.shape[-2], power.shape[-1], rate_hz)
    noise = _steady_power(power, sung)[..., None]
    subtracted = jnp.where(sung, _AT, _BETWEEN) * noise
    return jnp.clip(1.0 - subtracted / (power + _FLOOR), 0.0, 1.0)


def _near_harmonics(f0_hz: jax.Array, bins: int, frames: int, rate_hz: int) -> jax.Array:
    """Whether a harmonic of any voice may lie near each bin: ``[B, F, T]``."""
    bin_hz = rate_hz / (2 * (bins - 1))
    looked_at = min(bins, math.ceil(_HIGHEST_HZ / bin_hz))
    hz = (jnp.arange(looked_at) * bin_hz)[None, None, :, None]
    close = is_near_harmonic(hz, f0_hz[:, :, None], _LOBE_BINS * bin_hz, _SPREAD)
    near = jnp.any(close, axis=1)
    # Frames of masks are centred where those of F0 begin and end: both count.
    either = jnp.pad(near, ((0, 0), (0, 0), (1, 1)), mode="edge")
    either = either[..., :frames] | either[..., 1 : frames + 1]
    return jnp.pad(either, ((0, 0), (0, bins - looked_at), (0, 0)))


def _steady_power(power: jax.Array, sung: jax.Array) -> jax.Array:
    """Mean power of the noise in each bin, ``[B, F]``: 0 where the level changes as music does."""
    ordered = jnp.sort(jnp.where(sung, jnp.inf, power), axis=-1)
    free = jnp.sum(~sung, axis=-1)

    def quantile(share: float) -> jax.Array:
        at = jnp.floor(share * jnp.maximum(free - 1, 0)).astype(int)
        found: jax.Array = jnp.take_along_axis(ordered, at[..., None], axis=-1)[..., 0]
        return found

    low, middle = quantile(_LOW), quantile(_MIDDLE)
    is_known = free >= _LEAST_FRAMES
    is_steady = is_known & (middle < _STEADIEST * low)
    noise = jnp.where(is_steady, jnp.minimum(low / _LOW_SHARE, middle / _MIDDLE_SHARE), 0.0)
    # A bin that is never free has the noise of those around it: the geometric mean, so that a line
    # of hum among them counts little.
    level = jnp.where(is_known, jnp.log(noise + _FLOOR), 0.0)
    near = _NEAR_BINS, _NEAR_BINS
    known = _sum_around(is_known.astype(float), *near)
    around = jnp.where(known > 0, jnp.exp(_sum_around(level, *near) / jnp.maximum(known, 1.0)), 0.0)
    return jnp.where(is_known, noise, around)


def _sum_around(values: jax.Array, before: int, after: int) -> jax.Array:
    """Sum over each value, so many before and so many after it along the last axis."""
    edges = [(0, 0)] * (values.ndim - 1) + [(before + 1, after)]
    total = jnp.cumsum(jnp.pad(values, edges), axis=-1)
    return total[..., before + after + 1 :] - total[..., : -before - after - 1]


def sounding(f0_hz_synth: jax.Array, hop_s: float) -> jax.Array:
    """Whether each voice may sound at all: it sings, or did or will in a moment.

    The noise of a voice is its consonants and breath, which are near its notes; a voice that rests
    makes none. Where no voice sings within reach, those may sound that sing at some other time of
    the segment, or all if none does: of a solo even what was not heard is the soloist's.

    Args:
        f0_hz_synth: ``[B, J, S / hop]``, Hz; below 1 Hz is unvoiced.
        hop_s: seconds of a frame.

    Returns:
        bool ``[B, J, S / hop + 1]``, for the frames of the masks.
    """
    # Frames of masks are centred where those of F0 begin and end: there is one more.
    is_sung = jnp.pad(f0_hz_synth > VOICED_HZ, ((0, 0), (0, 0), (0, 1)))
    reach = math.ceil(_CONSONANT_S / hop_s)
    near = _sum_around(is_sung.astype(int), reach, reach - 1) > 0
    sings = jnp.any(is_sung, axis=2, keepdims=True)
    sings |= ~jnp.any(sings, axis=1, keepdims=True)
    return near | (sings & ~jnp.any(near, axis=1, keepdims=True))


def with_faint_rests(masks: jax.Array, unfitted: jax.Array, may_sound: jax.Array) -> jax.Array:
    """Masks in which no voice is cut off dead: one that rests keeps a faint share of the mixture.

    A rest may be a mistake: a note that fades out, or one that was not heard. What was sung there
    is then faint in the stem, in place of lost.

    Args:
        masks: ``[B, C, J, F, T]``, of voices silenced where they may not sound; they sum to 1.
        unfitted: ``[B, J, F, T]``, masks of the voices as they were synthesised.
        may_sound: bool ``[B, J, T]``, as of :func:`sounding`.

    Returns:
        ``[B, C, J, F, T]``; they sum to 1.
    """
    faint = _FAINT * jnp.where(may_sound[:, :, None], 0.0, unfitted)[:, None]
    return masks * (1.0 - jnp.sum(faint, axis=2, keepdims=True)) + faint
