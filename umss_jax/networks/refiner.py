"""Refined masks: a small U-Net that sees the mixture beside the synthesised voices.

The synthesised voices are a first guess of each spectrum. One network, the same for every voice,
corrects the ratio of their powers where the mixture tells otherwise; a head beside it says what of
a bin nobody sings. This project's own; it works with any number of voices.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn

from umss_jax.config import ConvConfig, RefinerConfig
from umss_jax.networks.conv import Conv
from umss_jax.precision import DENSE

_Dense = partial(nn.Dense, precision=DENSE)
_FLOOR = 1e-3
"""Of magnitudes before their logarithm; a mixture of peak 1 reaches some hundreds."""
_REST_LOGIT = -5.0
_SCALE = 0.25


class Refiner(nn.Module):
    """Masks of voices and rest from magnitudes."""

    config: RefinerConfig = RefinerConfig()
    conv: ConvConfig = ConvConfig()

    @nn.compact
    def __call__(self, mixture: jax.Array, voices: jax.Array) -> jax.Array:
        """Masks [B, J + 1, F, T] in (0, 1), which sum to 1; the last is the rest's.

        Given are the magnitudes of the mixture [B, F, T] and of its voices [B, J, F, T].

        Raises:
            ValueError: if the spectra differ in bins or frames, or F is not ``fft_size / 2 + 1``.
        """
        batch, _, bins, frames = voices.shape
        if mixture.shape != (batch, bins, frames) or bins != self.config.fft_size // 2 + 1:
            raise ValueError(
                f"mixture {mixture.shape} and voices {voices.shape}: expected [B, F, T] and "
                f"[B, J, F, T] with F = {self.config.fft_size // 2 + 1}"
            )
        seen = self._seen(mixture, voices)
        features = self._unet(seen)
        patch = self.config.patch_bins, self.config.patch_frames
        cells = patch[0] * patch[1]
        zeros = nn.initializers.zeros
        corrected = _split(_Dense(cells, kernel_init=zeros, name="voice")(features), patch)
        together = jnp.mean(features, axis=1)
        rest = _split(_Dense(cells, kernel_init=zeros, name="rest")(together), patch)
        corrected, rest = corrected[..., :bins, :frames, 0], rest[..., :bins, :frames, 0]
        power = self.config.power
        guessed = power * jnp.log(voices + _FLOOR)
        rest = rest + _REST_LOGIT + power * jnp.log(mixture + _FLOOR)
        return jax.nn.softmax(jnp.concatenate([corrected + guessed, rest[:, None]], axis=1), axis=1)

    def _seen(self, mixture: jax.Array, voices: jax.Array) -> jax.Array:
        """What is known of each voice, [B, J, F', T', C]: whole patches of cells side by side."""
        heard, own = jnp.log(mixture + _FLOOR)[:, None], jnp.log(voices + _FLOOR)
        total = jnp.sum(voices, axis=1, keepdims=True)
        share = voices**2 / (jnp.sum(voices**2, axis=1, keepdims=True) + _FLOOR**2)
        height = jnp.linspace(-1.0, 1.0, voices.shape[2])[:, None]
        maps = (
            _SCALE * heard,
            _SCALE * own,
            _SCALE * jnp.log(total - voices + _FLOOR),
            heard - jnp.log(total + _FLOOR),
            share,
            height,
        )
        return jnp.concatenate([self._patches(jnp.broadcast_to(m, own.shape)) for m in maps], -1)

    def _patches(self, x: jax.Array) -> jax.Array:
        """[B, J, F, T] → [B, J, F', T', cells], padded so that the next level is whole as well."""
        patch = patch_f, patch_t = self.config.patch_bins, self.config.patch_frames
        bins, frames = x.shape[-2:]
        padding = ((0, 0), (0, 0), (0, -bins % patch_f**2), (0, -frames % patch_t**2))
        return _merged(jnp.pad(x, padding, mode="edge")[..., None], patch)

    def _unet(self, x: jax.Array) -> jax.Array:
        """Features [B, J, F', T', C] of the patches."""
        patch = self.config.patch_bins, self.config.patch_frames
        fine, coarse = self.config.channels
        x = self._block(_Dense(fine, name="enter")(x), fine, "down")
        low = _Dense(coarse, name="lower")(_merged(x, patch))
        for number in range(self.config.blocks):
            low = self._block(low, coarse, f"low_{number + 1}")
        raised = _Dense(fine * patch[0] * patch[1], name="raise")(low)
        return self._block(x + _split(raised, patch), fine, "up")

    def _block(self, x: jax.Array, channels: int, name: str) -> jax.Array:
        """A residual convolution of each voice, to which the mean of all voices is added."""
        flat = x.reshape(-1, *x.shape[2:])
        flat = nn.LayerNorm(name=f"{name}_norm")(flat)
        y = Conv((3, 3, channels), self.conv, name=f"{name}_conv")(flat)
        y = y.reshape(*x.shape[:2], *y.shape[1:])
        others = _Dense(channels, use_bias=False, name=f"{name}_others")(jnp.mean(y, axis=1))
        y = jax.nn.relu(y + others[:, None])
        return x + _Dense(channels, name=f"{name}_out")(y)


def _merged(x: jax.Array, patch: tuple[int, int]) -> jax.Array:
    """[..., F, T, C] → [..., F / f, T / t, f·t·C]."""
    *lead, bins, frames, channels = x.shape
    f, t = patch
    x = x.reshape(*lead, bins // f, f, frames // t, t, channels)
    x = jnp.moveaxis(x, -4, -3)
    return x.reshape(*lead, bins // f, frames // t, f * t * channels)


def _split(x: jax.Array, patch: tuple[int, int]) -> jax.Array:
    """The inverse of :func:`_merged`."""
    *lead, bins, frames, channels = x.shape
    f, t = patch
    x = x.reshape(*lead, bins, frames, f, t, channels // (f * t))
    x = jnp.moveaxis(x, -3, -4)
    return x.reshape(*lead, bins * f, frames * t, channels // (f * t))
