"""Soft masks on the mixture's STFT: from synthesised voices to stems that sum to the mixture.

The synthesised voices sound like a synthesiser; the stems are the mixture itself, shared out among
the voices bin by bin in the ratio of the synthesised magnitudes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from umss_jax.config import MaskConfig
from umss_jax.dsp.stft import centred_stft, inverse_centred_stft

_FLOOR = 1e-12
"""Added to the denominator by the reference; here every voice also gets its J-th part of it."""


def soft_masks(sources: jax.Array, config: MaskConfig = MaskConfig()) -> jax.Array:
    """Share of each synthesised voice ``[..., J, S]`` in the sum, bin by bin.

    The sum is of the magnitudes, or of the power of them that ``config`` says.

    Returns:
        float32 ``[..., J, F, T]`` in [0, 1], summing to 1 over the voices.

    Source: the reference's ``masking_from_synth_signals_torch``. Deviation: where every voice is
    silent its masks are all zero, so that its stems lose that part of the mixture; here each voice
    then gets 1 / J, and elsewhere the two differ by less than 1e-12 of the summed magnitude.
    """
    magnitudes = jnp.abs(centred_stft(sources, config.fft_size, config.hop_samples))
    return ratio_masks(magnitudes, config.power)


def ratio_masks(magnitudes: jax.Array, power: float = 1.0) -> jax.Array:
    """Share of each voice in the sum, as :func:`soft_masks`, from magnitudes ``[..., J, F, T]``.

    Before another power than 1 is taken, the loudest voice of each bin is scaled to about 1, so
    that the floor means the same at any level.
    """
    voices = magnitudes.shape[-3]
    if power != 1.0:
        loudest = jnp.max(magnitudes, axis=-3, keepdims=True)
        magnitudes = (magnitudes / (loudest + _FLOOR)) ** power
    total = jnp.sum(magnitudes, axis=-3, keepdims=True)
    return (magnitudes + _FLOOR / voices) / (total + _FLOOR)


def apply_masks(
    mixture: jax.Array, masks: jax.Array, config: MaskConfig = MaskConfig()
) -> jax.Array:
    """Filters a mixture ``[..., S]`` by time-frequency masks ``[..., J, F, T]``.

    Returns:
        stems ``[..., J, S]``, float32; they sum to the mixture where the masks sum to 1.

    Raises:
        ValueError: if masks and mixture differ in bins or frames.
    """
    stft = centred_stft(mixture, config.fft_size, config.hop_samples)
    if stft.shape[-2:] != masks.shape[-2:]:
        raise ValueError(
            f"masks of {masks.shape[-2:]} bins and frames for a mixture of {stft.shape[-2:]}"
        )
    filtered = stft[..., None, :, :] * masks
    return inverse_centred_stft(filtered, mixture.shape[-1], config.hop_samples)


def apply_masks_to_channels(
    channels: jax.Array, masks: jax.Array, config: MaskConfig = MaskConfig()
) -> jax.Array:
    """As :func:`apply_masks`, every channel ``[..., C, S]`` by its own: ``[..., J, C, S]``.

    Masks are ``[..., C, J, F, T]``, or ``[..., 1, J, F, T]`` for the same ones in every channel, by
    which the image of each voice keeps its place between them.
    """
    return jnp.swapaxes(apply_masks(channels, masks, config), -2, -3)


def soft_mask_stems(
    mixture: jax.Array, sources: jax.Array, config: MaskConfig = MaskConfig()
) -> jax.Array:
    """Stems of a mono mixture ``[..., S]`` by the soft masks of synthesised voices.

    The voices, ``[..., J, S]``, are aligned with the mixture; stems are of their shape, float32,
    and sum to the mixture.
    """
    return apply_masks(mixture, soft_masks(sources, config), config)
