"""The conditioned U-Net, a supervised baseline: mixture and F0 of a voice → its magnitudes.

Petermann et al., ISMIR 2020 (condition *original*), and Schulze-Forster et al. 2023 (*exact*).
Class ``BaselineUnet`` of PierreChouteau/umss_icassp is the source of every size. Images are
frequency × time, channels last. Randomness comes in as keys; without them the module is in
evaluation mode.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from umss_jax.config import HcqtConfig, MaskConfig, SynthConfig, UnetCondition, UnetConfig
from umss_jax.dsp.masks import apply_masks_to_channels, ratio_masks
from umss_jax.networks.unet_condition import (
    ExactCondition,
    OriginalCondition,
    condition_f0,
    magnitude_spectrogram,
    padded,
)
from umss_jax.networks.unet_layers import (
    BatchNorm,
    drop_channels,
    strided_conv,
    torch_conv_weights,
    transposed_conv,
)


class UnetOutput(NamedTuple):
    """Every intermediate by name, each [..., 513, frames]."""

    mixture_magnitude: jax.Array
    gamma: jax.Array
    """Multiplies the mixture's magnitude after it was scaled to a maximum of 1."""
    beta: jax.Array
    """Added to that product."""
    mask: jax.Array
    """In (0, 1)."""
    magnitude: jax.Array
    """Of the target voice: mask times the mixture's."""


class Unet(nn.Module):
    """The network of one target voice per example.

    Attributes:
        config: sizes, condition, dropout.
        grid: pitch grid of the condition *original*.
        synth: source of the condition *exact*.
        axis: mapped axis over which batch statistics are averaged in training.
    """

    config: UnetConfig = UnetConfig()
    grid: HcqtConfig = HcqtConfig()
    synth: SynthConfig = SynthConfig()
    axis: str | None = None

    @nn.compact
    def __call__(
        self,
        mixture: jax.Array,
        f0_hz: jax.Array,
        keys: jax.Array | None = None,
        weights: jax.Array | None = None,
    ) -> UnetOutput:
        """Estimate one voice of mixtures [B, samples] at 16 kHz, a multiple of 256.

        F0 is [B, frames] as :func:`condition_f0` gives it. Keys [B], one for each example, mean
        training mode, with batch statistics, which are updated, and dropout. Weights [B] are those
        of :class:`~umss_jax.networks.unet_layers.BatchNorm`.
        """
        config = self.config
        magnitude = magnitude_spectrogram(mixture, config)
        condition: OriginalCondition | ExactCondition
        if config.condition is UnetCondition.EXACT:
            condition = ExactCondition(config, self.synth, name="condition")
        else:
            condition = OriginalCondition(config, self.grid, name="condition")
        gamma, beta = condition(f0_hz)
        loudest = jnp.max(magnitude, axis=(1, 2), keepdims=True)
        scaled = magnitude / jnp.where(loudest == 0, 1.0, loudest)
        mask = nn.sigmoid(self._layers((scaled * gamma + beta)[..., None], keys, weights)[..., 0])
        return UnetOutput(magnitude, gamma, beta, mask, mask * magnitude)

    def _layers(self, x: jax.Array, keys: jax.Array | None, weights: jax.Array | None) -> jax.Array:
        """[B, 513, frames, 1] → the same shape, before the sigmoid."""
        config = self.config
        skips = [x]
        for number, channels in enumerate(config.channels, start=1):
            down = _Down(channels, config, self.axis, name=f"down_{number}")
            x = down(x, keys is not None, weights)
            skips.append(x)
        skips.pop()
        count = len(config.channels)
        for number, channels in enumerate((*config.channels[-2::-1], 1), start=1):
            skip, is_last = skips.pop(), number == count
            size = (skip.shape[1], skip.shape[2])
            up = _Up(channels, size, is_last, config, self.axis, name=f"up_{number}")
            x = up(x, keys is not None, weights)
            if keys is not None and number <= min(config.dropout_layers, count - 1):
                x = drop_channels(x, jax.vmap(jax.random.fold_in, (0, None))(keys, number), config)
            if not is_last:
                x = jnp.concatenate([x, skip], axis=-1)
        return x


class _Down(nn.Module):
    """Convolution of stride 2, normalisation, LeakyReLU."""

    channels: int
    config: UnetConfig
    axis: str | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, weights: jax.Array | None) -> jax.Array:
        taps = self.config.kernel
        kernel, bias = torch_conv_weights((taps, taps, x.shape[-1], self.channels), "conv")()
        x = strided_conv(x, kernel) + bias.reshape(1, 1, 1, -1)
        x = BatchNorm(self.config, self.axis, name="norm")(x, train, weights)
        return x if self.config.down_slope == 1 else nn.leaky_relu(x, self.config.down_slope)


class _Up(nn.Module):
    """Transposed convolution of stride 2 to a given size; normalisation and ReLU unless last."""

    channels: int
    size: tuple[int, int]
    is_last: bool
    config: UnetConfig
    axis: str | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, weights: jax.Array | None) -> jax.Array:
        taps = self.config.kernel
        shape = (taps, taps, x.shape[-1], self.channels)
        # PyTorch takes the fan-in of a transposed kernel from its outputs.
        kernel, bias = torch_conv_weights(shape, "conv", fan_in=taps * taps * self.channels)()
        x = transposed_conv(x, kernel, self.size) + bias.reshape(1, 1, 1, -1)
        if self.is_last:
            return x
        return nn.relu(BatchNorm(self.config, self.axis, name="norm")(x, train, weights))


def estimate_voices(
    variables: Any, mixture: jax.Array, f0_hz_synth: jax.Array, module: Unet
) -> UnetOutput:
    """All voices of a mixture [B, samples] by F0 [B, J, frames], Hz, above 0, in one batch.

    Returns:
        Each field [B, J, 513, frames + 4].
    """
    batch, voices, frames = f0_hz_synth.shape
    f0_hz = condition_f0(f0_hz_synth.reshape(batch * voices, frames), module.config)
    output: Any = module.apply(variables, jnp.repeat(mixture, voices, axis=0), f0_hz)
    return jax.tree.map(lambda leaf: leaf.reshape(batch, voices, *leaf.shape[1:]), output)


def separate_channels(channels: jax.Array, magnitudes: jax.Array, config: UnetConfig) -> jax.Array:
    """Stems by soft masks from the magnitudes of all voices (reference: masking_unets_softmasks).

    Channels [B, C, samples] and magnitudes [B, J, 513, frames + 4] give [B, J, C, samples], which
    sum to the channels.
    """
    grid = MaskConfig(config.fft_size, config.hop_samples)
    masks = ratio_masks(magnitudes)[:, None]
    stems = apply_masks_to_channels(padded(channels, config), masks, grid)
    return stems[..., : channels.shape[-1]]
