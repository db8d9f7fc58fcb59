"""Alterations of training mixes: silent voices, equalisation, rooms, and what nobody sings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import fft, signal

from umss_jax.config import AudioConfig
from umss_jax.data.config import AugmentationConfig, DisturbanceConfig
from umss_jax.pitch.grid import midi_to_hz


def altered(
    sources: np.ndarray,
    rng: np.random.Generator,
    augmentation: AugmentationConfig,
    disturbance: DisturbanceConfig,
    audio: AudioConfig,
) -> tuple[np.ndarray, np.ndarray]:
    """Voices [J, samples] at other levels, some silent, coloured; and a mixture of them [samples].

    What the mixture holds besides the voices is a disturbance.
    """
    voices = np.array(sources, np.float64)
    voices[silent_voices(len(voices), rng, augmentation.voices_probability)] = 0
    voices *= 10 ** (rng.normal(0, augmentation.level_db, (len(voices), 1)) / 20)
    voices = coloured(voices, rng, augmentation, audio)
    mixture = voices.sum(axis=0)
    if rng.uniform() < disturbance.probability:
        weights = np.asarray(disturbance.weights)
        kind = int(rng.choice(len(_DISTURBANCES), p=weights / weights.sum()))
        sound = _DISTURBANCES[kind](len(mixture), rng, audio.sample_rate_hz)
        level = 10 ** (rng.uniform(*disturbance.level_db) / 20)
        scale = level * np.sqrt(np.mean(mixture**2)) / (np.sqrt(np.mean(sound**2)) + 1e-12)
        mixture = mixture + scale * sound
    return voices.astype(np.float32), mixture.astype(np.float32)


def silent_voices(
    count: int, rng: np.random.Generator, probabilities: Sequence[float]
) -> np.ndarray:
    """Numbers of the voices that do not sing; the last probability is that of all singing."""
    probability = np.asarray(probabilities)
    probability = np.pad(probability, (max(0, count - len(probability)), 0), mode="edge")[-count:]
    sounding = 1 + int(rng.choice(count, p=probability / probability.sum()))
    silent: np.ndarray = rng.permutation(count)[sounding:]
    return silent


def coloured(
    sources: np.ndarray, rng: np.random.Generator, config: AugmentationConfig, audio: AudioConfig
) -> np.ndarray:
    """Equalisation of every voice [J, samples], and a room."""
    samples = sources.shape[1]
    size, rate = fft.next_fast_len(2 * samples, real=True), audio.sample_rate_hz
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
    result: np.ndarray = fft.irfft(spectra, size)[:, :samples]
    return result


def coloured_noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise that is white to dark."""
    pole = rng.uniform(0, 0.98)
    noise: np.ndarray = signal.lfilter([1], [1, -pole], rng.standard_normal(samples))
    return noise


def _noise(samples: int, rng: np.random.Generator, rate_hz: int) -> np.ndarray:
    return coloured_noise(samples, rng)


def _hum(samples: int, rng: np.random.Generator, rate_hz: int) -> np.ndarray:
    """Of the mains, with some harmonics."""
    mains = rng.choice([50.0, 60.0]) * rng.uniform(0.998, 1.002)
    time = np.arange(samples) / rate_hz
    hum = np.zeros(samples)
    for number in range(1, int(rng.integers(2, 12))):
        strength = rng.uniform(0.1, 1.0) / number
        hum += strength * np.sin(2 * np.pi * (mains * number * time + rng.uniform()))
    return hum


def _constant(samples: int, rng: np.random.Generator, rate_hz: int) -> np.ndarray:
    return np.full(samples, rng.choice([-1.0, 1.0]))


def _claps(samples: int, rng: np.random.Generator, rate_hz: int) -> np.ndarray:
    """Short bursts."""
    claps = np.zeros(samples)
    length = int(0.15 * rate_hz)
    fall = np.arange(length) / rate_hz
    for start in rng.integers(0, samples - length, int(rng.integers(1, 12))):
        burst = rng.standard_normal(length) * np.exp(-fall / rng.uniform(0.003, 0.03))
        claps[start : start + length] += rng.uniform(0.3, 1.0) * burst
    sections = signal.butter(1, rng.uniform(300, 1500), "highpass", fs=rate_hz, output="sos")
    clapped: np.ndarray = signal.sosfilt(sections, claps)
    return clapped


def _strings(samples: int, rng: np.random.Generator, rate_hz: int) -> np.ndarray:
    """Chords of struck strings: harmonics that decay, the high ones faster."""
    sound = np.zeros(samples)
    beat = int(rng.uniform(0.25, 1.5) * rate_hz)
    for start in range(int(rng.integers(0, beat)), samples, beat):
        time = np.arange(samples - start) / rate_hz
        for midi in rng.integers(36, 84, int(rng.integers(1, 5))):
            f0_hz = midi_to_hz(int(midi))
            stiffness = rng.uniform(0, 4e-4)
            decay_s = rng.uniform(0.3, 2.5)
            for number in range(1, min(int(rate_hz / 2 / f0_hz), 24)):
                hz = number * f0_hz * np.sqrt(1 + stiffness * number**2)
                if hz >= rate_hz / 2:
                    break
                fall = np.exp(-time * (1 + 0.15 * number) / decay_s)
                phase = rng.uniform()
                sound[start:] += fall / number * np.sin(2 * np.pi * (hz * time + phase))
    return sound


_DISTURBANCES = (_noise, _hum, _constant, _claps, _strings)
