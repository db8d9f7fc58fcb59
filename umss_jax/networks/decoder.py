"""Decoder: latent and F0 of each voice → raw controls of the synthesiser, weights shared."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.config import DecoderConfig
from umss_jax.networks.dense import Dense, DenseStack
from umss_jax.networks.gru import Gru
from umss_jax.precision import OUTPUTS
from umss_jax.synth.source_filter import RawControls


def f0_on_log_scale(f0_hz: jax.Array, config: DecoderConfig) -> jax.Array:
    """F0 as the decoder reads it: 0 at 20 Hz, 1 at 8 kHz, linear in semitones, not clipped.

    The reference's conversion to MIDI goes through log₂ with values ≤ 0 replaced by 1e-5
    (``ddsp/core.py`` logb); F0 here is at least its floor of 1e-5 Hz, so the logarithm is plain.
    """
    low, high = config.f0_low_hz, config.f0_high_hz
    return jnp.log(f0_hz * np.float32(1.0 / low)) * np.float32(1.0 / np.log(high / low))


class Decoder(nn.Module):
    """Per-voice decoder (reference: SynthParameterDecoderSimple and its dense outputs).

    The latent is one for all voices: its MLP and its half of the GRU's input product are computed
    once per example, not once per voice.
    """

    config: DecoderConfig = DecoderConfig()

    @nn.compact
    def __call__(self, latent: jax.Array, f0_hz_synth: jax.Array) -> RawControls:
        """Latent [B, frames, 128] and F0 [B, J, frames], Hz, above 0 → controls of [B, J]."""
        config, compute = self.config, self.config.compute
        batch, voices, frames = f0_hz_synth.shape
        f0_input = f0_on_log_scale(f0_hz_synth, config).reshape(batch * voices, frames, 1)
        from_f0 = DenseStack(config.hidden, compute=compute, name="f0_mlp")(f0_input)
        from_latent = DenseStack(config.hidden, compute=compute, name="latent_mlp")(latent)
        x = Gru(config.hidden, compute, name="gru")(from_f0, from_latent)
        x = DenseStack(config.hidden, compute=compute, name="mlp")(x)
        order = config.line_spectral_frequencies
        output = partial(Dense, precision=OUTPUTS)
        noise = Gru(config.noise_bands, precision=OUTPUTS, name="noise_gru")

        def per_voice(y: jax.Array) -> jax.Array:
            return y.reshape(batch, voices, *y.shape[1:])

        return RawControls(
            harmonic_amplitude=per_voice(output(1, name="harmonic_amplitude")(x)[..., 0]),
            noise_gain=per_voice(output(1, name="noise_gain")(x)[..., 0]),
            line_spectral_frequencies=per_voice(
                output(order + 1, name="line_spectral_frequencies")(x)
            ),
            noise_magnitudes=per_voice(noise(x)[:, -1]),
        )
