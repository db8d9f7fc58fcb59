"""Examples with known F0: mixes of stems, altered so that synthetic voices stand for real ones.

The assignment network learns from what the salience network hears in them. As in
:mod:`umss_jax.data.mixes` an example is a function of seed and index alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from umss_jax.audio.cache import DecodedAudio
from umss_jax.config import AudioConfig, HcqtConfig, VoicesConfig
from umss_jax.data.alterations import coloured, coloured_noise, silent_voices
from umss_jax.data.config import AugmentationConfig, SetConfig
from umss_jax.data.pieces import find_pieces, length_notes
from umss_jax.data.references import read_f0
from umss_jax.errors import DatasetError, UmssError
from umss_jax.words import warn_once

_KEPT = 255.0  # saliences are kept in steps of 1/255


class PitchedVoice(NamedTuple):
    """A stem and its F0."""

    samples: np.ndarray
    """float32 [S], 16 kHz."""
    f0_hz_synth: np.ndarray
    """float32 [frames], one at every hop from 0, 0 = unvoiced."""


class PitchedExample(NamedTuple):
    """A mixture and the F0 of its voices."""

    mixture: np.ndarray
    """float32 [S], peak 1."""
    f0_hz_cqt: np.ndarray
    """float32 [J, frames] on the frames of the HCQT, 0 = unvoiced."""


class SalienceExample(NamedTuple):
    """A salience and the F0 of the voices in it."""

    salience: np.ndarray
    """float32 [bins, frames] in [0, 1]."""
    f0_hz_cqt: np.ndarray
    """float32 [J, frames], 0 = unvoiced."""


Item = TypeVar("Item", PitchedVoice, PitchedExample, SalienceExample)


def stacked(items: list[Item]) -> Item:
    """Several of a kind as one, field by field."""
    return type(items[0])(*map(np.stack, zip(*items, strict=True)))


def open_pitched(
    chosen: SetConfig, audio: AudioConfig, voices: VoicesConfig = VoicesConfig()
) -> list[tuple[PitchedVoice, ...]]:
    """Pieces with stems and F0 (where :mod:`umss_jax.data.references` looks), one singer a voice.

    Raises:
        DatasetError: F0 is missing or damaged, or a stem is, or stems are not equally long by far.
    """
    decoded = DecodedAudio()
    pieces = []
    for piece, _ in find_pieces(chosen, voices):
        if not piece.voices:
            raise DatasetError(f"{piece.name} has no stems", "leave it out (exclude)")
        try:
            pitched = tuple(
                PitchedVoice(decoded.load(file), read_f0(file, audio).astype(np.float32))
                for file, *_ in piece.voices
            )
        except UmssError as error:
            raise DatasetError(error.message, error.remedy) from error
        lengths = {
            file: len(one.samples) for (file, *_), one in zip(piece.voices, pitched, strict=True)
        }
        for note in length_notes(piece, lengths, audio):
            warn_once(note)
        pieces.append(pitched)
    return pieces


class PitchedMixes:
    """Examples by index.

    Args:
        pieces: from :func:`open_pitched`.
        seed: of everything random.
        samples: of an example, a multiple of the hop.
        config: alterations; None for none, with all voices.
        aligned: no voices of different pieces.
        audio: rate, and hop of the voices' F0.
        grid: frames of the examples' F0.
    """

    def __init__(
        self,
        pieces: Sequence[tuple[PitchedVoice, ...]],
        seed: int,
        samples: int,
        config: AugmentationConfig | None,
        aligned: bool = False,
        *,
        audio: AudioConfig,
        grid: HcqtConfig,
    ) -> None:
        self._pieces, self._seed, self._samples = list(pieces), seed, samples
        self._config, self._aligned, self._audio = config, aligned, audio
        frames = samples * grid.sample_rate_hz // (audio.sample_rate_hz * grid.hop_samples)
        self._times_s = np.arange(frames) * (grid.hop_samples / grid.sample_rate_hz)

    def batch(self, first: int, count: int) -> PitchedExample:
        """Some examples, stacked."""
        return stacked([self.example(first + number) for number in range(count)])

    def example(self, index: int) -> PitchedExample:
        """The example of an index."""
        rng = np.random.default_rng([self._seed, index])
        config = self._config
        if config is None:
            return self._example(*self._aligned_voices(rng, 1.0))
        speed = 2 ** (rng.uniform(-1, 1) * config.speed_semitones / 12)
        if not self._aligned and rng.uniform() < config.mixed_probability:
            picked = [self._voice(rng, voice, speed) for voice in range(len(self._pieces[0]))]
            sources, f0_hz = stacked(picked)
        else:
            sources, f0_hz = self._aligned_voices(rng, speed)
        silent = silent_voices(len(sources), rng, config.voices_probability)
        sources[silent], f0_hz[silent] = 0, 0
        sources = sources * 10 ** (rng.normal(0, config.level_db, (len(sources), 1)) / 20)
        return self._example(coloured(sources, rng, config, self._audio), f0_hz, rng)

    def _aligned_voices(self, rng: np.random.Generator, speed: float) -> PitchedVoice:
        """All voices of a piece, stacked."""
        piece = self._pieces[rng.integers(len(self._pieces))]
        start = self._start(rng, min(len(voice.samples) for voice in piece), speed)
        return stacked([self._cut(voice, start, speed) for voice in piece])

    def _voice(self, rng: np.random.Generator, voice: int, speed: float) -> PitchedVoice:
        """One voice of any piece."""
        chosen = self._pieces[rng.integers(len(self._pieces))][voice]
        return self._cut(chosen, self._start(rng, len(chosen.samples), speed), speed)

    def _start(self, rng: np.random.Generator, length: int, speed: float) -> int:
        return int(rng.integers(max(1, length - int(self._samples * speed) - 2)))

    def _cut(self, voice: PitchedVoice, start: int, speed: float) -> PitchedVoice:
        """Samples and F0 from a sample on, played at a speed."""
        needed = int(self._samples * speed) + 2
        samples = np.asarray(voice.samples[start : start + needed])
        if speed != 1.0:
            at = np.arange(self._samples) * speed
            samples = np.interp(at, np.arange(len(samples)), samples)
        rate, hop = self._audio.sample_rate_hz, self._audio.hop_samples
        places = (start + self._times_s * speed * rate) / hop
        f0_hz = interpolated_f0(voice.f0_hz_synth, places) * speed
        return PitchedVoice(samples[: self._samples], f0_hz)

    def _example(
        self, sources: np.ndarray, f0_hz: np.ndarray, rng: np.random.Generator | None = None
    ) -> PitchedExample:
        """The sum of the voices, with noise."""
        mixture = sources.sum(axis=0)
        config = self._config
        if rng is not None and config is not None and rng.uniform() < config.noise_probability:
            noise = coloured_noise(len(mixture), rng)
            strength = 10 ** (rng.uniform(*config.noise_db) / 20) * (mixture.std() + 1e-6)
            mixture = mixture + noise * strength / noise.std()
        peak = np.abs(mixture).max()
        mixture = mixture / (peak if peak > 0 else 1.0)
        return PitchedExample(mixture.astype(np.float32), f0_hz.astype(np.float32))


class SalienceMixes:
    """Examples by index of what the trained salience network hears in mixes.

    Each of a number of mixes is heard once and kept; every time it comes again it is transposed by
    another number of bins.

    Args:
        mixes: what is heard.
        hear: salience [B, bins, frames] of mixtures [B, samples].
        seed: of order and transposition.
        distinct: number of mixes; each pass takes all of them in another order. 0 for a new mix
            every time.
        transposed_bins: maximum number of bins up or down.
        grid: of the bins.
    """

    def __init__(
        self,
        mixes: PitchedMixes,
        hear: Callable[[np.ndarray], np.ndarray],
        seed: int,
        distinct: int = 0,
        transposed_bins: int = 0,
        *,
        grid: HcqtConfig,
    ) -> None:
        self._mixes, self._hear, self._seed = mixes, hear, seed
        self._distinct, self._transposed_bins, self._grid = distinct, transposed_bins, grid
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def batch(self, first: int, count: int) -> SalienceExample:
        """Some examples, stacked."""
        return stacked([self.example(first + number) for number in range(count)])

    def example(self, index: int) -> SalienceExample:
        """The example of an index."""
        which = index
        if self._distinct:
            passed, place = divmod(index, self._distinct)
            order = np.random.default_rng([self._seed, passed, 0]).permutation(self._distinct)
            which = int(order[place])
        kept, f0_hz = self._mix(which)
        salience = kept.astype(np.float32) / np.float32(_KEPT)
        reach = self._transposed_bins
        bins = int(np.random.default_rng([self._seed, index, 1]).integers(-reach, reach + 1))
        ratio = np.float32(2 ** (bins / self._grid.bins_per_octave))
        return SalienceExample(shifted(salience, bins), f0_hz * ratio)

    def _mix(self, which: int) -> tuple[np.ndarray, np.ndarray]:
        if which in self._kept:
            return self._kept[which]
        mix: PitchedExample = self._mixes.example(which)
        heard = np.asarray(self._hear(mix.mixture[None]))[0]
        found = np.round(heard * _KEPT).astype(np.uint8), mix.f0_hz_cqt
        if self._distinct:
            self._kept[which] = found
        return found


def shifted(salience: np.ndarray, bins: int) -> np.ndarray:
    """A salience [bins, frames] moved up; what comes in is zero."""
    moved = np.roll(salience, bins, axis=0)
    if bins > 0:
        moved[:bins] = 0
    elif bins < 0:
        moved[bins:] = 0
    return moved


def interpolated_f0(f0_hz: np.ndarray, places: np.ndarray) -> np.ndarray:
    """F0 at fractional frames: linear where both neighbours are voiced, else the nearer one's.

    F0 is [frames], 0 = unvoiced; beyond the ends the last value holds.
    """
    places = np.clip(places, 0, len(f0_hz) - 1)
    low = np.minimum(places.astype(int), max(len(f0_hz) - 2, 0))
    high = np.minimum(low + 1, len(f0_hz) - 1)
    part = places - low
    both = (f0_hz[low] > 0) & (f0_hz[high] > 0)
    nearer = np.where(part < 0.5, f0_hz[low], f0_hz[high])
    return np.where(both, (1 - part) * f0_hz[low] + part * f0_hz[high], nearer)
