"""Mixtures without one of their voices, of which only F0 is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from umss_jax.dsp.removal import comb_magnitudes, without_each

RATE_HZ, FRAMES = 16_000, 125
SAMPLES = 256 * FRAMES
FOUND = jax.jit(without_each, static_argnums=2)


def sung(f0_hz, level=1.0):
    """Harmonics that fall by 6 dB an octave, of other phases each."""
    time_s = np.arange(SAMPLES) / RATE_HZ
    numbers = range(1, int(7_000 / f0_hz))
    return level * sum(np.sin(2 * np.pi * n * f0_hz * time_s + n * n) / n for n in numbers)


def pitches(*f0_hz):
    return np.repeat(np.float32(f0_hz)[None, :, None], FRAMES, axis=2)


def in_db(part, whole):
    return 10 * np.log10(np.sum(part**2) / np.sum(whole**2))


@pytest.mark.parametrize("f0_hz", [143.7, 500.0])
def test_a_comb_is_the_spectrum_of_its_harmonics(f0_hz):
    """Where they do not meet: seen through a Hann window of SciPy's."""
    window = scipy.signal.get_window("hann", 2048)
    spectrum = np.abs(np.fft.rfft(sung(f0_hz)[:2048] * window)) / (window.sum() / 2)
    comb = np.asarray(comb_magnitudes(jnp.float32([f0_hz]), 1025, RATE_HZ))[:, 0]
    bins = np.arange(1025)
    numbers = np.clip(np.round(bins * RATE_HZ / 2048 / f0_hz), 1, 10)
    is_lobe = np.abs(bins - numbers * f0_hz * 2048 / RATE_HZ) < 2
    np.testing.assert_allclose(comb[is_lobe], spectrum[is_lobe], atol=0.01)
    np.testing.assert_allclose(comb[: bins[is_lobe][-1]][~is_lobe[: bins[is_lobe][-1]]], 1e-4)


@pytest.mark.parametrize("level", [1.0, 0.1])
def test_one_voice_goes_and_the_other_stays(level):
    voices = sung(196.0), sung(331.0, level)
    mixture = np.float32(sum(voices) / np.abs(sum(voices)).max())[None]
    left = np.asarray(FOUND(mixture, pitches(196.0, 331.0), RATE_HZ))[0]
    assert left.shape == (2, SAMPLES)
    np.testing.assert_allclose(np.abs(left).max(axis=1), 1.0, rtol=1e-5)
    for rest, gone, stays in zip(left, voices, voices[::-1], strict=True):
        # What of each is in the rest, by least squares, away from the ends.
        middle = slice(4096, -4096)
        known = np.stack([gone[middle], stays[middle]], axis=1)
        share_gone, share_stays = np.linalg.lstsq(known, rest[middle], rcond=None)[0]
        assert in_db(share_gone * gone, share_stays * stays) < in_db(gone, stays) - 20


def test_without_any_f0_nothing_is_known_of_anybody():
    mixture = np.float32(np.random.default_rng(0).normal(size=(1, SAMPLES)))
    left = np.asarray(FOUND(mixture / np.abs(mixture).max(), pitches(0.0, 1e-5), RATE_HZ))[0]
    for rest in left:
        assert np.corrcoef(rest, mixture[0])[0, 1] > 0.999


def test_silence_stays_silent():
    left = np.asarray(FOUND(np.zeros((1, SAMPLES), np.float32), pitches(200.0, 0.0), RATE_HZ))
    assert np.abs(left).max() < 1e-6


def test_examples_of_a_batch_do_not_depend_on_each_other():
    mixtures = np.float32(np.stack([sung(196.0) + sung(331.0), sung(150.0)]) / 8)
    f0_hz = np.concatenate([pitches(196.0, 331.0), pitches(150.0, 0.0)])
    together = np.asarray(FOUND(mixtures, f0_hz, RATE_HZ))
    for number in (0, 1):
        one = slice(number, number + 1)
        alone = np.asarray(FOUND(mixtures[one], f0_hz[one], RATE_HZ))
        np.testing.assert_allclose(together[one], alone, atol=1e-5)
