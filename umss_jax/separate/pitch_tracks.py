"""Pitch tracks of recordings of any length: overlapping segments, joined in constant memory.

An engine finds the pitches of segments of a fixed length; this module cuts a stream of blocks into
such segments and joins what comes back. Where two overlap, their saliences are cross-faded; pitches
change over in the middle (two notes have no mean).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from umss_jax.audio.segments import (
    SegmentPlan,
    check_array,
    cross_fade,
    cut_segments,
    frame_times_s,
    heard_mixtures,
    plan_segments,
    resample_array,
)
from umss_jax.separate.config import SeparationConfig


class SegmentPitches(NamedTuple):
    """What an engine returns for B segments."""

    f0_hz_250: Sequence[np.ndarray]
    """B of ``[N, frames]`` in Hz: a row per voice, or, with nobody to give them to, as many rows
    as any frame has pitches, ascending. 0 is no pitch."""
    salience_250: np.ndarray
    """float ``[B, bins, frames]`` in [0, 1]."""


class PitchEngine(Protocol):
    """F0 networks, ready to hear segments."""

    @property
    def name(self) -> str:
        """Name of the model."""

    @property
    def batch_segments(self) -> int:
        """Most segments it wants at once; it may get fewer."""

    @property
    def provenance(self) -> Mapping[str, object]:
        """Device, assigner, weights and their hashes."""

    @property
    def voices(self) -> tuple[str, ...]:
        """Names of the rows; none where the pitches are given to nobody."""

    @property
    def frequencies_hz(self) -> np.ndarray:
        """``[bins]``, of the rows of the salience."""

    def pitches(self, mixture_16k: np.ndarray) -> SegmentPitches:
        """Pitches of segments, independently of each other.

        Args:
            mixture_16k: float32 ``[B, S]``, each segment scaled to peak 1.
        """


class PitchBlock(NamedTuple):
    """The next finished stretch of a recording; fields as in :class:`SegmentPitches`."""

    f0_hz_250: np.ndarray
    """``[N, frames]``; N differs between blocks where the pitches are given to nobody. They are
    then the peaks of one segment's salience, not of a cross-faded one."""
    salience_250: np.ndarray
    """``[bins, frames]``."""


class PitchTracks(NamedTuple):
    """The pitches of a recording in memory."""

    f0_hz_250: np.ndarray
    """float32 ``[N, frames]`` in Hz, 0 where there is no pitch."""
    salience_250: np.ndarray
    """float32 ``[bins, frames]``."""
    time_s: np.ndarray
    """float64 ``[frames]``."""
    frequencies_hz: np.ndarray
    """float64 ``[bins]``."""


def track_blocks(
    blocks_16k: Iterable[np.ndarray],
    samples: int,
    downmix: tuple[float, ...],
    peak: float,
    engine: PitchEngine,
    config: SeparationConfig | None = None,
) -> Iterator[PitchBlock]:
    """Finds the pitches of a stream at 16 kHz; holds a few segments in memory.

    Each segment is scaled to peak 1 before the networks hear it, as in training. Segments without
    sound are not sent to the engine: they have neither pitch nor salience.

    Args:
        blocks_16k: float32 ``[C, n]`` blocks, ``samples`` in all.
        samples: Length in samples.
        downmix: Weight of every channel in the mono mixture.
        peak: Largest absolute sample of the recording, against which silence is judged.
        engine: The networks.
        config: Segments and overlap.

    Yields:
        One block per segment, in order, ``ceil(samples / 256)`` frames in all; frame i stands at
        i · 256/16 000 s.

    Raises:
        ValueError: the engine returned other shapes than agreed, or pitches that are no numbers.
    """
    config = config or SeparationConfig()
    plan = plan_segments(config)
    join = _Join(plan, samples)
    batch: list[np.ndarray] = []
    start = 0
    for segment in cut_segments(blocks_16k, samples, len(downmix), plan):
        batch.append(segment)
        if len(batch) == max(1, engine.batch_segments) or start + len(batch) == join.count:
            stacked = np.stack(batch)
            for found in _track_batch(stacked, downmix, peak * config.silence, plan, engine):
                yield join.push(found)
            start += len(batch)
            batch = []


def track_array(
    audio: np.ndarray,
    sample_rate_hz: int,
    engine: PitchEngine,
    config: SeparationConfig | None = None,
) -> PitchTracks:
    """Finds the pitches of a recording that is in memory.

    Args:
        audio: ``[N]`` or ``[C, N]``, any rate; full scale is 1, but any level will do.
        sample_rate_hz: Its rate.
        engine: The networks.
        config: Segments and overlap.

    Raises:
        AudioError: no samples, samples that are not numbers, or nothing but silence.
    """
    channels, downmix, peak = check_array(audio)
    channels_16k = resample_array(channels, sample_rate_hz)
    samples = channels_16k.shape[1]
    blocks = list(track_blocks([channels_16k], samples, downmix, peak, engine, config))
    f0_hz_250 = concatenate_tracks([block.f0_hz_250 for block in blocks])
    salience = np.concatenate([block.salience_250 for block in blocks], axis=1)
    times = frame_times_s(f0_hz_250.shape[1])
    return PitchTracks(f0_hz_250, salience, times, engine.frequencies_hz)


def concatenate_tracks(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """``[N, frames]`` arrays one after the other; rows that are missing in some are 0 there."""
    rows = max(len(block) for block in blocks)
    return np.concatenate(
        [np.pad(block, ((0, rows - len(block)), (0, 0))) for block in blocks], axis=1
    )


class _Join:
    """Keeps what the last segment found in the overlap, nothing else."""

    def __init__(self, plan: SegmentPlan, samples: int) -> None:
        self.count = plan.count(samples)
        self._index = 0
        self._step = plan.step // plan.frame_hop
        self._frames = -(-samples // plan.frame_hop)
        self._fade_in = cross_fade(plan.overlap // plan.frame_hop)
        self._tail: PitchBlock | None = None

    def push(self, found: PitchBlock) -> PitchBlock:
        """Takes the next segment, returns the frames that no later segment touches any more."""
        f0_hz, salience = found
        if self._tail is not None:
            overlap = len(self._fade_in)
            f0_hz = concatenate_tracks(
                [self._tail.f0_hz_250[:, : overlap // 2], f0_hz[:, overlap // 2 :]]
            )
            faded = salience[:, :overlap] * self._fade_in
            faded += self._tail.salience_250 * self._fade_in[::-1]
            salience = np.concatenate([faded, salience[:, overlap:]], axis=1)
        self._index += 1
        if self._index == self.count:
            ready = self._frames - (self.count - 1) * self._step
        else:
            ready = self._step
            self._tail = PitchBlock(f0_hz[:, ready:], salience[:, ready:])
        return PitchBlock(f0_hz[:, :ready], salience[:, :ready])


def _track_batch(
    channels: np.ndarray,
    downmix: tuple[float, ...],
    silence_peak: float,
    plan: SegmentPlan,
    engine: PitchEngine,
) -> list[PitchBlock]:
    """Pitches of whole segments ``[B, C, S]``; silence spares the engine."""
    heard, mixture = heard_mixtures(channels, downmix, silence_peak)
    frames = plan.segment // plan.frame_hop
    bins = len(engine.frequencies_hz)
    silent = PitchBlock(
        np.zeros((len(engine.voices), frames), np.float32), np.zeros((bins, frames), np.float32)
    )
    blocks = [silent] * len(channels)
    if not len(heard):
        return blocks
    result = engine.pitches(mixture)
    if len(result.f0_hz_250) != len(heard) or len(result.salience_250) != len(heard):
        raise ValueError(f"{len(heard)} segments gave pitches of {len(result.f0_hz_250)}")
    for index, f0_hz, salience in zip(heard, result.f0_hz_250, result.salience_250, strict=True):
        rows = len(engine.voices) or len(f0_hz)
        for name, value, shape in (
            ("F0", f0_hz, (rows, frames)),
            ("salience", salience, (bins, frames)),
        ):
            if np.shape(value) != shape:
                raise ValueError(f"{name} of shape {np.shape(value)}, expected {shape}")
            if not np.isfinite(value).all():
                raise ValueError(f"model {engine.name} returned {name} that are not numbers")
        blocks[index] = PitchBlock(np.asarray(f0_hz, np.float32), np.asarray(salience, np.float32))
    return blocks
