"""Encoder: log-magnitude STFT of the mixture → one latent sequence, shared by all voices."""

from __future__ import annotations

import flax.linen as nn
import jax

from umss_jax.config import EncoderConfig
from umss_jax.dsp.stft import log_magnitude, stft
from umss_jax.networks.dense import Dense, LayerNorm
from umss_jax.networks.gru import Gru


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
        x = Gru(self.config.hidden, self.config.compute, name="gru_1")(x)
        second = Gru(self.config.hidden, self.config.compute, name="gru_2")(x)
        third = Gru(self.config.hidden, self.config.compute, name="gru_3")(second)
        return Dense(self.config.latent, self.config.compute, name="dense")(third + second)
