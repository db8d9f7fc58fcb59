"""Refined masks: a small U-Net that sees the mixture beside the synthesised voices.

The synthesised voices are a first guess of each spectrum. One network, the same for every voice,
corrects the ratio of their powers where the mixture tells otherwise; a head beside it says what of
a bin nobody sings. This project's own; it works with any number of voices.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from umss_jax.config import ConvConfig, RefinerConfig
from umss_jax.networks.conv import Conv

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
        heard, own = jnp.log(mixture + _FLOOR), jnp.log(voices + _FLOOR)
        total = jnp.sum(voices, axis=1, keepdims=True)
        share = voices**2 / (jnp.sum(voices**2, axis=1, keepdims=True) + _FLOOR**2)
        height = jnp.linspace(-1.0, 1.0, bins)[None, None, :, None]
        together = jnp.broadcast_to(jnp.log(total + _FLOOR), own.shape)
        seen = jnp.stack(
            [
                _SCALE * jnp.broadcast_to(heard[:, None], own.shape),
                _SCALE * own,
                _SCALE * jnp.log(total - voices + _FLOOR),
                jnp.broadcast_to(heard[:, None], own.shape) - together,
                share,
                jnp.broadcast_to(height, own.shape),
            ],
            axis=-1,
        )
        features = self._unet(seen)
        corrected = nn.Dense(1, name="voice")(features)[..., 0]
        rest = nn.Dense(1, name="rest")(jnp.mean(features, axis=1))[..., 0]
        power = self.config.power
        logits = jnp.concatenate(
            [corrected + power * own, (rest + _REST_LOGIT + power * heard)[:, None]], axis=1
        )
        return jax.nn.softmax(logits, axis=1)

    def _unet(self, x: jax.Array) -> jax.Array:
        """Features [B, J, F, T, C] of the cells; F and T are padded to whole patches inside."""
        *_, bins, frames, _ = x.shape
        patch = patch_f, patch_t = self.config.patch_bins, self.config.patch_frames
        whole_f, whole_t = patch_f**2, patch_t**2
        padding = ((0, 0), (0, 0), (0, -bins % whole_f), (0, -frames % whole_t), (0, 0))
        x = jnp.pad(x, padding, mode="edge")
        fine, middle, coarse = self.config.channels
        top = self._block(x, fine, "fine_in")
        half = self._block(_merged(top, patch), middle, "middle_in")
        low = _merged(half, patch)
        for number in range(self.config.blocks):
            low = self._block(low, coarse, f"coarse_{number + 1}")
        half = half + _split(nn.Dense(middle * patch_f * patch_t, name="up_1")(low), patch)
        half = self._block(half, middle, "middle_out")
        top = top + _split(nn.Dense(fine * patch_f * patch_t, name="up_2")(half), patch)
        return self._block(top, fine, "fine_out")[..., :bins, :frames, :]

    def _block(self, x: jax.Array, channels: int, name: str) -> jax.Array:
        """A convolution of each voice, and the mean of all voices added; residual where it fits."""
        flat = x.reshape(-1, *x.shape[2:])
        flat = nn.LayerNorm(name=f"{name}_norm")(flat)
        y = Conv((3, 3, channels), self.conv, name=f"{name}_conv")(flat)
        y = y.reshape(*x.shape[:2], *y.shape[1:])
        others = nn.Dense(channels, use_bias=False, name=f"{name}_others")(jnp.mean(y, axis=1))
        y = jax.nn.relu(y + others[:, None])
        return x + y if x.shape == y.shape else y


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
