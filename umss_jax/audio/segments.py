"""Segments of a recording of any length: where they lie, how they are cut, faded and heard.

Shared by everything that brings a recording to networks of a fixed length: the stream of blocks is
cut into overlapping segments, and what comes back is joined by whoever asked for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from umss_jax.audio.config import FileConfig
from umss_jax.audio.recording import StreamResampler, choose_downmix, resampled_samples
from umss_jax.config import AudioConfig
from umss_jax.errors import AudioError, UsageError
from umss_jax.separate.config import SeparationConfig


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


def plan_segments(
    config: SeparationConfig | None = None, audio: AudioConfig | None = None
) -> SegmentPlan:
    """Turns seconds and shares into samples on the grid of F0 frames.

    Raises:
        UsageError: Segments shorter than 1 s or longer than 60 s, or an overlap outside 0 to 0.5
            (beyond which three segments would meet).
    """
    config, audio = config or SeparationConfig(), audio or AudioConfig()
    if not 1.0 <= config.segment_s <= 60.0:
        raise UsageError(
            f"--segment {config.segment_s:g} is not between 1 and 60 seconds",
            "4 is what the model was trained on",
        )
    if not 0.0 <= config.overlap <= 0.5:
        raise UsageError(
            f"--overlap {config.overlap:g} is not between 0 and 0.5", "0.25 is the default"
        )
    hop = audio.hop_samples
    frames = round(config.segment_s * audio.sample_rate_hz / hop)
    # Rounded down: more than half would let three segments meet.
    return SegmentPlan(frames * hop, int(frames * config.overlap) * hop, hop)


def cut_segments(
    blocks: Iterable[np.ndarray], samples: int, channels: int, plan: SegmentPlan
) -> Iterator[np.ndarray]:
    """Cuts a stream of blocks into overlapping segments.

    Args:
        blocks: float32 ``[C, n]``, ``samples`` in all.
        samples: Length in samples.
        channels: C.
        plan: Lengths.

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
    """Rising half of a Hann window; with its mirror image it sums to 1.

    Returns:
        float32 ``[samples]``, from near 0 to near 1.
    """
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(samples) + 0.5) / max(samples, 1))).astype(
        np.float32
    )


def segment_seed(seed: int, index: int) -> int:
    """Seed of one segment: a function of the run's seed and the segment's number alone."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def heard_mixtures(
    channels: np.ndarray, downmix: tuple[float, ...], silence_peak: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which segments sound, and their mono mixtures as a network hears them.

    Args:
        channels: ``[B, C, S]``.
        downmix: Weight of every channel.
        silence_peak: Segments of no higher peak are silent.

    Returns:
        Their numbers ``[H]``, and float32 ``[H, S]`` of peak 1.
    """
    mixture = np.einsum("c,bcs->bs", np.asarray(downmix, np.float32), channels)
    peaks = np.abs(mixture).max(axis=1)
    heard = np.flatnonzero(peaks > silence_peak)
    return heard, mixture[heard] / peaks[heard, None]


def frame_times_s(frames: int, audio: AudioConfig | None = None) -> np.ndarray:
    """Times of F0 frames from the start of the recording, float64 ``[frames]``."""
    audio = audio or AudioConfig()
    return np.arange(frames) * audio.hop_samples / audio.sample_rate_hz


def check_array(audio: np.ndarray) -> tuple[np.ndarray, tuple[float, ...], float]:
    """float32 ``[C, N]``, downmix and peak; refuses what cannot be separated."""
    channels = np.atleast_2d(np.asarray(audio, np.float32))
    if channels.ndim != 2 or channels.size == 0:
        raise AudioError(
            f"an array of shape {np.shape(audio)} is no recording",
            "pass [samples] or [channels, samples]",
        )
    if not np.isfinite(channels).all():
        raise AudioError("the array holds samples that are not numbers", "cut that part out")
    channel_peaks = np.abs(channels).max(axis=1)
    peak = float(channel_peaks.max())
    if peak < FileConfig().silence_peak:
        raise AudioError("the array is silent", "check its scale: full scale is 1")
    mean_peak = float(np.abs(channels.mean(axis=0)).max())
    return channels, choose_downmix(channel_peaks, mean_peak), peak


def resample_array(channels: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """``[C, N]`` at any rate to float32 ``[C, ceil(N · 16 000 / rate)]`` at the model's."""
    rate_16k = AudioConfig().sample_rate_hz
    samples_16k = resampled_samples(channels.shape[1], sample_rate_hz, rate_16k)
    down = StreamResampler(sample_rate_hz, rate_16k, channels.shape[0], samples_16k)
    return np.concatenate([down.push(channels), down.finish()], axis=1)
