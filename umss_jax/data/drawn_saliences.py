"""Saliences drawn from pitch alone, with the faults of a network that listens.

The assignment network can learn from any score this way, whoever sings it. How high, wide and
steady peaks are, and what else is seen at simple ratios to them, is as the published Late/Deep
network shows it in mixes of recorded and of re-sung voices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umss_jax.config import HcqtConfig
from umss_jax.data.alterations import silent_voices
from umss_jax.data.config import DrawnSalienceConfig
from umss_jax.data.pitched_mixes import SalienceExample, SalienceMixes, stacked
from umss_jax.data.sung_scores import Voices, sung_pitch, wander

_FAR = -1000.0  # bins, of what is silent
_REACH = 9  # bins to either side of a peak; beyond is less than 2e-8 of its height


class BlendedSaliences:
    """Examples by index, of which a share is drawn and the rest heard."""

    def __init__(
        self, drawn: DrawnSaliences, heard: SalienceMixes, share: float, seed: int
    ) -> None:
        self._drawn, self._heard, self._share, self._seed = drawn, heard, share, seed

    def batch(self, first: int, count: int) -> SalienceExample:
        """Some examples, stacked."""
        return stacked([self.example(first + number) for number in range(count)])

    def example(self, index: int) -> SalienceExample:
        """The example of an index."""
        is_drawn = np.random.default_rng([self._seed, index, 2]).uniform() < self._share
        return (self._drawn if is_drawn else self._heard).example(index)


class DrawnSaliences:
    """Examples by index; see :class:`umss_jax.data.pitched_mixes.SalienceMixes`.

    Args:
        scores: from :func:`umss_jax.data.sung_scores.open_scores`.
        seed: of everything random.
        frames: of an example.
        config: how they are sung and drawn.
        grid: bins and frames.
    """

    def __init__(
        self,
        scores: Sequence[Voices],
        seed: int,
        frames: int,
        config: DrawnSalienceConfig,
        *,
        grid: HcqtConfig,
    ) -> None:
        self._scores, self._seed, self._frames = scores, seed, frames
        self._config, self._grid = config, grid

    def example(self, index: int) -> SalienceExample:
        """The example of an index."""
        config, grid = self._config, self._grid
        rng = np.random.default_rng([self._seed, index])
        frame_s = grid.hop_samples / grid.sample_rate_hz
        pitch = sung_pitch(self._scores, rng, self._frames, frame_s, config.sung)
        pitch[silent_voices(len(pitch), rng, config.voices_probability)] = 0
        f0_hz = np.where(pitch > 0, 440.0 * 2 ** ((pitch - 69.0) / 12.0), 0.0)
        salience = self._drawn(pitch, f0_hz, rng)
        return SalienceExample(salience.astype(np.float32), f0_hz.astype(np.float32))

    def _drawn(self, pitch: np.ndarray, f0_hz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Salience [bins, frames] of voices."""
        config, grid, frames = self._config, self._grid, self._frames
        octaves = np.log2(np.maximum(f0_hz, 1.0) / grid.fmin_hz)
        places = np.where(f0_hz > 0, octaves * grid.bins_per_octave, _FAR)
        padded = np.zeros((grid.bins + 4 * _REACH, frames))
        ease = rng.normal(0, config.example_logit)
        for voice in range(len(places)):
            is_sung = f0_hz[voice] > 0
            if not is_sung.any():
                continue
            logit = config.peak_logit + ease + self._faults(pitch[voice], rng)
            offset = config.offset_bins * (wander(rng, frames, 20) + rng.normal())
            width = rng.uniform(*config.width_bins)

            def peak(logit: np.ndarray, place: np.ndarray, is_seen: np.ndarray) -> None:
                nearest = np.round(place).astype(int)
                seen = np.flatnonzero(
                    is_seen & (nearest > -_REACH) & (nearest < grid.bins + _REACH)
                )
                bins = nearest[seen] + np.arange(-_REACH, _REACH + 1)[:, None]
                distance = (bins - place[seen]) / width  # noqa: B023
                value = np.exp(-0.5 * distance**2) / (1.0 + np.exp(-logit[seen]))
                at = (bins + 2 * _REACH, seen)
                padded[at] = np.maximum(padded[at], value)

            peak(logit, places[voice] + offset, is_sung)
            for ratio, share in zip(config.ghost_ratios, config.ghost_shares, strict=True):
                if rng.uniform() < config.ghost_probability:
                    strength = wander(rng, frames, 8)
                    most = min(0.9, share * rng.exponential(config.ghost_spread))
                    above = strength - np.quantile(strength, 1.0 - most)
                    step = grid.bins_per_octave * np.log2(ratio)
                    logit = config.ghost_logit + 1.2 * above
                    peak(logit, places[voice] + offset + step, is_sung & (above > 0))
        salience = padded[2 * _REACH : -2 * _REACH]
        salience *= 1.0 - 0.05 * rng.uniform(size=salience.shape)
        if rng.uniform() < config.dropout_probability:
            first, length = int(rng.integers(frames)), int(rng.integers(4, 14))
            salience[:, first : first + length] *= rng.uniform()
        return salience

    def _faults(self, pitch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """How much better or worse than usual a voice is seen: logits [frames]."""
        config, frames = self._config, self._frames
        is_sung = pitch > 0
        note = np.cumsum(np.concatenate([[0], np.diff(np.round(pitch)) != 0]).astype(int))
        of_note = rng.normal(0, config.note_logit, note.max() + 1)[note]
        of_frame = config.frame_logit * wander(rng, frames, config.frame_memory)
        # Weak where a note begins or ends.
        edge = 1.0 - np.convolve(is_sung.astype(float), np.full(7, 1 / 7), "same")
        faults: np.ndarray = rng.normal(0, config.voice_logit) + of_note + of_frame - 5.0 * edge
        return faults
