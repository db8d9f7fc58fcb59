"""Voices' spectra fitted to the mixture: a right model stays, a wrong level or timbre is mended."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umss_jax.config import MaskConfig
from umss_jax.dsp.envelopes import fit_envelopes
from umss_jax.dsp.masks import ratio_masks
from umss_jax.dsp.stft import centred_stft

RATE_HZ = 16_000
CONFIG = MaskConfig(power=2.0)
SAMPLES = 32_000
fitted = jax.jit(lambda voices, mixture: fit_envelopes(voices, mixture, RATE_HZ, CONFIG))


def tone(hz, slope):
    """Twenty harmonics whose level falls by ``slope`` of their number."""
    time_s = np.arange(SAMPLES) / RATE_HZ
    return sum(np.sin(2 * np.pi * hz * k * time_s + k * k) / k**slope for k in range(1, 21))


def magnitude(sound):
    return np.abs(centred_stft(jnp.float32(sound), CONFIG.fft_size, CONFIG.hop_samples))


def mixed(magnitudes):
    return np.sqrt(np.sum(np.square(magnitudes), axis=0))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_a_right_model_stays(seed, level):
    voices = level * np.random.default_rng(seed).gamma(0.3, size=(3, 129, 40)).astype(np.float32)
    np.testing.assert_allclose(fitted(voices, mixed(voices)), voices, rtol=2e-4)


@pytest.mark.parametrize("factor", [1e-3, 0.5, 1.0, 30.0])
def test_a_level_is_found_exactly(factor):
    voice = magnitude(tone(220, 1.0))
    found = fitted(np.float32(factor) * voice[None], voice)[0]
    heard = voice > 1e-3 * voice.max()
    np.testing.assert_allclose(found[heard], voice[heard], rtol=1e-3)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_the_timbre_of_two_voices_is_found(scale):
    """Both models are wrong by a slope and a level; a third of the lines are too near to tell."""
    true = scale * np.stack([magnitude(tone(hz, slope)) for hz, slope in ((310, 1.5), (208, 0.6))])
    models = scale * np.stack([magnitude(2 * tone(310, 0.5)), magnitude(0.5 * tone(208, 1.6))])
    ideal = np.asarray(ratio_masks(true, 2.0))
    loud = mixed(true)

    def error(magnitudes):
        apart = loud * (np.asarray(ratio_masks(magnitudes, 2.0)) - ideal)
        return np.sum(apart**2) / np.sum(loud**2)

    before, after = error(models), error(fitted(models, loud))
    assert before > 0.03
    assert after < 0.25 * before


def test_a_voice_that_grows_is_followed():
    """Four times as loud in the second half, which its model does not know."""
    steps = np.where(np.arange(SAMPLES) < SAMPLES // 2, 0.25, 1.0)
    true = np.stack([magnitude(steps * tone(310, 1)), magnitude(tone(196, 1))])
    models = np.stack([magnitude(tone(310, 1)), magnitude(tone(196, 1))])
    found = np.asarray(fitted(models, mixed(true)))
    quarter = true.shape[-1] // 4
    for frame in (quarter, 3 * quarter):
        assert np.linalg.norm(found[0, :, frame]) == pytest.approx(
            np.linalg.norm(true[0, :, frame]), rel=0.1
        )


def test_silence_and_silent_voices_stay_finite():
    voices = np.stack([magnitude(tone(220, 1.0)), np.zeros((1025, 126), np.float32)])
    for heard in (np.zeros_like(voices[0]), voices[0]):
        for models in (voices, 0 * voices):
            masks = ratio_masks(fitted(models, heard), 2.0)
            assert np.isfinite(masks).all()
    # Who is silent gets nothing of another's harmonics.
    masks = np.asarray(ratio_masks(fitted(voices, voices[0]), 2.0))
    assert np.sum((masks[1] * voices[0]) ** 2) < 1e-6 * np.sum(voices[0] ** 2)


def test_examples_of_a_batch_do_not_depend_on_each_other():
    rng = np.random.default_rng(1)
    voices, heard = rng.gamma(0.3, size=(2, 3, 129, 30)), rng.gamma(0.3, size=(2, 129, 30))
    voices, heard = np.float32(voices), np.float32(heard)
    together = fitted(voices, heard)
    for number in (0, 1):
        np.testing.assert_allclose(together[number], fitted(voices[number], heard[number]), 1e-4)
