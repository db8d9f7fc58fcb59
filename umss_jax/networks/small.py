"""Small F0 networks: a small part of the arithmetic of Late/Deep and VoasCNN.

This project's own, with the interfaces of :mod:`umss_jax.networks.salience` and
:mod:`umss_jax.networks.assignment`. `SmallSalience` looks at harmonics and subharmonics of each
pitch where they lie on the logarithmic grid (after HarmoF0: Wei, Li, Yu, Li 2022) instead of
learning long filters, takes two frames at once, and follows what is held for a second.
`SmallVoices` works on a coarse grid, where it counts the voices above and below each pitch and sees
a second and a half, and adds what it finds to the salience. `WideVoices` is the same with more
channels and twice the context. None has normalisation with statistics.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from umss_jax.config import VOICES, ConvConfig
from umss_jax.dsp.interpolation import interpolation_matrix
from umss_jax.networks.conv import Conv, over_batch, worth_keeping
from umss_jax.precision import CONVOLUTIONS, SIGNALS

_BINS_PER_OCTAVE = 60
_RATIOS = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 1.0, 3 / 2, 2.0, 3.0)
_OFFSETS = tuple(round(_BINS_PER_OCTAVE * float(np.log2(ratio))) for ratio in _RATIOS)
_PAIR = 2  # frames in one step of the salience network
_POOL = 4  # bins, and frames, in one cell of the assignment network
_HELD_DILATIONS = (2, 4, 8)
_PEAK_MASS = 2.5  # of a pitch blurred by a Gaussian of one bin
_FLOOR = 1e-4


class _Harmonics(nn.Module):
    """At each bin a few channels of the bins that lie at simple frequency ratios, mixed."""

    channels: int
    config: ConvConfig = ConvConfig()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B, F, T, C] to [B, F, T, channels]."""
        reach = max(abs(offset) for offset in _OFFSETS)
        x = Conv((1, 1, 8), self.config, name="gathered")(x)
        padded = jnp.pad(x, ((0, 0), (reach, reach), (0, 0), (0, 0)))
        bins = x.shape[1]
        seen = [padded[:, reach + o : reach + o + bins] for o in _OFFSETS]
        together = jnp.concatenate(seen, axis=-1)
        shape = (together.shape[-1], self.channels)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        mixed = jnp.einsum("bftc,co->bfto", together, kernel, precision=CONVOLUTIONS)
        return worth_keeping(mixed + bias.reshape(1, 1, 1, -1))


class SmallSalience(nn.Module):
    """Salience from the magnitude of the HCQT alone (47 666 parameters)."""

    config: ConvConfig = ConvConfig()
    with_phase: bool = False

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Magnitudes [B, 5, 360, T] in dB of the maximum → salience [B, 360, T] in (0, 1)."""
        return over_batch(self, SmallSalience._compute, features, config=self.config)

    def _compute(self, features: jax.Array) -> jax.Array:
        batch, harmonics, bins, frames = features.shape
        whole = max(_HELD_DILATIONS)
        pairs = -(-frames // (whole * _PAIR)) * whole
        x = jnp.pad(features, ((0, 0), (0, 0), (0, 0), (0, pairs * _PAIR - frames)), mode="edge")
        x = 1.0 + x / 40.0
        x = x.reshape(batch, harmonics, bins, pairs, _PAIR)
        x = x.transpose(0, 2, 3, 1, 4).reshape(batch, bins, pairs, harmonics * _PAIR)

        def conv(x: jax.Array, size: tuple[int, int, int], name: str) -> jax.Array:
            return jax.nn.relu(Conv(size, self.config, name=name)(x))

        x = conv(x, (5, 3, 24), "conv_1")
        x = conv(x, (3, 3, 24), "conv_2")
        x = jax.nn.relu(_Harmonics(32, self.config, name="harmonics_1")(x))
        x = conv(x, (3, 3, 28), "conv_3")
        x = x + conv(x, (3, 3, 28), "conv_4")
        x = x + jax.nn.relu(_Harmonics(28, self.config, name="harmonics_2")(x))
        for number, dilation in enumerate(_HELD_DILATIONS, start=1):
            held = Conv((1, 3, 28), self.config, name=f"held_{number}")
            x = x + jax.nn.relu(_dilated(held, x, dilation))
        x = x + conv(x, (3, 3, 28), "conv_5")
        x = conv(x, (3, 3, 20), "conv_6")
        x = Conv((1, 1, _PAIR), self.config, name="output")(x)
        # Few bins are pitches: begin near that share, not at one half.
        x = x - 4.0
        salience: jax.Array = jax.nn.sigmoid(x.reshape(batch, bins, pairs * _PAIR)[..., :frames])
        return salience


class SmallVoices(nn.Module):
    """Assignment of a salience to voices (55 504 parameters for four)."""

    config: ConvConfig = ConvConfig()
    voices: int = len(VOICES)
    channels: int = 32
    dilations: tuple[int, ...] = (1, 2, 4, 8)

    @nn.compact
    def __call__(self, salience: jax.Array) -> jax.Array:
        """Assign the salience to voices, as :class:`umss_jax.networks.assignment.VoasNetwork`."""
        return over_batch(self, SmallVoices._compute, salience, config=self.config)

    def _compute(self, salience: jax.Array) -> jax.Array:
        frames = salience.shape[-1]
        whole = _POOL * max(self.dilations)
        padded = jnp.pad(salience, ((0, 0), (0, 0), (0, -frames % whole)))
        x = self._cells(padded)
        x = jax.nn.relu(Conv((3, 3, self.channels), self.config, name="conv_1")(x))
        x = x + jax.nn.relu(Conv((15, 1, self.channels), self.config, name="conv_2")(x))
        for number, dilation in enumerate(self.dilations, start=1):
            conv = Conv((3, 3, self.channels), self.config, name=f"dilated_{number}")
            x = x + jax.nn.relu(_dilated(conv, x, dilation))
        x = Conv((1, 1, self.voices), self.config, name="output")(x)
        weight = self.param("salience_weight", nn.initializers.ones, (self.voices,))
        logit = jnp.log((padded + _FLOOR) / (1.0 - padded + _FLOOR))
        over_bins, over_frames = (
            jnp.asarray(interpolation_matrix(cells, _POOL * cells))
            for cells in (x.shape[1], x.shape[2])
        )
        wide = jnp.einsum("bctj,fc->bjft", x, over_bins, precision=SIGNALS)
        added = jnp.einsum("bjfc,tc->bjft", wide, over_frames, precision=SIGNALS)
        assigned = jax.nn.sigmoid(weight.reshape(1, -1, 1, 1) * logit[:, None] + added)
        return assigned[..., :frames]

    def _cells(self, salience: jax.Array) -> jax.Array:
        """What is known of each cell: its peak, its mass, the voices below and above, its place."""
        batch, bins, frames = salience.shape
        cells = salience.reshape(batch, bins // _POOL, _POOL, frames // _POOL, _POOL)
        mass = jnp.sum(cells, axis=(2, 4)) / (_POOL * _PEAK_MASS)
        below = jnp.cumsum(mass, axis=1) - 0.5 * mass
        total = jnp.broadcast_to(jnp.sum(mass, axis=1, keepdims=True), mass.shape)
        known = jnp.stack([jnp.max(cells, axis=(2, 4)), mass, below, total - below, total], axis=-1)
        place = self.param("place", nn.initializers.normal(0.1), (bins // _POOL, 4))
        place = jnp.broadcast_to(place[None, :, None], (*mass.shape, 4))
        return jnp.concatenate([known, place], axis=-1)


class WideVoices(SmallVoices):
    """Assignment of a salience to voices (205 376 parameters for four)."""

    channels: int = 48
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8)


def _dilated(conv: Conv, x: jax.Array, dilation: int) -> jax.Array:
    """A convolution whose taps lie ``dilation`` cells apart in time: each phase by itself."""
    batch, bins, cells, channels = x.shape
    phases = x.reshape(batch, bins, cells // dilation, dilation, channels)
    phases = jnp.moveaxis(phases, 3, 1).reshape(-1, bins, cells // dilation, channels)
    y = conv(phases).reshape(batch, dilation, bins, cells // dilation, -1)
    return jnp.moveaxis(y, 1, 3).reshape(batch, bins, cells, -1)
