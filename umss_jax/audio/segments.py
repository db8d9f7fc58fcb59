"""Segments of a recording of any length: where they lie, how they are cut, faded and heard.

Shared by everything that brings a recording to networks of a fixed length: the stream of blocks is
cut into overlapping segments; what comes back is joined by :mod:`umss_jax.separation.stream`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from umss_jax.config import AudioConfig


class SegmentPlan(NamedTuple):
    """Lengths in samples at 16 kHz; all are multiples of the frame hop."""

    segment: int
    overlap: int
    frame_hop: int

    @property
    def step(self) -> int:
        """Samples from the start of one segment to the next."""
        return self.segment - self.overlap

    def count(self, samples: int) -> int:
        """Segments that cover ``samples``; the last one is padded with silence."""
        return 1 + max(0, -(-(samples - self.segment) // self.step))

    def starts(self, samples: int) -> list[int]:
        """First sample of every segment."""
        return [index * self.step for index in range(self.count(samples))]


class SegmentStems(NamedTuple):
    """What a model makes of B segments of S samples with C channels."""

    stems_16k: np.ndarray
    """float ``[B, J, C, S]``: every channel shared out among the voices, so that the sum over J is
    the channel. Those of a channel depend on its own level alone, and in proportion to it."""
    f0_hz_synth: np.ndarray
    """float ``[B, J, S // 256]`` in Hz, 0 where unvoiced."""
    pitches_synth: np.ndarray | None = None
    """int ``[B, S // 256]``, how many pitches the salience shows; None where there is none."""


class SegmentPitches(NamedTuple):
    """What the F0 networks find in B segments."""

    f0_hz_synth: Sequence[np.ndarray]
    """B of ``[N, frames]`` in Hz: a row per voice, or, with nobody to give them to, as many rows
    as any frame has pitches, ascending. 0 is no pitch."""
    salience_synth: np.ndarray
    """float ``[B, bins, frames]`` in [0, 1]."""


def plan_segments(segment_s: float, overlap: float, audio: AudioConfig) -> SegmentPlan:
    """Turns seconds, and the share that overlaps, into samples on the grid of F0 frames."""
    hop = audio.hop_samples
    frames = round(segment_s * audio.sample_rate_hz / hop)
    # Rounded down: more than half would let three segments meet.
    return SegmentPlan(frames * hop, int(frames * overlap) * hop, hop)


def cut_segments(
    blocks: Iterable[np.ndarray], samples: int, channels: int, plan: SegmentPlan
) -> Iterator[np.ndarray]:
    """Cuts a stream of blocks, float32 ``[C, n]``, into overlapping segments.

    Yields:
        ``[C, segment]``, one step apart, the last padded with silence.
    """
    source = iter(blocks)
    held = np.zeros((channels, 0), np.float32)
    for start in plan.starts(samples):
        missing = min(plan.segment, samples - start) - held.shape[1]
        pieces = [held]
        while missing > 0:
            piece = next(source)
            pieces.append(piece)
            missing -= piece.shape[1]
        held = np.concatenate(pieces, axis=1)
        segment = held[:, : plan.segment]
        yield np.pad(segment, ((0, 0), (0, plan.segment - segment.shape[1])))
        held = held[:, plan.step :]


def cross_fade(samples: int) -> np.ndarray:
    """Rising half of a Hann window, float32; with its mirror image it sums to 1."""
    angle = np.pi * (np.arange(samples) + 0.5) / max(samples, 1)
    return (0.5 - 0.5 * np.cos(angle)).astype(np.float32)


def segment_seed(seed: int, index: int) -> int:
    """Seed of one segment: a function of the run's seed and the segment's number alone."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def heard_mixtures(
    channels: np.ndarray, downmix: tuple[float, ...], silence_peak: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which segments ``[B, C, S]`` exceed a peak, and their mono mixtures as a network hears them.

    Returns:
        Their numbers ``[H]``, and float32 ``[H, S]`` of peak 1.
    """
    mixture = np.einsum("c,bcs->bs", np.asarray(downmix, np.float32), channels)
    peaks = np.abs(mixture).max(axis=1)
    heard = np.flatnonzero(peaks > silence_peak)
    return heard, mixture[heard] / peaks[heard, None]


def frame_times_s(frames: int, audio: AudioConfig) -> np.ndarray:
    """Times of F0 frames from the start of the recording, float64 ``[frames]``."""
    return np.arange(frames) * audio.hop_samples / audio.sample_rate_hz
