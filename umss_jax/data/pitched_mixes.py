"""Examples with known F0: mixes of stems, altered so that synthetic voices stand for real ones.

As in :mod:`umss_jax.data.mixes` an example is a function of seed and index alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import fft, signal

from umss_jax.audio.cache import DecodedAudio
from umss_jax.config import VOICES, AudioConfig, HcqtConfig
from umss_jax.data.config import AugmentationConfig, SetConfig
from umss_jax.data.pieces import find_pieces
from umss_jax.data.references import read_f0
from umss_jax.errors import DatasetError, UmssError


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


def open_pitched(chosen: SetConfig, audio: AudioConfig) -> list[tuple[PitchedVoice, ...]]:
    """Pieces with stems and F0 (where :mod:`umss_jax.data.references` looks), one singer a voice.

    Raises:
        DatasetError: F0 is missing or damaged, or a stem is.
    """
    decoded = DecodedAudio()
    pieces = []
    for piece, _ in find_pieces(chosen):
        if len(piece.voices) != len(VOICES):
            raise DatasetError(f"{piece.name} has no stems", "leave it out (exclude)")
        try:
            voices = tuple(
                PitchedVoice(decoded.load(file), read_f0(file, audio).astype(np.float32))
                for file, *_ in piece.voices
            )
        except UmssError as error:
            raise DatasetError(error.message, error.remedy) from error
        pieces.append(voices)
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
        examples = [self.example(first + number) for number in range(count)]
        return PitchedExample(*map(np.stack, zip(*examples, strict=True)))

    def example(self, index: int) -> PitchedExample:
        """The example of an index."""
        rng = np.random.default_rng([self._seed, index])
        config = self._config
        if config is None:
            return self._example(*self._aligned_voices(rng, 1.0))
        speed = 2 ** (rng.uniform(-1, 1) * config.speed_semitones / 12)
        if not self._aligned and rng.uniform() < config.mixed_probability:
            picked = [self._voice(rng, voice, speed) for voice in range(len(VOICES))]
            sources, f0_hz = _stacked(picked)
        else:
            sources, f0_hz = self._aligned_voices(rng, speed)
        probability = np.asarray(config.voices_probability)
        count = 1 + int(rng.choice(len(VOICES), p=probability / probability.sum()))
        silent = rng.permutation(len(VOICES))[count:]
        sources[silent], f0_hz[silent] = 0, 0
        sources = sources * 10 ** (rng.normal(0, config.level_db, (len(VOICES), 1)) / 20)
        return self._example(self._coloured(sources, rng, config), f0_hz, rng)

    def _aligned_voices(
        self, rng: np.random.Generator, speed: float
    ) -> tuple[np.ndarray, np.ndarray]:
        piece = self._pieces[rng.integers(len(self._pieces))]
        start = self._start(rng, min(len(voice.samples) for voice in piece), speed)
        return _stacked([self._cut(voice, start, speed) for voice in piece])

    def _voice(
        self, rng: np.random.Generator, voice: int, speed: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """One voice of any piece."""
        chosen = self._pieces[rng.integers(len(self._pieces))][voice]
        return self._cut(chosen, self._start(rng, len(chosen.samples), speed), speed)

    def _start(self, rng: np.random.Generator, length: int, speed: float) -> int:
        return int(rng.integers(max(1, length - int(self._samples * speed) - 2)))

    def _cut(self, voice: PitchedVoice, start: int, speed: float) -> tuple[np.ndarray, np.ndarray]:
        """Samples and F0 from a sample on, played at a speed."""
        needed = int(self._samples * speed) + 2
        samples = np.asarray(voice.samples[start : start + needed])
        if speed != 1.0:
            at = np.arange(self._samples) * speed
            samples = np.interp(at, np.arange(len(samples)), samples)
        rate, hop = self._audio.sample_rate_hz, self._audio.hop_samples
        places = (start + self._times_s * speed * rate) / hop
        return samples[: self._samples], interpolated_f0(voice.f0_hz_synth, places) * speed

    def _coloured(
        self, sources: np.ndarray, rng: np.random.Generator, config: AugmentationConfig
    ) -> np.ndarray:
        """Equalisation of every voice, and a room."""
        size, rate = fft.next_fast_len(2 * self._samples, real=True), self._audio.sample_rate_hz
        spectra = fft.rfft(sources, size)
        hz = np.fft.rfftfreq(size, 1 / rate)
        octaves = np.log2(np.maximum(hz, 60.0) / 60.0)
        room = rng.uniform() < config.room_probability
        decay_s = rng.uniform(*config.room_s)
        direct_db = rng.uniform(*config.direct_db)
        for number in range(len(sources)):
            points = rng.normal(0, config.equalisation_db / 2, 9).cumsum()
            curve = np.interp(octaves, np.arange(9), points - points.mean())
            spectra[number] *= 10 ** (curve / 20)
            if room:
                time = np.arange(int(decay_s * rate)) / rate
                tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / decay_s)
                tail *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(tail**2))
                spectra[number] *= 1 + fft.rfft(tail, size)
        coloured: np.ndarray = fft.irfft(spectra, size)[:, : self._samples]
        return coloured

    def _example(
        self, sources: np.ndarray, f0_hz: np.ndarray, rng: np.random.Generator | None = None
    ) -> PitchedExample:
        """The sum of the voices, with noise."""
        mixture = sources.sum(axis=0)
        config = self._config
        if rng is not None and config is not None and rng.uniform() < config.noise_probability:
            pole = rng.uniform(0, 0.98)
            noise = signal.lfilter([1], [1, -pole], rng.standard_normal(len(mixture)))
            strength = 10 ** (rng.uniform(*config.noise_db) / 20) * (mixture.std() + 1e-6)
            mixture = mixture + noise * strength / noise.std()
        peak = np.abs(mixture).max()
        mixture = mixture / (peak if peak > 0 else 1.0)
        return PitchedExample(mixture.astype(np.float32), f0_hz.astype(np.float32))


def _stacked(voices: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    samples, f0_hz = zip(*voices, strict=True)
    return np.stack(samples), np.stack(f0_hz)


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
