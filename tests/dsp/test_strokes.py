"""Claps and knocks: found between and over notes, and nothing of what is sung is taken for one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umss_jax.dsp.strokes import strokes, without_strokes

RATE_HZ = 16_000
SAMPLES = 64_000
TIME_S = np.arange(SAMPLES) / RATE_HZ
FIND = jax.jit(lambda signal: strokes(signal, RATE_HZ))
EVERY_S = np.arange(0.3, 3.7, 0.5)


def found(signal):
    return np.asarray(FIND(np.float32(signal)), float)


def claps(rng, times_s=EVERY_S):
    """Bursts of noise from 300 to 5000 Hz that fade by 60 dB in 70 ms, of an RMS of 1."""
    sound = np.zeros(SAMPLES)
    hz = np.fft.rfftfreq(1600, 1 / RATE_HZ)
    for time_s in times_s:
        burst = rng.normal(size=1600) * np.exp(-np.arange(1600) / 160)
        burst = np.fft.irfft(np.fft.rfft(burst) * ((hz > 300) & (hz < 5000)), 1600)
        begin = round(time_s * RATE_HZ)
        sound[begin : begin + 1600] += burst
    return sound / np.sqrt(np.mean(sound**2))


def tones(rng, note_s=0.5):
    """Four voices of 30 harmonics with vibrato; they change notes at once, and begin at once."""
    sound = np.zeros(SAMPLES)
    notes = round(4 / note_s)
    for low in (64, 58, 52, 45):
        steps = low + rng.choice([0, 2, 4, 5, 7], notes)
        pitch = np.repeat(steps, SAMPLES // notes)
        pitch = pitch + 0.3 * np.sin(2 * np.pi * rng.uniform(4.5, 6) * TIME_S)
        phase = 2 * np.pi * np.cumsum(440 * 2 ** ((pitch - 69) / 12)) / RATE_HZ
        for harmonic in range(1, 31):
            below = 440 * 2 ** ((low + 7.5 - 69) / 12) * harmonic < RATE_HZ / 2
            sound += below * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi)) / harmonic
    rest = np.clip(np.abs((TIME_S % (4 * note_s)) - 0.15) / 0.02 - 5, 0, 1)  # a breath
    return sound * rest


def power(sound):
    return np.mean(np.square(sound))


@pytest.mark.parametrize("level", [0.4, 0.7, 1.5])
def test_claps_over_singing_are_found(level):
    rng = np.random.default_rng(3)
    sung = tones(rng)
    clapped = level * np.sqrt(power(sung)) * claps(rng)
    taken = found(sung + clapped)
    assert np.dot(taken, clapped) / np.dot(clapped, clapped) > 0.7
    assert power(taken - clapped) < 0.2 * power(clapped)


def test_claps_alone_are_found():
    clapped = claps(np.random.default_rng(4)) + 1e-3 * np.random.default_rng(5).normal(size=SAMPLES)
    assert power(found(clapped) - clapped) < 0.05 * power(clapped)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.25, 0.5, 1.0]))
def test_nothing_of_singing_is_taken(seed, note_s):
    sung = tones(np.random.default_rng(seed), note_s)
    assert power(found(sung)) < 1e-4 * power(sung)


@pytest.mark.parametrize("begin_s", [0.0, 0.05, 1.0, 3.9, 3.99])
def test_a_note_that_begins_is_no_stroke(begin_s):
    sung = np.where(begin_s <= TIME_S, tones(np.random.default_rng(6), 4.0), 0)
    assert power(found(sung)) < 1e-3 * max(power(sung), 1e-12)


def test_noise_and_silence_are_no_strokes():
    assert power(found(np.random.default_rng(7).normal(size=SAMPLES))) < 1e-4
    assert np.all(found(np.zeros(SAMPLES)) == 0)


def test_a_soft_consonant_between_silences_is_the_singers():
    """The end of a word: 10 ms some 20 dB below the vowels, 60 ms after them."""
    rng = np.random.default_rng(8)
    vowels = tones(rng, 1.0) * np.clip((0.6 - TIME_S % 1) / 0.03, 0, 1)
    burst = 0.01 * np.sqrt(power(vowels)) * claps(rng, np.arange(0.66, 3.7, 1.0))
    assert power(found(vowels + burst)) < 0.05 * power(burst)


@settings(max_examples=10, deadline=None)
@given(st.floats(-60, 60), st.integers(0, 100))
def test_the_level_of_the_signal_does_not_matter(level_db, seed):
    rng = np.random.default_rng(seed)
    sound = tones(rng) + claps(rng)
    factor = 10 ** (level_db / 20)
    np.testing.assert_allclose(
        found(factor * sound) / factor, found(sound), atol=2e-5 * np.abs(sound).max()
    )


def test_batches_and_channels_are_apart_and_the_rate_is_given():
    rng = np.random.default_rng(9)
    sounds = np.float32([[tones(rng) + claps(rng), tones(rng)], [claps(rng), tones(rng)]])
    both = np.asarray(without_strokes(jnp.asarray(sounds), RATE_HZ))
    for n, c in np.ndindex(2, 2):
        alone = sounds[n, c] - found(sounds[n, c])
        np.testing.assert_allclose(both[n, c], alone, atol=1e-5)
    # At twice the rate, of twice the samples, the same strokes are found.
    doubled = np.repeat(sounds[0, 0], 2)
    again = np.asarray(strokes(jnp.asarray(doubled), 2 * RATE_HZ))[::2]
    assert np.corrcoef(again, found(sounds[0, 0]))[0, 1] > 0.98
