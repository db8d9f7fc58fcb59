"""Another tempo: length, pitch, consonants and joins, measured without the library's help."""

import dataclasses

import numpy as np
import pytest
from sung_tone import autocorrelation_f0, vowel

from umss_jax.audio.config import StretchConfig
from umss_jax.audio.stretching import Stretcher, stretched_samples

RATE = 22_050
SHORT_PIECES = dataclasses.replace(StretchConfig(), piece_s=2.0)


def stretched(sound, tempo, config=StretchConfig(), block=7_000, rate=RATE):
    pytest.importorskip("python_stretch")
    stretcher = Stretcher(rate, len(sound), sound.shape[1], tempo, config)
    parts = [stretcher.push(sound[:, at : at + block]) for at in range(0, sound.shape[1], block)]
    return np.concatenate([*parts, stretcher.finish()], axis=1)


def sung(seconds, middle_hz):
    """Notes of a second, a scale up, with vibrato of 50 cents at 5.5 Hz."""
    time_s = np.arange(int(seconds * RATE)) / RATE
    semitones = 2.0 * (time_s.astype(int) % 5) + 0.5 * np.sin(2 * np.pi * 5.5 * time_s)
    return time_s, middle_hz * 2 ** (semitones / 12)


@pytest.mark.parametrize("middle_hz", [98.0, 330.0])
@pytest.mark.parametrize("tempo", [0.6, 0.8, 1.25])
def test_the_pitch_stays(tempo, middle_hz):
    time_s, f0_hz = sung(7.3, middle_hz)
    made = stretched(vowel(f0_hz, RATE)[None], tempo, SHORT_PIECES)
    assert made.shape == (1, round(len(time_s) / tempo))
    at = np.arange(0.1, 7.2, 0.02)
    at = at[np.abs(at - np.rint(at)) > 0.1]  # not from one note to the next
    found = autocorrelation_f0(made[0], RATE, at / tempo)
    assert np.mean(found > 0) > 0.97
    cents = 1200 * np.log2(found[found > 0] / np.interp(at[found > 0], time_s, f0_hz))
    assert abs(np.median(cents)) < 3
    assert np.percentile(np.abs(cents), 90) < 15  # of a vibrato of 50, which the windows flatten


@pytest.mark.parametrize("tempo", [0.7, 1.3])
def test_consonants_stay_short_and_at_their_time(tempo):
    """Bursts of 8 ms on a vowel: their energy above 5 kHz, where the vowel has none."""
    _, f0_hz = sung(6.0, 220.0)
    sound = vowel(f0_hz, RATE)
    rng = np.random.default_rng(0)
    at = np.arange(0.45, 5.8, 0.5)
    for start in (at * RATE).astype(int):
        sound[start : start + 176] += np.diff(rng.normal(0, 0.3, 177)).astype(np.float32)
    made = stretched(sound[None], tempo, SHORT_PIECES)[0]
    spectrum = np.fft.rfft(made)
    spectrum[np.fft.rfftfreq(len(made), 1 / RATE) < 5_000] = 0
    power = np.fft.irfft(spectrum, len(made)) ** 2
    for start_s in at / tempo:
        near = slice(int((start_s - 0.1) * RATE), int((start_s + 0.1) * RATE))
        energy = np.cumsum(power[near]) / power[near].sum()
        early, late = np.searchsorted(energy, [0.1, 0.9]) / RATE
        middle = np.searchsorted(energy, 0.5) / RATE - 0.1
        assert abs(middle - 0.004 / tempo) < 0.010
        assert late - early < 0.030


def test_joins_are_not_heard():
    """Two steady voices in two channels: no frame of 20 ms is 1.5 dB off, wherever pieces meet."""
    steady = [vowel(np.full(15 * RATE, hz), RATE) for hz in (131.0, 196.0)]
    sound = np.stack([steady[0], 0.5 * steady[0] + 0.5 * steady[1]])
    made = stretched(sound, 0.8, SHORT_PIECES)
    inner = made[:, RATE // 4 : -RATE // 4]
    frames = inner[:, : inner.shape[1] // 882 * 882].reshape(2, -1, 882)
    level_db = 10 * np.log10(np.mean(frames**2, axis=2))
    assert np.abs(level_db - np.median(level_db, axis=1, keepdims=True)).max() < 1.5


@pytest.mark.parametrize("samples", [1, 50, 3_000, 2 * RATE, 5 * RATE + 1, 9 * RATE + 7])
@pytest.mark.parametrize("tempo", [0.5, 0.83, 2.0])
def test_lengths_are_exact(samples, tempo):
    noise = np.random.default_rng(1).normal(0, 0.1, (2, samples)).astype(np.float32)
    made = stretched(noise, tempo, SHORT_PIECES, block=4_001)
    assert made.shape == (2, stretched_samples(samples, tempo))
    assert made.dtype == np.float32
    assert np.isfinite(made).all()


def test_the_same_sound_gives_the_same_result_and_silence_stays_silence():
    noise = np.random.default_rng(2).normal(0, 0.1, (1, 3 * RATE)).astype(np.float32)
    np.testing.assert_array_equal(stretched(noise, 0.8), stretched(noise, 0.8, block=100_000))
    assert not stretched(np.zeros_like(noise), 0.8).any()


def test_at_its_own_tempo_nothing_is_touched():
    noise = np.random.default_rng(3).normal(0, 0.1, (1, 20_000)).astype(np.float32)
    stretcher = Stretcher(RATE, 1, 20_000, 1.0)
    made = np.concatenate([stretcher.push(noise), stretcher.finish()], axis=1)
    np.testing.assert_array_equal(made, noise)
