"""What the cases of the device check compute with: sizes, sounds and weights of a seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.device_programs import on_cpu
from umss_jax import model
from umss_jax.config import (
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    SynthConfig,
    with_networks,
)
from umss_jax.train.config import LossConfig
from umss_jax.train.strategies import Strategy

_F0_HZ = np.float32([440.0, 330.0, 220.0, 110.0])


class Setting(NamedTuple):
    """What all cases are told."""

    small: bool
    out: Path
    reference: Path | None = None
    compile_only: bool = False

    @property
    def seconds(self) -> float:
        """Of an example."""
        return 0.512 if self.small else 4.0

    @property
    def model(self) -> ModelConfig:
        """The networks of the paper, or those of the starter weights in small."""
        config = ModelConfig()
        if not self.small:
            return config
        config = with_networks(config, "small-salience", "small-voices")
        return replace(
            config,
            encoder=EncoderConfig(hidden=16, latent=8),
            decoder=DecoderConfig(hidden=16, noise_bands=6, line_spectral_frequencies=6),
            synth=SynthConfig(harmonics=8),
            audio=replace(config.audio, example_samples=self.samples),
        )

    def loss(self, strategy: Strategy) -> LossConfig:
        """Of a strategy."""
        return replace(strategy.loss, fft_sizes=(256, 64)) if self.small else strategy.loss

    @property
    def samples(self) -> int:
        """Of an example."""
        return int(self.seconds * 16_000) // 256 * 256


def sung(examples: int, samples: int, seed: int = 0) -> np.ndarray:
    """Mixtures of four voices of eight harmonics that glide, [examples, samples], peak 1."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(samples) / 16_000
    glide = rng.uniform(-0.02, 0.02, (examples, 4, 1)) * time_s
    hz = _F0_HZ[None, :, None] * rng.uniform(0.9, 1.1, (examples, 4, 1)) * 2.0**glide
    cycles = np.cumsum(hz, axis=-1) / 16_000
    voices = sum(np.sin(2 * np.pi * k * cycles) / k for k in range(1, 9))
    mixture = np.sum(voices, axis=1) + 0.01 * rng.standard_normal((examples, samples))
    return (mixture / np.abs(mixture).max(axis=1, keepdims=True)).astype(np.float32)


def known_f0(examples: int, samples: int) -> np.ndarray:
    """F0 of the voices in :func:`sung` but for their glide, [examples, J, frames]."""
    return np.broadcast_to(_F0_HZ[None, :, None], (examples, 4, samples // 256)).copy()


def seeded_variables(config: ModelConfig, parts: tuple[str, ...], seed: int = 0) -> Any:
    """Weights of a seed, drawn on the CPU, so that they are the same on every device."""
    draw = jax.jit(lambda key: model.init_variables(key, config, parts))
    return on_cpu(draw, jax.random.key(seed))
