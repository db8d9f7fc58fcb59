"""Examples to train and validate on: random mixes, and excerpts that are always the same.

Sampling has no state: an example is a function of seed and index, a batch one of the step, so that
a resumed run sees the batches of an uninterrupted one on any number of hosts and devices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from umss_jax.config import AudioConfig, VoicesConfig
from umss_jax.data.alterations import altered
from umss_jax.data.config import DataConfig
from umss_jax.data.excerpts import peak_scale, start_frames
from umss_jax.data.layouts import fits
from umss_jax.data.pieces import OpenPiece, find_pieces, open_pieces, shared_recordings
from umss_jax.errors import DatasetError
from umss_jax.words import readable, warn_once

_MIX_STREAM, _ORDER_STREAM, _ALTERATION_STREAM = 0, 1, 2  # separate random streams of one seed
_TRIALS = 100  # before a data set that seems to be all silence is given up


class Example(NamedTuple):
    """One example, scaled to a mixture peak of 1."""

    name: str
    """Piece, singers and start in seconds."""
    mixture: np.ndarray
    """float32 [samples], 16 kHz."""
    sources: np.ndarray | None
    """float32 [J, samples], which sum to the mixture unless it was altered; None where there are
    no stems."""
    f0_hz_synth: np.ndarray | None = None
    """float32 [J, frames], Hz, 0 = unvoiced, where it is known."""


class Examples(NamedTuple):
    """Several, stacked."""

    names: tuple[str, ...]
    mixture: np.ndarray
    """float32 [B, samples]."""
    sources: np.ndarray | None
    """float32 [B, J, samples], or None as soon as one example has none."""
    f0_hz_synth: tuple[np.ndarray | None, ...] = ()
    """float32 [J, frames] of each example where it is known; () where it is of none."""


class RandomMixes:
    """Training examples by index: random piece, singers and start on the grid of the hop.

    Pieces are sampled in proportion to their number of starts, those that ``often`` names so many
    times as often, singers of each voice independently.

    With ``alter`` examples with stems are altered, each in its own way, and the sources do not sum
    to the mixture any more (:mod:`umss_jax.data.alterations`).

    With a ``pool`` there are so many different examples, which every pass visits once in an order
    of its own; 0 for new ones without end.
    """

    def __init__(
        self,
        pieces: Sequence[OpenPiece],
        seed: int,
        pool: int = 0,
        config: DataConfig = DataConfig(),
        *,
        audio: AudioConfig,
    ) -> None:
        self._pieces = [
            one
            for one in pieces
            for _ in range(config.often_times if fits(one.piece, *config.often) else 1)
        ]
        self._seed, self._pool, self._audio = seed, pool, audio
        self._config = config
        starts = [
            (one.samples - audio.example_samples) // audio.hop_samples + 1 for one in self._pieces
        ]
        self._ends = np.cumsum(starts)

    def example(self, index: int) -> Example:
        """The example of an index; silent ones are sampled again.

        Raises:
            DatasetError: nothing but silence was found.
        """
        rng = np.random.default_rng([self._seed, _MIX_STREAM, index])
        for _ in range(_TRIALS):
            frame = int(rng.integers(self._ends[-1]))
            number = int(np.searchsorted(self._ends, frame, side="right"))
            one = self._pieces[number]
            first = int(self._ends[number - 1]) if number else 0
            singers = [int(rng.integers(len(files))) for files in one.voices]
            start = (frame - first) * self._audio.hop_samples
            example = self._altered(_cut(one, singers, start, self._audio), index)
            if np.abs(example.mixture).max() > 0:
                return example
        raise DatasetError(
            f"{_TRIALS} examples in a row were silent", "check the recordings (umss-jax data check)"
        )

    def _altered(self, example: Example, index: int) -> Example:
        if not self._config.alter or example.sources is None:
            return example
        rng = np.random.default_rng([self._seed, _ALTERATION_STREAM, index])
        augmentation, disturbance = self._config.augmentation, self._config.disturbance
        sources, mixture = altered(example.sources, rng, augmentation, disturbance, self._audio)
        scale = peak_scale(mixture)
        return Example(example.name, mixture * scale, sources * scale)

    def slot(self, slot: int) -> int:
        """Index of the example in a slot; slots count the examples of a run from 0."""
        if not self._pool:
            return slot
        passed, position = divmod(slot, self._pool)
        order = np.random.default_rng([self._seed, _ORDER_STREAM, passed])
        return int(order.permutation(self._pool)[position])

    def batch(self, step: int, batch: int, rows: Iterable[int] | None = None) -> Examples:
        """The examples of a step from 0, or those of them that one host trains on.

        ``batch`` is the size over all hosts; ``rows`` are numbers from 0 in the batch, None for
        all.
        """
        first = step * batch
        chosen = range(batch) if rows is None else rows
        return stack([self.example(self.slot(first + row)) for row in chosen])


def validation_excerpts(
    pieces: Sequence[OpenPiece], maximum: int = 0, *, audio: AudioConfig
) -> list[Example]:
    """Deterministic excerpts: non-overlapping, from the second on, singers of equal number.

    Of the 10-second parts of BC and BSQ the first excerpt counts too, and lies 0.04 s later
    (reference). Silent excerpts are left out. If there are more than the maximum, so many are
    chosen, evenly spread; 0 for all.

    Raises:
        DatasetError: there is none.
    """
    found: list[tuple[OpenPiece, int, int]] = []
    for one in pieces:
        singers = min((len(files) for files in one.voices), default=1)
        for frame in _excerpt_frames(one, audio):
            found += [(one, frame * audio.hop_samples, singer) for singer in range(singers)]
    if maximum and len(found) > maximum:
        found = [found[round(i)] for i in np.linspace(0, len(found) - 1, maximum)]
    examples = [_cut(one, [singer] * len(one.voices), start, audio) for one, start, singer in found]
    heard = [example for example in examples if np.abs(example.mixture).max() > 0]
    if not heard:
        raise DatasetError(
            "the validation set has no excerpt that sounds", "choose other pieces for it"
        )
    return heard


def _cut(one: OpenPiece, singers: Sequence[int], start: int, audio: AudioConfig) -> Example:
    """The example that starts at a sample; ``singers`` are indices from 0, one per voice."""
    samples, rate_hz = audio.example_samples, audio.sample_rate_hz
    name, sources = one.piece.name, None
    if one.mixture is not None:
        mixture = np.array(one.mixture[start : start + samples])
    else:
        chosen = list(zip(one.voices, one.piece.voices, singers, strict=True))
        sources = np.stack([voice[i][start : start + samples] for voice, _, i in chosen])
        mixture = sources.sum(axis=0)
        name += "".join(f" {readable(files[i].stem)}" for _, files, i in chosen)
    scale = peak_scale(mixture)
    name = f"{name} at {start / rate_hz:.3f} s"
    f0_hz = None
    if one.f0_hz_synth is not None:
        first, frames = start // audio.hop_samples, audio.synth_frames
        f0_hz = one.f0_hz_synth[:, first : first + frames]
        f0_hz = np.pad(f0_hz, ((0, 0), (0, frames - f0_hz.shape[1])))
    return Example(name, mixture * scale, None if sources is None else sources * scale, f0_hz)


def _excerpt_frames(one: OpenPiece, audio: AudioConfig) -> list[int]:
    """Frames where the excerpts of a piece start."""
    last = (one.samples - audio.example_samples) // audio.hop_samples
    frames = start_frames(one.kind, one.samples, audio)
    return [frame for frame in frames if frame <= last] or [0]


def stack(examples: Sequence[Example]) -> Examples:
    """Examples as one batch."""
    sources = [example.sources for example in examples if example.sources is not None]
    known = tuple(example.f0_hz_synth for example in examples)
    return Examples(
        tuple(example.name for example in examples),
        np.stack([example.mixture for example in examples]),
        np.stack(sources) if len(sources) == len(examples) else None,
        known if any(one is not None for one in known) else (),
    )


def open_sets(
    config: DataConfig,
    seed: int,
    with_sources: bool,
    audio: AudioConfig,
    voices: VoicesConfig = VoicesConfig(),
    complete: Callable[[Sequence[OpenPiece]], Sequence[OpenPiece]] = list,
) -> tuple[RandomMixes, list[Example]]:
    """Training mixes and validation excerpts of a configuration.

    What is odd about the recordings is said on stderr, also whether both sets have some in common.
    ``complete`` adds to the pieces of a set what else is known of them.

    Raises:
        DatasetError: a set is not there, broken, or has no stems where they are asked for.
    """
    train = open_pieces(find_pieces(config.train, voices), audio)
    validation = open_pieces(find_pieces(config.validation, voices), audio)
    for one in (*train, *validation):
        one.warn()
    shared = shared_recordings(train, validation)
    if shared:
        warn_once(shared)
    if with_sources:
        for one in (*train, *validation):
            if not one.voices:
                raise DatasetError(
                    f"{one.piece.name} has no stems, which supervised training needs",
                    "choose another strategy or other pieces",
                )
    train, validation = list(complete(train)), list(complete(validation))
    return (
        RandomMixes(train, seed, config.pool, config, audio=audio),
        validation_excerpts(validation, config.validation_examples, audio=audio),
    )
