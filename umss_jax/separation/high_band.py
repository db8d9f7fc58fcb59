"""What lies above the model's band (8 kHz), shared out among the voices that it separated below.

The recording is divided in two bands that sum to it: what the stems are made of, and the rest. Per
frame of 32 ms the rest is shared out by masks that depend on what the stems hold below:

- the level of each source is a weighted mean of its log powers in four bands from 2 to 7.4 kHz,
  which extrapolates the slope of its spectrum; at 7.2 kHz it is that of the highest band, so that
  shares go over smoothly. Where nobody sings, the residual below 8 kHz is one more source;
- a part of it is a comb around the harmonics of the voice's F0, as wide as the F0 is uncertain: a
  glide, or the error of a few cents that counts most at the highest harmonics, make it flat;
- more than 15 dB above what the voices have from 4 to 7.4 kHz is not sung (99.9 % of the energy of
  sung quartets lies below 12 dB): the excess stays in the residual, as all does in silence.

Source: none; the weights are a logistic regression of each voice's true share of the energy above
8 kHz on its log powers below, of 36 mixtures of solo singers at 32 kHz (oracle stems below 8 kHz).
There the mean error of a voice's energy above 8 kHz was {ORACLE}.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.fft

from umss_jax.audio.config import FileConfig
from umss_jax.audio.resampling import StreamResampler, block_length, resampled_samples
from umss_jax.config import VOICES, AudioConfig
from umss_jax.interruption import check
from umss_jax.separation.config import HighBandConfig

_WINDOWS_OVERLAP = 4
_HANN_SQUARES = 1.5  # sum of the squares of periodic Hann windows a quarter apart


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
        wanted = self.config.window_s * self.rate_hz / _WINDOWS_OVERLAP
        return int(scipy.fft.next_fast_len(max(1, round(wanted)), real=True))

    @property
    def frame(self) -> int:
        """Samples of a frame."""
        return _WINDOWS_OVERLAP * self.hop

    @property
    def is_wider(self) -> bool:
        """Whether the recording has a band above that of the model."""
        return self.rate_hz > self.audio.sample_rate_hz

    @property
    def places(self) -> np.ndarray:
        """Frequency of every bin, 1 at the model's Nyquist frequency."""
        bins = np.arange(self.frame // 2 + 1)
        return bins * (2 * self.rate_hz / self.audio.sample_rate_hz / self.frame)


class BandSharer:
    """Brings stems of the model's band to the recording's, block by block.

    Args:
        plan: the recording, and how it is shared out.
        f0_hz_synth: float ``[J, frames]`` of the whole recording, 0 where unvoiced.
        full_band: whether stems get their part of the upper band; else they stay as they are.
    """

    def __init__(self, plan: Plan, f0_hz_synth: np.ndarray, full_band: bool = True) -> None:
        self._plan = plan
        self._tones = steady_tones(f0_hz_synth, plan)
        self._shares_out = full_band and plan.is_wider
        self._left, self._energy = 0.0, 0.0

    @property
    def residual(self) -> float:
        """Share of the energy in the model's band that no stem holds, of all blocks so far."""
        return self._left / (self._energy or 1.0)

    def share_out(
        self, recording: Iterable[np.ndarray], stems: Iterable[np.ndarray]
    ) -> Iterator[np.ndarray]:
        """The stems with their share of the upper band.

        Args:
            recording: blocks ``[C, n]`` of any length, ``plan.samples`` in all.
            stems: blocks ``[J · C, n]`` at the recording's rate with the model's band only.

        Yields:
            float32 ``[J · C, n]``, ``plan.samples`` in all; the stems themselves where the rate is
            the model's or lower, or where the upper band is not shared out.
        """
        plan = self._plan
        rows = len(VOICES) * plan.channels
        count = frames_at_once(plan)
        fed = _in_step(
            (_both_bands(recording, plan), stems), (2 * plan.channels, rows), count * plan.hop
        )
        past = np.zeros((2 * plan.channels + rows, plan.frame - plan.hop), np.float32)
        tail = np.zeros((rows, plan.frame - plan.hop), np.float32)
        skipped, left, number = plan.frame - plan.hop, plan.samples, 0
        while left > 0:
            check()
            present = np.concatenate([past, np.concatenate(next(fed))], axis=1)
            past = present[:, count * plan.hop :]
            ready = present[2 * plan.channels :, : count * plan.hop]
            if self._shares_out:
                upper = self._upper(present, number)
                upper[:, : tail.shape[1]] += tail
                tail = upper[:, count * plan.hop :]
                ready = ready + upper[:, : count * plan.hop]
            number += count
            drop = min(skipped, ready.shape[1])
            skipped -= drop
            self._measure(present[:, drop : count * plan.hop][:, :left])
            ready = ready[:, drop:][:, :left]
            left -= ready.shape[1]
            yield ready

    def _measure(self, present: np.ndarray) -> None:
        channels = self._plan.channels
        lower = present[channels : 2 * channels].astype(np.float64)
        sung = present[2 * channels :].reshape(len(VOICES), channels, -1).sum(axis=0)
        self._energy += float(np.vdot(lower, lower))
        self._left += float(np.square(lower - sung).sum())

    def _upper(self, present: np.ndarray, number: int) -> np.ndarray:
        """Every stem's part of the upper band in the frames from ``number`` on, overlapped."""
        plan, channels = self._plan, self._plan.channels
        window = np.hanning(plan.frame + 1)[:-1].astype(np.float32)
        framed = np.lib.stride_tricks.sliding_window_view(present, plan.frame, axis=1)
        spectrum = scipy.fft.rfft(framed[:, :: plan.hop] * window)
        upper, lower = spectrum[:channels], spectrum[channels : 2 * channels]
        stems = spectrum[2 * channels :].reshape(len(VOICES), channels, *spectrum.shape[1:])
        sources = np.concatenate([stems, (lower - stems.sum(axis=0))[None]])
        at = self._tones.at(number + np.arange(spectrum.shape[1]), plan)
        masks = upper_masks(_power(sources), _power(upper), at, plan)
        parts = scipy.fft.irfft(masks[:, None] * upper, n=plan.frame) * (window / _HANN_SQUARES)
        parts = parts.reshape(-1, *parts.shape[2:]).astype(np.float32)
        frames, hop = parts.shape[1], plan.hop
        summed = np.zeros((len(parts), (frames - 1) * hop + plan.frame), np.float32)
        for k in range(frames):
            summed[:, k * hop : k * hop + plan.frame] += parts[:, k]
        return summed


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


def _power(spectrum: np.ndarray) -> np.ndarray:
    """Of all channels ``[..., C, T, F]`` together."""
    squares = np.square(spectrum.real) + np.square(spectrum.imag)
    return np.asarray(squares.sum(axis=-3))


def frames_at_once(plan: Plan) -> int:
    """How many frames are computed at a time: a function of the recording alone.

    So results do not depend on how it is read.
    """
    rows = 2 * _WINDOWS_OVERLAP * (len(VOICES) + 2) * plan.channels
    return max(1, block_length(rows, 1, 1, FileConfig.block_samples // 4) // plan.hop)


def _both_bands(recording: Iterable[np.ndarray], plan: Plan) -> Iterator[np.ndarray]:
    """The upper and the lower band of a recording, ``[2 C, n]``.

    The lower is what came to the model and back by the resamplers of the stems, the upper the rest.
    """
    rate_hz, rate_16k = plan.rate_hz, plan.audio.sample_rate_hz
    samples_16k = resampled_samples(plan.samples, rate_hz, rate_16k)
    down = StreamResampler(rate_hz, rate_16k, plan.channels, samples_16k)
    up = StreamResampler(rate_16k, rate_hz, plan.channels, plan.samples)
    waiting = np.zeros((plan.channels, 0), np.float32)

    def bands(lower: np.ndarray) -> np.ndarray:
        nonlocal waiting
        length = lower.shape[1]
        whole, waiting = waiting[:, :length], waiting[:, length:]
        return np.concatenate([whole - lower, lower])

    for block in recording:
        waiting = np.concatenate([waiting, block], axis=1)
        yield bands(up.push(down.push(block)))
    yield bands(up.push(down.finish()))
    yield bands(up.finish())


def _in_step(
    streams: tuple[Iterator[np.ndarray] | Iterable[np.ndarray], ...],
    rows: tuple[int, ...],
    length: int,
) -> Iterator[list[np.ndarray]]:
    """Streams of blocks in step: ``length`` samples of each at a time, silence after their ends."""
    sources = [iter(stream) for stream in streams]
    held = [np.zeros((count, 0), np.float32) for count in rows]
    while True:
        for index, source in enumerate(sources):
            pieces, missing = [held[index]], length - held[index].shape[1]
            while missing > 0:
                piece = next(source, None)
                if piece is None:
                    piece = np.zeros((rows[index], missing), np.float32)
                pieces.append(piece)
                missing -= piece.shape[1]
            if len(pieces) > 1:  # a recording in memory is one piece, not to be copied every time
                held[index] = np.concatenate(pieces, axis=1)
        yield [block[:, :length] for block in held]
        held = [block[:, length:] for block in held]
