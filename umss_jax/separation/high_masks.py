"""What lies above the model's band (8 kHz), shared out among the voices that it separated below.

The recording is divided in two bands that sum to it: what the stems are made of, and the rest. Per
frame of 32 ms the rest is shared out by masks that depend on what the stems hold below:

- the level of each source is a weighted mean of its log powers in four bands from 2 to 7.4 kHz,
  which extrapolates the slope of its spectrum; at 7.2 kHz it is that of the highest band, so that
  shares go over smoothly. Where nobody sings, the residual below 8 kHz is one more source;
- a part of it is a comb around the harmonics of the voice's F0, as wide as the F0 is uncertain: a
  glide, or the error of a few cents that counts most at the highest harmonics, make it flat;
- more than 15 dB above what the voices have from 4 to 7.4 kHz is not sung (99.9 % of the energy of
  the 36 mixtures lies below 14 dB): the excess stays in the residual, as all does in silence.

Source: none. The weights follow a logistic regression of each voice's true share of the energy
above 8 kHz on its log powers below, of 36 mixtures of solo singers at 32 kHz, scaled to sum to 1.

Measured by ``experiments/full_band.py``: SI-SDR with stems cut at 8 kHz → of full band, and mean
error of a voice's energy above 8 kHz over pieces of 8 s. With true stems below 8 kHz, ChoralSynth
(13 pieces, which chose nothing; their MP3 end at 12 kHz) 35.3 → 36.9 dB, 3.3 dB; quartets of solo
singers 36.7 → 38.4 dB, 3.0 dB. Separated by the starter weights 4.10 → 4.13 dB, 4.2 dB, and
0.26 → 0.28 dB, 5.9 dB: what is wrong below is wrong above (on ChoralSynth the energies of these
stems from 4 to 7.4 kHz are off by 3.8 dB).
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from umss_jax.config import AudioConfig
from umss_jax.separation.config import HighBandConfig

WINDOWS_OVERLAP = 4
_HOP_UNIT = 16  # its powers of 2 keep the transforms fast at any rate


class Plan(NamedTuple):
    """What is the same for all frames of a recording."""

    rate_hz: int
    channels: int
    samples: int
    peak: float
    """Largest absolute sample of the recording."""
    audio: AudioConfig
    """Rate and hop of the model."""
    config: HighBandConfig = HighBandConfig()

    @property
    def hop(self) -> int:
        """Samples from one frame to the next, a quarter of a frame."""
        wanted = self.config.window_s * self.rate_hz / WINDOWS_OVERLAP
        return _HOP_UNIT * max(1, round(wanted / _HOP_UNIT))

    @property
    def frame(self) -> int:
        """Samples of a frame."""
        return WINDOWS_OVERLAP * self.hop

    @property
    def is_wider(self) -> bool:
        """Whether the recording has a band above that of the model."""
        return self.rate_hz > self.audio.sample_rate_hz

    @property
    def places(self) -> np.ndarray:
        """Frequency of every bin, 1 at the model's Nyquist frequency."""
        bins = np.arange(self.frame // 2 + 1)
        return bins * (2 * self.rate_hz / self.audio.sample_rate_hz / self.frame)


class Tones(NamedTuple):
    """Where the harmonics of the voices are, ``[J, frames]``."""

    f0_hz: np.ndarray
    """0 where there is no pitch, or one that begins or ends."""
    glide: np.ndarray
    """How fast it changes, as a part of itself per second."""

    def at(self, numbers: np.ndarray, plan: Plan) -> Tones:
        """At the middles of the frames of these numbers."""
        middles = numbers * plan.hop + plan.hop - plan.frame // 2
        step = plan.rate_hz * plan.audio.hop_samples
        nearest = (2 * middles * plan.audio.sample_rate_hz + step) // (2 * step)
        nearest = np.clip(nearest, 0, self.f0_hz.shape[1] - 1)
        return Tones(self.f0_hz[:, nearest], self.glide[:, nearest])


def steady_tones(f0_hz_synth: np.ndarray, plan: Plan) -> Tones:
    """Harmonics from F0 ``[J, frames]``: those between voiced frames, and how fast they glide."""
    f0_hz = np.pad(np.asarray(f0_hz_synth, np.float32), ((0, 0), (1, 1)))
    voiced = f0_hz > 0
    inside = voiced[:, 1:-1] & voiced[:, 2:] & voiced[:, :-2]
    logs = np.log(np.where(voiced, f0_hz, 1))
    glide = np.abs(logs[:, 2:] - logs[:, :-2]) / np.float32(2 * plan.audio.hop_s)
    return Tones(np.where(inside, f0_hz[:, 1:-1], 0), np.where(inside, glide, 0))


def upper_masks(sources: np.ndarray, upper: np.ndarray, tones: Tones, plan: Plan) -> np.ndarray:
    """Each voice's share of the upper band.

    Args:
        sources: powers ``[J + 1, T, F]`` of the stems and of what they leave, in the lower band.
        upper: powers ``[T, F]`` of what lies above it.
        tones: of the J voices in these T frames.
        plan: which recording.

    Returns:
        float32 ``[J, T, F]`` in [0, 1], at most 1 together; 0 where the lower band alone is.
    """
    config, places = plan.config, plan.places
    edges = np.searchsorted(places, config.edges)
    levels = np.stack(
        [sources[..., low:high].mean(axis=-1) for low, high in itertools.pairwise(edges)],
        axis=-1,
    )
    voices = levels[:-1, :, 1:] @ np.diff(edges)[1:] / np.diff(edges)[1:].sum()
    floor = np.square(config.floor * plan.peak) * plan.frame
    logs = np.log(levels + np.float32(max(floor, 1e-30)))
    bend = config.slope_db / 10 * np.log(10)
    logs[..., 0] = np.clip(logs[..., 0], logs[..., 1] - bend, logs[..., 1] + bend)
    first = int(np.searchsorted(places, config.first))
    weights = _weights(places[first:], config).astype(np.float32)
    expected = np.einsum("fk,jtk->jtf", weights, logs)
    expected = np.exp(expected - expected.max(axis=0))
    expected[:-1] *= _comb(tones, places[first:], plan)
    masks = np.zeros((len(sources) - 1, *upper.shape), np.float32)
    allowed = _sung_part(upper[:, first:], voices.sum(axis=0), places[first:], config)
    masks[..., first:] = expected[:-1] / expected.sum(axis=0) * allowed
    return masks


def _weights(places: np.ndarray, config: HighBandConfig) -> np.ndarray:
    """Of every band for the level in every bin, ``[F, bands]``: the highest's, then all."""
    begin, end = np.log(config.seam)
    away = np.clip((np.log(places) - begin) / (end - begin), 0, 1)[:, None]
    nearest = np.eye(len(config.weights))[-1]
    return np.asarray((1 - away) * nearest + away * np.asarray(config.weights))


def _comb(tones: Tones, places: np.ndarray, plan: Plan) -> np.ndarray:
    """Spectrum of harmonics over the level around, ``[J, T, F]``; 1 on average.

    A sum of normal distributions around the multiples of F0; one voice's overlap where the
    uncertainty comes near the F0, which makes the comb flat.
    """
    config = plan.config
    hz = (places * plan.audio.sample_rate_hz / 2).astype(np.float32)
    f0_hz = np.maximum(tones.f0_hz, 1)[..., None]
    width = hz * (config.f0_error + config.glide * config.window_s * tones.glide[..., None])
    width = np.minimum(np.hypot(config.lobe_hz, width), f0_hz / 2)
    distance = hz - f0_hz * np.round(hz / f0_hz)
    lobes = sum(np.exp(-0.5 * np.square((distance + k * f0_hz) / width)) for k in (-1, 0, 1))
    lobes = lobes * f0_hz / (width * np.float32(np.sqrt(2 * np.pi)))
    begin, end = config.comb_fade
    depth = config.comb * np.clip((end - places) / (end - begin), 0, 1).astype(np.float32)
    depth = depth * (tones.f0_hz[..., None] > 0)
    return np.asarray(1 + depth * (lobes - 1))


def _sung_part(
    upper: np.ndarray, voices: np.ndarray, places: np.ndarray, config: HighBandConfig
) -> np.ndarray:
    """Which part of the upper band's bins ``[T, F]`` voices of these powers ``[T]`` can explain."""
    bands = np.floor(places / config.band).astype(int)
    starts = np.flatnonzero(np.diff(bands, prepend=-1))
    counts = np.diff(starts, append=len(places))
    found = np.add.reduceat(upper, starts, axis=1) / counts
    most = voices[:, None] * np.float32(10 ** (config.ceiling_db / 10))
    return np.repeat(most / np.maximum(np.maximum(found, most), 1e-30), counts, axis=1)
