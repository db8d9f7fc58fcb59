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


def soft_masks(sources: jax.Array, config: MaskConfig | None = None) -> jax.Array:
    """Share of each voice in the summed magnitudes, bin by bin.

    Args:
        sources: synthesised voices ``[..., J, S]``.
        config: FFT size and hop.

    Returns:
        float32 ``[..., J, F, T]`` in [0, 1], summing to 1 over the voices.

    Source: the reference's ``masking_from_synth_signals_torch``. Deviation: where every voice is
    silent its masks are all zero, so that its stems lose that part of the mixture; here each voice
    then gets 1 / J, and elsewhere the two differ by less than 1e-12 of the summed magnitude.
    """
    config = config or MaskConfig()
    return ratio_masks(jnp.abs(centred_stft(sources, config.fft_size, config.hop_samples)))


def ratio_masks(magnitudes: jax.Array) -> jax.Array:
    """Share of each voice in the sum, as :func:`soft_masks`, from magnitudes ``[..., J, F, T]``."""
    voices = magnitudes.shape[-3]
    total = jnp.sum(magnitudes, axis=-3, keepdims=True)
    return (magnitudes + _FLOOR / voices) / (total + _FLOOR)


def apply_masks(
    mixture: jax.Array, masks: jax.Array, config: MaskConfig | None = None
) -> jax.Array:
    """Filters a mixture by time-frequency masks.

    Args:
        mixture: ``[..., S]``.
        masks: ``[..., J, F, T]`` for the same leading axes.
        config: FFT size and hop of the masks.

    Returns:
        stems ``[..., J, S]``, float32; they sum to the mixture where the masks sum to 1.

    Raises:
        ValueError: if masks and mixture differ in bins or frames.
    """
    config = config or MaskConfig()
    stft = centred_stft(mixture, config.fft_size, config.hop_samples)
    if stft.shape[-2:] != masks.shape[-2:]:
        raise ValueError(
            f"masks of {masks.shape[-2:]} bins and frames for a mixture of {stft.shape[-2:]}"
        )
    filtered = stft[..., None, :, :] * masks
    return inverse_centred_stft(filtered, mixture.shape[-1], config.hop_samples)


def apply_masks_to_channels(
    channels: jax.Array, masks: jax.Array, config: MaskConfig | None = None
) -> jax.Array:
    """As :func:`apply_masks`, every channel ``[..., C, S]`` filtered by the same masks.

    Returns:
        stems ``[..., J, C, S]``.
    """
    return jnp.swapaxes(apply_masks(channels, masks[..., None, :, :, :], config), -2, -3)


def soft_mask_stems(
    mixture: jax.Array, sources: jax.Array, config: MaskConfig | None = None
) -> jax.Array:
    """Stems of a mono mixture by the soft masks of synthesised voices.

    Args:
        mixture: ``[..., S]``.
        sources: synthesised voices ``[..., J, S]``, aligned with the mixture.
        config: FFT size and hop (2048/256).

    Returns:
        stems ``[..., J, S]``, float32, that sum to the mixture.
    """
    return apply_masks(mixture, soft_masks(sources, config), config)


def soft_mask_channels(
    channels: jax.Array, sources: jax.Array, config: MaskConfig | None = None
) -> jax.Array:
    """Stems of a multi-channel mixture, every channel filtered by the same masks.

    The masks come from voices that were synthesised for the mono mixture, so the image of each
    voice keeps its place between the channels.

    Args:
        channels: ``[..., C, S]``.
        sources: synthesised voices ``[..., J, S]``.
        config: FFT size and hop (2048/256).

    Returns:
        stems ``[..., J, C, S]``, float32, that sum to the channels over J.
    """
    return apply_masks_to_channels(channels, soft_masks(sources, config), config)
