"""The one loop over segments: overlapping, heard by an engine, joined in constant memory.

What differs between stems, saliences and pitches is data: stems and saliences are cross-faded, and
since the two sides of a cross-fade weigh 1 together, stems that sum to their segment sum to the
recording. Pitches change over in the middle of the overlap (two notes have no mean).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from umss_jax.audio.resampling import Sound16k
from umss_jax.audio.segments import (
    SegmentPlan,
    cross_fade,
    cut_segments,
    heard_mixtures,
    plan_segments,
)
from umss_jax.interruption import check
from umss_jax.separation.config import SeparationConfig

if TYPE_CHECKING:
    from umss_jax.inference import ModelEngine

Answer = tuple[Collection[np.ndarray], ...]
"""What an engine says of some segments: for every layer an array of each segment."""


class Layer(NamedTuple):
    """One of the arrays that an engine returns of a segment, and how it is joined."""

    name: str
    shape: tuple[int | None, ...]
    """Without time, which is the last axis; None is any number of rows."""
    samples_each: int
    """Samples of the recording that each step of the last axis stands for."""
    is_faded: bool
    """Cross-faded; else the overlap is divided in its middle."""

    def join(self, tail: np.ndarray, value: np.ndarray) -> np.ndarray:
        """A segment's array whose beginning overlaps with the tail of the one before."""
        overlap = tail.shape[-1]
        if not self.is_faded:
            return concatenate_tracks([tail[:, : overlap // 2], value[:, overlap // 2 :]])
        fade_in = cross_fade(overlap)
        faded = value[..., :overlap] * fade_in + tail * fade_in[::-1]
        return np.concatenate([faded, value[..., overlap:]], axis=-1)

    def silence(self, frames: int) -> np.ndarray:
        """What is said of a segment without sound."""
        return np.zeros((*(rows or 0 for rows in self.shape), frames), np.float32)

    def check(self, value: np.ndarray, frames: int, model: str) -> np.ndarray:
        """Refuses with ValueError what the engine should not have returned of a segment."""
        value = np.asarray(value, np.float32)
        rows = value.shape[:1] if self.shape == (None,) else self.shape
        if value.shape != (*rows, frames):
            raise ValueError(f"{self.name} of shape {value.shape}, expected {(*rows, frames)}")
        if not np.isfinite(value).all():
            raise ValueError(f"model {model} returned {self.name} that are not numbers")
        return value


def joined_segments(
    sound: Sound16k,
    engine: ModelEngine,
    config: SeparationConfig,
    ask: Callable[[np.ndarray, np.ndarray, np.ndarray], Answer],
    layers: tuple[Layer, ...],
) -> Iterator[list[np.ndarray]]:
    """Cuts a recording into segments, asks an engine about them, and joins the answers.

    Each segment is scaled to peak 1 before the engine hears it, as in training. Segments without
    sound are not sent to it: all that is said of them is 0. ``ask`` gives the engine's answer to
    mixtures ``[H, S]`` of peak 1, their channels ``[H, C, S]`` and numbers ``[H]``.

    Yields:
        Per segment the array of every layer that no later segment touches any more.

    Raises:
        ValueError: the engine returned other shapes than agreed, or what is not finite.
    """
    plan = plan_segments(config.segment_s, config.overlap, engine.config.audio)
    tails: list[np.ndarray] = []
    for index, found in enumerate(_heard_segments(sound, plan, engine, config, ask, layers)):
        if tails:
            joints = zip(layers, tails, found, strict=True)
            found = [layer.join(tail, value) for layer, tail, value in joints]
        is_last = index + 1 == plan.count(sound.samples)
        ready = sound.samples - index * plan.step if is_last else plan.step
        ends = [-(-ready // layer.samples_each) for layer in layers]
        tails = [value[..., end:] for value, end in zip(found, ends, strict=True)]
        yield [value[..., :end] for value, end in zip(found, ends, strict=True)]


def _heard_segments(
    sound: Sound16k,
    plan: SegmentPlan,
    engine: ModelEngine,
    config: SeparationConfig,
    ask: Callable[[np.ndarray, np.ndarray, np.ndarray], Answer],
    layers: tuple[Layer, ...],
) -> Iterator[list[np.ndarray]]:
    """What the engine says of every segment, in order, as checked arrays of all layers."""
    silent = [layer.silence(plan.segment // layer.samples_each) for layer in layers]
    segments = cut_segments(sound.blocks, sound.samples, len(sound.downmix), plan)
    start = 0
    while batch := list(itertools.islice(segments, max(1, engine.batch_segments))):
        check()
        channels = np.stack(batch)
        heard, mixture = heard_mixtures(channels, sound.downmix, sound.peak * config.silence)
        results = [silent] * len(batch)
        if len(heard):
            answer = ask(mixture, channels[heard], start + heard)
            counts = [len(values) for values in answer]
            if set(counts) != {len(heard)}:
                raise ValueError(f"{len(heard)} segments gave results of {counts} segments")
            for number, *values in zip(heard, *answer, strict=True):
                results[number] = [
                    layer.check(value, zeros.shape[-1], engine.name)
                    for layer, value, zeros in zip(layers, values, silent, strict=True)
                ]
        yield from results
        start += len(batch)


def concatenate_tracks(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """``[N, frames]`` arrays one after the other; rows that are missing in some are 0 there."""
    rows = max(len(block) for block in blocks)
    return np.concatenate(
        [np.pad(block, ((0, rows - len(block)), (0, 0))) for block in blocks], axis=1
    )
