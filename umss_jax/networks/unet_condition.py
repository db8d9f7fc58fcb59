"""What the U-Net is told of its target voice: γ and β per bin and frame, from its F0.

Source: ``ConditionGeneratorOriginal`` and ``ConditionGenerator`` of PierreChouteau/umss_icassp.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.config import HcqtConfig, SynthConfig, UnetCondition, UnetConfig
from umss_jax.dsp.stft import centred_stft
from umss_jax.networks.dense import Dense
from umss_jax.networks.unet_layers import torch_conv_weights
from umss_jax.precision import CONVOLUTIONS
from umss_jax.synth.harmonic import harmonic_controls, harmonic_signal


def magnitude_spectrogram(audio: jax.Array, config: UnetConfig) -> jax.Array:
    """Magnitudes of a centred STFT of the signal with three quarters of a window of zeros after it.

    [..., samples], a multiple of the hop, at 16 kHz → [..., 513, samples / 256 + 4].
    """
    return jnp.abs(centred_stft(padded(audio, config), config.fft_size, config.hop_samples))


def condition_f0(f0_hz_synth: jax.Array, config: UnetConfig) -> jax.Array:
    """F0 on the frames that the condition wants, [..., frames + 4], or for *exact* as given.

    *original* needs two frames more on either side, as the spectrogram has. The reference reads
    them from a longer recording; here the first and the last F0 are held.
    """
    if config.condition is UnetCondition.EXACT:
        return f0_hz_synth
    extra = config.fft_size // config.hop_samples // 2
    first, last = f0_hz_synth[..., :1], f0_hz_synth[..., -1:]
    return jnp.concatenate([first] * extra + [f0_hz_synth] + [last] * extra, axis=-1)


def blurred_bins(f0_hz: jax.Array, config: UnetConfig, grid: HcqtConfig) -> jax.Array:
    """F0 in Hz (below the grid: unvoiced) as a Gaussian bump on the pitch grid of 360 bins.

    Returns:
        [..., frames, 361], 1 at the F0's bin; bin 0 means unvoiced, bin 1 is 32.7 Hz. What lies
        above the grid falls into its last bin (the reference fails there).
    """
    octaves = jnp.log2(f0_hz / grid.fmin_hz + 1e-8)
    bins = jnp.clip(jnp.round(octaves * grid.bins_per_octave) + 1.0, 0.0, grid.bins)
    numbers = np.arange(grid.bins + 1, dtype=np.float32).reshape((1,) * f0_hz.ndim + (-1,))
    distance = numbers - bins[..., None]
    bump = jnp.exp(-0.5 * (distance / config.blur_bins) ** 2)
    return jnp.where(jnp.abs(distance) <= config.blur_radius_bins, bump, 0.0)


class OriginalCondition(nn.Module):
    """γ and β by three convolutions along time over the blurred bins of F0."""

    config: UnetConfig = UnetConfig()
    grid: HcqtConfig = HcqtConfig()

    @nn.compact
    def __call__(self, f0_hz: jax.Array) -> tuple[jax.Array, jax.Array]:
        """F0 [B, frames] → γ and β, each [B, 513, frames]."""
        x = blurred_bins(f0_hz, self.config, self.grid)
        taps = self.config.condition_kernel
        before = (taps - 1) // 2
        for number, channels in enumerate(self.config.condition_channels, start=1):
            kernel, bias = torch_conv_weights((taps, x.shape[-1], channels), f"conv_{number}")()
            x = jax.lax.conv_general_dilated(
                x,
                kernel,
                window_strides=(1,),
                padding=((before, taps - 1 - before),),
                dimension_numbers=("NWC", "WIO", "NWC"),
                precision=CONVOLUTIONS,
            ) + bias.reshape(1, 1, -1)
        bins = self.config.fft_size // 2 + 1
        gamma, beta = Dense(bins, name="gamma")(x), Dense(bins, name="beta")(x)
        return jnp.swapaxes(gamma, 1, 2), jnp.swapaxes(beta, 1, 2)


class ExactCondition(nn.Module):
    """γ and β by two dense layers each on the spectrum of harmonics of a raw amplitude of 1."""

    config: UnetConfig = UnetConfig()
    synth: SynthConfig = SynthConfig()

    @nn.compact
    def __call__(self, f0_hz: jax.Array) -> tuple[jax.Array, jax.Array]:
        """F0 [B, frames] → γ and β, each [B, 513, frames + 4]."""
        controls = harmonic_controls(jnp.ones_like(f0_hz), f0_hz, self.synth)
        source = harmonic_signal(controls, self.synth)
        x = jnp.swapaxes(magnitude_spectrogram(source, self.config), 1, 2)

        def layers(name: str) -> jax.Array:
            hidden = jnp.tanh(Dense(x.shape[-1], name=f"{name}_1")(x))
            out = nn.relu(Dense(x.shape[-1], name=f"{name}_2")(hidden))
            return jnp.swapaxes(out, 1, 2)

        return layers("gamma"), layers("beta")


def padded(audio: jax.Array, config: UnetConfig) -> jax.Array:
    """The signal with zeros after it, as many as a window lacks at the last whole hop."""
    end = config.fft_size - config.hop_samples
    return jnp.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(0, end)])
