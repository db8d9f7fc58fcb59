"""Encoder: log-magnitude STFT of the mixture → one latent sequence, shared by all voices."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from umss_jax.accelerators import for_accelerator
from umss_jax.config import EncoderConfig
from umss_jax.dsp.stft import log_magnitude, stft
from umss_jax.networks.dense import Dense, LayerNorm
from umss_jax.networks.gru import Gru, project, stack_weights
from umss_jax.networks.gru_stack import gru_stack


def encoder_input(mixture: jax.Array, config: EncoderConfig) -> jax.Array:
    """What the encoder sees of a mixture [B, samples] at 16 kHz, of a peak of about 1.

    Returns:
        [B, frames, 257] log magnitudes, 250 frames per 4 s.
    """
    return log_magnitude(stft(mixture, config.fft_size, config.hop_samples))


class Encoder(nn.Module):
    """Three GRUs with a skip around the last, then a dense layer (reference: MixEncoderSimple)."""

    config: EncoderConfig = EncoderConfig()

    @nn.compact
    def __call__(self, log_magnitudes: jax.Array) -> jax.Array:
        """[B, frames, 257] from :func:`encoder_input` → latent [B, frames, 128]."""
        # Over all bins and frames of an example (reference: CustomLayerNorm).
        x = LayerNorm(axes=(1, 2), shift="shift", name="input_norm")(log_magnitudes)
        hidden, compute = self.config.hidden, self.config.compute
        layers = [Gru(hidden, compute, name=f"gru_{number}") for number in (1, 2, 3)]
        if for_accelerator():
            first, *others = layers
            weights = [first.weights(x.shape[-1]), *(layer.weights(hidden) for layer in others)]
            projected = jnp.swapaxes(project(weights[0], x, compute=compute), 0, 1)
            _, second, third = gru_stack(projected, stack_weights(weights))
            together = jnp.swapaxes(third + second, 0, 1)
        else:
            second = layers[1](layers[0](x))
            together = layers[2](second) + second
        return Dense(self.config.latent, compute, name="dense")(together)
