"""Separation of recordings of any length: overlapping segments, cross-faded, in constant memory.

An engine separates segments of a fixed length at the model's 16 kHz; this module cuts a stream of
blocks into such segments and joins what comes back. Every segment's stems sum to the segment, and
the two sides of a cross-fade weigh 1 together, so the joined stems sum to the recording there too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from umss_jax.audio.recording import StreamResampler
from umss_jax.audio.segments import (
    SegmentPlan,
    check_array,
    cross_fade,
    cut_segments,
    frame_times_s,
    heard_mixtures,
    plan_segments,
    resample_array,
    segment_seed,
)
from umss_jax.config import VOICES, AudioConfig
from umss_jax.separate.config import SeparationConfig


class SegmentResult(NamedTuple):
    """What an engine returns for B segments of S samples with C channels."""

    stems_16k: np.ndarray
    """float ``[B, J, C, S]``: every channel shared out among the voices, so the sum over J is
    ``channels_16k``; linear in ``channels_16k`` (masks do not depend on it)."""
    f0_hz_250: np.ndarray
    """float ``[B, J, S // 256]`` in Hz, 0 where unvoiced."""


class SegmentEngine(Protocol):
    """A model, ready to separate segments."""

    @property
    def name(self) -> str:
        """Name of the model: the folder its stems are written to."""

    @property
    def batch_segments(self) -> int:
        """Most segments it wants at once; it may get fewer."""

    @property
    def provenance(self) -> Mapping[str, object]:
        """For the manifest: device, assigner, weights and their hashes (JSON values)."""

    def separate(
        self, mixture_16k: np.ndarray, channels_16k: np.ndarray, seeds: np.ndarray
    ) -> SegmentResult:
        """Separates segments independently of each other.

        Args:
            mixture_16k: float32 ``[B, S]``, the mono mixture, each segment scaled to peak 1.
            channels_16k: float32 ``[B, C, S]``, the recording's channels as they are.
            seeds: uint32 ``[B]``, the only source of randomness of each segment.
        """


class SeparatedBlock(NamedTuple):
    """The next finished stretch of the recording, at 16 kHz."""

    stems_16k: np.ndarray
    """float32 ``[J, C, n]``."""
    f0_hz_250: np.ndarray
    """float32 ``[J, frames]``; frame i of the recording stands at i · 256/16 000 s."""


class Separation(NamedTuple):
    """A separated recording in memory, at its own rate. Stems and residual sum to it."""

    stems: np.ndarray
    """float32 ``[J, N]`` or ``[J, C, N]``, as the input had channels; voices S A T B."""
    residual: np.ndarray
    """float32, shaped like the input: above 8 kHz, or in silence."""
    f0_hz_250: np.ndarray
    """float32 ``[J, frames]`` in Hz, 0 where unvoiced."""
    time_s: np.ndarray
    """float64 ``[frames]``: the time of each F0."""
    sample_rate_hz: int

    @property
    def voices(self) -> dict[str, np.ndarray]:
        """Stems by name."""
        return dict(zip(VOICES, self.stems, strict=True))


def separate_blocks(
    blocks_16k: Iterable[np.ndarray],
    samples: int,
    downmix: tuple[float, ...],
    peak: float,
    engine: SegmentEngine,
    config: SeparationConfig | None = None,
) -> Iterator[SeparatedBlock]:
    """Separates a stream at 16 kHz; holds a few segments in memory, whatever its length.

    Each segment is scaled to peak 1 before the network hears it, as in training; the stems are
    the unscaled channels filtered, so levels are kept. Segments without sound are not sent to the
    engine: their stems are silent, their F0 0.

    Args:
        blocks_16k: float32 ``[C, n]`` blocks, ``samples`` in all.
        samples: Length in samples.
        downmix: Weight of every channel in the mono mixture.
        peak: Largest absolute sample of the recording, against which silence is judged.
        engine: The model.
        config: Segments, overlap and seed.

    Yields:
        One block per segment, in order, ``samples`` in all and ``ceil(samples / 256)`` F0 frames.

    Raises:
        ValueError: the engine returned other shapes than agreed, or samples that are no numbers.
    """
    config = config or SeparationConfig()
    plan = plan_segments(config)
    join = _Join(plan, samples)
    batch: list[np.ndarray] = []
    start = 0
    for segment in cut_segments(blocks_16k, samples, len(downmix), plan):
        batch.append(segment)
        if len(batch) == max(1, engine.batch_segments) or start + len(batch) == join.count:
            seeds = [segment_seed(config.seed, start + k) for k in range(len(batch))]
            for result in _separate_batch(batch, seeds, downmix, peak * config.silence, engine):
                yield join.push(*result)
            start += len(batch)
            batch = []


def separate_array(
    audio: np.ndarray,
    sample_rate_hz: int,
    engine: SegmentEngine,
    config: SeparationConfig | None = None,
) -> Separation:
    """Separates a recording that is in memory.

    Args:
        audio: ``[N]`` or ``[C, N]``, any rate; full scale is 1, but any level will do.
        sample_rate_hz: Its rate.
        engine: The model.
        config: Segments, overlap and seed.

    Returns:
        Stems, residual and F0, with as many channels and samples as ``audio``.

    Raises:
        AudioError: no samples, samples that are not numbers, or nothing but silence.
    """
    channels, downmix, peak = check_array(audio)
    count, samples = channels.shape
    rate_16k = AudioConfig().sample_rate_hz
    blocks_16k = [resample_array(channels, sample_rate_hz)]
    samples_16k = blocks_16k[0].shape[1]
    separated = list(separate_blocks(blocks_16k, samples_16k, downmix, peak, engine, config))
    stems_16k = np.concatenate([block.stems_16k for block in separated], axis=-1)
    up = StreamResampler(rate_16k, sample_rate_hz, len(VOICES) * count, samples)
    flat = stems_16k.reshape(-1, samples_16k)
    stems = np.concatenate([up.push(flat), up.finish()], axis=-1)
    stems = stems.reshape(len(VOICES), count, samples)
    residual = (channels - stems.sum(axis=0, dtype=np.float64)).astype(np.float32)
    f0 = np.concatenate([block.f0_hz_250 for block in separated], axis=-1)
    if np.ndim(audio) == 1:
        stems, residual = stems[:, 0], residual[0]
    return Separation(stems, residual, f0, frame_times_s(f0.shape[-1]), sample_rate_hz)


def segments_of_array(
    audio: np.ndarray, sample_rate_hz: int, config: SeparationConfig | None = None
) -> Iterator[tuple[float, np.ndarray, int]]:
    """The segments of a recording as the network hears them.

    Args:
        audio: ``[N]`` or ``[C, N]``.
        sample_rate_hz: Its rate.
        config: Segments, overlap and seed.

    Yields:
        Start in seconds, mono mixture ``[S]`` at 16 kHz scaled to peak 1 (silence stays silence),
        and seed of every segment.

    Raises:
        AudioError: as :func:`separate_array`.
    """
    config = config or SeparationConfig()
    channels, downmix, _ = check_array(audio)
    plan = plan_segments(config)
    channels_16k = resample_array(channels, sample_rate_hz)
    mixture = np.asarray(downmix, np.float32)[None] @ channels_16k
    segments = cut_segments([mixture], mixture.shape[1], 1, plan)
    for index, segment in enumerate(segments):
        peak = np.abs(segment[0]).max()
        start_s = index * plan.step / AudioConfig().sample_rate_hz
        yield start_s, segment[0] / (peak or 1), segment_seed(config.seed, index)


def _separate_batch(
    batch: list[np.ndarray],
    seeds: list[int],
    downmix: tuple[float, ...],
    silence_peak: float,
    engine: SegmentEngine,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stems ``[J, C, S]`` and F0 ``[J, frames]`` of each segment; silence spares the engine."""
    channels = np.stack(batch)
    heard, mixture = heard_mixtures(channels, downmix, silence_peak)
    frames = channels.shape[-1] // AudioConfig().hop_samples
    stems = np.zeros((len(batch), len(VOICES), *channels.shape[1:]), np.float32)
    f0_hz_250 = np.zeros((len(batch), len(VOICES), frames), np.float32)
    if len(heard):
        result = engine.separate(
            mixture,
            channels[heard],
            np.asarray(seeds, np.uint32)[heard],
        )
        for name, value, into in (("stems", result[0], stems), ("F0", result[1], f0_hz_250)):
            value = np.asarray(value)
            expected = (len(heard), *into.shape[1:])
            if value.shape != expected:
                raise ValueError(f"{name} of shape {value.shape}, expected {expected}")
            if not np.isfinite(value).all():
                raise ValueError(f"model {engine.name} returned {name} that are not numbers")
            into[heard] = value
    return list(zip(stems, f0_hz_250, strict=True))


class _Join:
    """Running cross-fade: keeps the overlap of the last segment, nothing else."""

    def __init__(self, plan: SegmentPlan, samples: int) -> None:
        self._plan = plan
        self._samples = samples
        self.count = plan.count(samples)
        self._index = 0
        self._stems_tail: np.ndarray | None = None
        self._f0_tail: np.ndarray | None = None
        self._fade_in = cross_fade(plan.overlap)

    def push(self, stems: np.ndarray, f0_hz_250: np.ndarray) -> SeparatedBlock:
        """Takes the next segment, returns what no later segment touches any more.

        Stems are cross-faded. F0 is not averaged between segments (two notes have no mean): the
        change-over is in the middle of the overlap.
        """
        plan = self._plan
        stems, f0_hz_250 = np.array(stems), np.array(f0_hz_250)
        if self._stems_tail is not None and self._f0_tail is not None:
            fade = self._fade_in
            stems[..., : plan.overlap] = (
                stems[..., : plan.overlap] * fade + self._stems_tail * fade[::-1]
            )
            half = plan.overlap // plan.frame_hop // 2
            f0_hz_250[:, :half] = self._f0_tail[:, :half]
        start = self._index * plan.step
        self._index += 1
        ready = plan.step if self._index < self.count else self._samples - start
        frames = plan.step // plan.frame_hop
        if self._index == self.count:
            frames = -(-ready // plan.frame_hop)
        else:
            self._stems_tail = stems[..., plan.step :]
            self._f0_tail = f0_hz_250[:, frames:]
        return SeparatedBlock(stems[..., :ready], f0_hz_250[:, :frames])
