"""A mixture without one of its voices, of which no more is known than its F0.

A comb of harmonics stands for each voice, fitted to the mixture as synthesised voices are
(:mod:`umss_jax.dsp.envelopes`); what the comb explains is taken out by a mask. What is left lets
softer voices be heard. This project's own; estimating pitches one after another, each in what the
others leave, is Klapuri's (2003).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from umss_jax.config import MaskConfig
from umss_jax.dsp.envelopes import fit_envelopes
from umss_jax.dsp.harmonic_lines import VOICED_HZ
from umss_jax.dsp.masks import ratio_masks
from umss_jax.dsp.stft import centred_stft, inverse_centred_stft

_NOBODY = 1e-4  # of the fundamental: what every voice has everywhere, so that all bins are shared
_LOBE_BINS = 2.0  # half the main lobe of a Hann window


def without_each(
    mixture: jax.Array, f0_hz: jax.Array, rate_hz: int, config: MaskConfig = MaskConfig()
) -> jax.Array:
    """The mixture once without each voice; of what several sing in unison each has its share.

    Args:
        mixture: ``[B, S]``, a multiple of the hop.
        f0_hz: ``[B, J, S / hop]`` in Hz at the beginning of each hop; below 1 Hz is unvoiced.
        rate_hz: of the mixture.
        config: of the masks.

    Returns:
        float32 ``[B, J, S]``, each scaled to peak 1.
    """
    heard = centred_stft(mixture, config.fft_size, config.hop_samples)
    # One frame more than hops: the last is centred where the last hop ends.
    at_frames = jnp.pad(f0_hz, ((0, 0), (0, 0), (0, 1)), mode="edge")
    combs = comb_magnitudes(at_frames, heard.shape[-2], rate_hz)
    masks = ratio_masks(fit_envelopes(combs, jnp.abs(heard), rate_hz, config), power=2.0)
    left = heard[:, None] * (1.0 - masks)
    rest = inverse_centred_stft(left, mixture.shape[-1], config.hop_samples)
    return rest / jnp.maximum(jnp.max(jnp.abs(rest), axis=-1, keepdims=True), _NOBODY)


def comb_magnitudes(f0_hz: jax.Array, bins: int, rate_hz: int) -> jax.Array:
    """Magnitudes of harmonics that fall by 6 dB an octave, through a Hann window.

    Args:
        f0_hz: ``[..., T]`` in Hz; below 1 Hz there are none.
        bins: from 0 Hz to half the rate.
        rate_hz: of the signal.

    Returns:
        ``[..., bins, T]``, about 1 at the fundamental; nowhere quite 0.
    """
    bin_hz = rate_hz / (2 * (bins - 1))
    hz = (jnp.arange(bins) * bin_hz)[:, None]
    voiced_hz = jnp.maximum(f0_hz, VOICED_HZ)[..., None, :]
    hz = hz.reshape((1,) * (f0_hz.ndim - 1) + hz.shape)
    number = jnp.maximum(jnp.round(hz / voiced_hz), 1.0)
    apart = (hz - number * voiced_hz) / bin_hz
    lobe = jnp.sinc(apart) + 0.5 * (jnp.sinc(apart - 1) + jnp.sinc(apart + 1))
    is_sung = (jnp.abs(apart) < _LOBE_BINS) & (f0_hz > VOICED_HZ)[..., None, :]
    return jnp.where(is_sung, jnp.abs(lobe) / number, 0.0) + _NOBODY
