"""L_full = L_rec + α L1 + β L2 + γ L3 (paper, equations 1–5)."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.config import AudioConfig, RefinerConfig
from umss_jax.dsp.stft import centred_stft, stft
from umss_jax.train.config import LossConfig

_SILENCE = 3e-3
_FAINT = 1e-2
_MAGNITUDE_FLOOR = 1e-10  # under the root, so that its gradient exists at silence (reference)


class LossTerms(NamedTuple):
    """The four terms, unweighted, and their weighted sum: scalars."""

    total: jax.Array
    rec: jax.Array
    l1: jax.Array
    l2: jax.Array
    l3: jax.Array


def weighted_mean(x: jax.Array, weights: jax.Array | None) -> jax.Array:
    """Mean of [B, ...] in which an example counts as its weight [B] says; None: all alike.

    The weights' own mean over the whole batch is to be 1.
    """
    if weights is None:
        return jnp.mean(x)
    return jnp.mean(x * weights.reshape(-1, *(1,) * (x.ndim - 1)))


def spectral_loss_per_scale(
    target: jax.Array,
    estimate: jax.Array,
    config: LossConfig = LossConfig(),
    weights: jax.Array | None = None,
) -> jax.Array:
    """Mean absolute differences of magnitudes and of log magnitudes at every scale.

    Both signals are [..., samples]; no gradient flows into the target. ``weights`` [B] are those of
    the examples, as for :func:`weighted_mean`; the first axis is theirs then.

    Returns:
        [scales, 2]: linear and logarithmic (paper, equation 2; reference: ``ddsp/losses.py``,
        means over all axes, not sums).
    """
    target = jax.lax.stop_gradient(target)
    rows = []
    for fft_size in config.fft_sizes:
        hop = round(fft_size * (1.0 - config.overlap))
        wanted, got = (_magnitude(stft(one, fft_size, hop)) for one in (target, estimate))
        linear = weighted_mean(jnp.abs(wanted - got), weights)
        logarithmic = weighted_mean(jnp.abs(jnp.log(wanted) - jnp.log(got)), weights)
        rows.append(jnp.stack([linear, logarithmic]))
    return jnp.stack(rows)


def spectral_loss(
    target: jax.Array,
    estimate: jax.Array,
    config: LossConfig = LossConfig(),
    weights: jax.Array | None = None,
) -> jax.Array:
    """L_rec, the sum over scales of :func:`spectral_loss_per_scale`."""
    return jnp.sum(spectral_loss_per_scale(target, estimate, config, weights))


def assignment_sum_loss(
    assigned: jax.Array, salience: jax.Array, weights: jax.Array | None = None
) -> jax.Array:
    """L1: the assigned saliences [B, J, bins, frames] must add up to the salience (equation 3).

    The salience [B, bins, frames] takes no gradient.
    """
    return _mean_square(jnp.sum(assigned, axis=1) - jax.lax.stop_gradient(salience), weights)


def voice_band_loss(
    assigned: jax.Array, config: LossConfig = LossConfig(), weights: jax.Array | None = None
) -> jax.Array:
    """L2: each voice must stay in its band of the pitch grid (equation 4).

    The target, the salience masked to the band, takes no gradient, and one mean is taken over all
    voices (reference; the paper writes a sum over voices).
    """
    return _mean_square(
        assigned - jax.lax.stop_gradient(assigned * voice_band_mask(assigned, config)), weights
    )


def voice_band_mask(assigned: jax.Array, config: LossConfig = LossConfig()) -> jax.Array:
    """[1, J, bins, 1] ones inside each voice's band."""
    bins = np.arange(assigned.shape[2])
    mask = [(bins >= low) & (bins <= high) for low, high in config.voice_bands_bins]
    return jnp.asarray(np.stack(mask).astype(np.float32)[None, :, :, None])


def one_voice_loss(
    assigned: jax.Array, binary: jax.Array, weights: jax.Array | None = None
) -> jax.Array:
    """L3: each assigned salience must hold one voice (equation 5).

    The binary map, of the same shape [B, J, bins, frames], takes no gradient.
    """
    return _mean_square(assigned - jax.lax.stop_gradient(binary), weights)


def full_loss(
    mixture: jax.Array,
    mixture_hat: jax.Array,
    salience: jax.Array | None,
    assigned: jax.Array | None,
    binary: jax.Array | None,
    config: LossConfig = LossConfig(),
    weights: jax.Array | None = None,
) -> LossTerms:
    """L_full; terms of weight 0, or without their inputs (F0 given), are not computed and read 0.

    Signals are [B, samples] (or [B, J, samples], of voices), the salience [B, bins, frames],
    ``assigned`` and ``binary`` [B, J, bins, frames], weights [B] as for :func:`weighted_mean`.
    """
    zero = jnp.zeros(())
    rec = spectral_loss(mixture, mixture_hat, config, weights) if config.rec_weight else zero
    l1 = l2 = l3 = zero
    if assigned is not None and salience is not None and config.l1_weight:
        l1 = assignment_sum_loss(assigned, salience, weights)
    if assigned is not None and config.l2_weight:
        l2 = voice_band_loss(assigned, config, weights)
    if assigned is not None and binary is not None and config.l3_weight:
        l3 = one_voice_loss(assigned, binary, weights)
    total = (
        config.rec_weight * rec
        + config.l1_weight * l1
        + config.l2_weight * l2
        + config.l3_weight * l3
    )
    return LossTerms(total=total, rec=rec, l1=l1, l2=l2, l3=l3)


def refinement_loss(
    mixture: jax.Array,
    sources: jax.Array,
    masks: jax.Array,
    config: RefinerConfig,
    audio: AudioConfig,
    silence_weight: float = LossConfig.silence_weight,
    weights: jax.Array | None = None,
    axis: str | None = None,
) -> jax.Array:
    """Weighted mean over voices, rest and seconds of error over energy, in dB.

    Args:
        mixture: [B, samples].
        sources: [B, J, samples], the true voices; what is left of the mixture is the rest.
        masks: [B, J + 1, F, T].
        config: of the STFT that the masks are of.
        audio: for the rate.
        silence_weight: of what lies 20 dB and more below the mixture's energy of that second; all
            else has weight 1.
        weights: [B], of the examples, as for :func:`weighted_mean`.
        axis: name of the mapped axis over which the batch is divided, if it is: their values
            average to that of the whole batch.

    Three thousandths of the mixture's energy are added to both, so that silence is reached 25 dB
    below the mixture and nothing is gained beyond.
    """
    fft_size, hop = config.fft_size, config.hop_samples
    rest = mixture[:, None] - jnp.sum(sources, axis=1, keepdims=True)
    true = centred_stft(jnp.concatenate([sources, rest], axis=1), fft_size, hop)
    heard = centred_stft(mixture, fft_size, hop)
    error = masks * heard[:, None] - true
    power = partial(_power_by_second, frames=round(audio.sample_rate_hz / hop))
    whole, wanted = power(heard)[:, None], power(true)
    floor = _SILENCE * whole + _MAGNITUDE_FLOOR
    ratio_db = 10 * jnp.log10((power(error) + floor) / (wanted + floor))
    counts = jnp.where(wanted > _FAINT * whole, 1.0, silence_weight)
    if weights is not None:
        counts = counts * weights.reshape(-1, 1, 1)
    total = jnp.sum(counts)
    if axis is not None:
        total = jax.lax.pmean(total, axis)
    return jnp.sum(counts * ratio_db) / jnp.maximum(total, _MAGNITUDE_FLOOR)


def _power_by_second(spectrum: jax.Array, frames: int) -> jax.Array:
    """[..., F, T] → [..., seconds], the last one whole."""
    power = jnp.sum(spectrum.real**2 + spectrum.imag**2, axis=-2)
    seconds = max(1, power.shape[-1] // frames)
    power = power[..., : seconds * frames]
    return jnp.sum(power.reshape(*power.shape[:-1], seconds, -1), axis=-1)


def _magnitude(spectrum: jax.Array) -> jax.Array:
    return jnp.sqrt(spectrum.real**2 + spectrum.imag**2 + np.float32(_MAGNITUDE_FLOOR))


def _mean_square(x: jax.Array, weights: jax.Array | None) -> jax.Array:
    return weighted_mean(x * x, weights)
