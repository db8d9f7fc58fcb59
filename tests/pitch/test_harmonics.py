"""F0 by where harmonics lie: sinusoids whose frequency is known."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umss_jax.config import AudioConfig
from umss_jax.pitch.harmonics import align_to_harmonics, instantaneous_frequency

AUDIO = AudioConfig()
FRAMES = 100
aligned = jax.jit(lambda mixture, f0_hz: align_to_harmonics(mixture, f0_hz, AUDIO))
MIDDLE = slice(4, -4)  # windows at the ends see half a signal


def sung(hz, *, slope=1.0):
    """Harmonics up to 6 kHz of a track [FRAMES], whose frames are at the middle of each hop."""
    at = np.arange(FRAMES * AUDIO.hop_samples)
    middle = (np.arange(FRAMES) + 0.5) * AUDIO.hop_samples
    every = np.interp(at, middle, hz)
    phase = 2 * np.pi * np.cumsum(every) / AUDIO.sample_rate_hz
    return sum(np.sin(k * phase + k * k) / k**slope for k in range(1, 1 + int(6000 / max(hz))))


def cents(found, true):
    return 1200 * np.log2(np.asarray(found)[..., MIDDLE] / np.asarray(true)[..., MIDDLE])


@pytest.mark.parametrize("hz", [101.3, 440.0, 1234.5, 3900.0])
def test_the_frequency_of_a_sinusoid(hz):
    tone = np.float32(np.sin(2 * np.pi * hz * np.arange(FRAMES * 256) / 16_000))[None]
    magnitude, found = instantaneous_frequency(tone, FRAMES, AUDIO)
    loudest = np.asarray(magnitude)[0, 50].argmax()
    assert loudest == round(hz * 1024 / 16_000)
    # Its image at negative frequency leaks into a low one.
    np.testing.assert_allclose(found[0, MIDDLE, loudest], hz, atol=0.05 if hz < 200 else 0.005)


@pytest.mark.parametrize("off_cents", [-30, -8, 0, 15, 30])
def test_a_voice_alone_is_found(off_cents):
    true = np.full(FRAMES, 220.0)
    given_hz = true * 2 ** (off_cents / 1200)
    found = aligned(np.float32(sung(true))[None], np.float32(given_hz)[None, None])
    # Trust in what was given keeps half of it at each of two passes.
    assert np.abs(cents(found[0, 0], true)).max() < 0.35 * abs(off_cents) + 0.1


def test_four_voices_of_a_chord_with_vibrato():
    """A second and a third apart above the bass: what no octave of another covers."""
    time_s = np.arange(FRAMES) * AUDIO.hop_s
    chord = (493.9, 5.5), (392.0, 4.8), (349.2, 5.1), (146.8, 4.0)
    true = np.stack(
        [
            hz * 2 ** (20 * np.sin(2 * np.pi * rate * time_s + voice) / 1200)
            for voice, (hz, rate) in enumerate(chord)
        ]
    )
    rng = np.random.default_rng(0)
    given_hz = true * 2 ** (rng.uniform(-15, 15, (4, 1)) / 1200)
    mixture = sum(sung(track) for track in true)
    found = aligned(np.float32(mixture)[None], np.float32(given_hz)[None])[0]
    before, after = (np.sqrt(np.mean(cents(x, true) ** 2, axis=-1)) for x in (given_hz, found))
    assert after.mean() < 0.5 * before.mean()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_whatever_is_heard_it_moves_little_and_silence_stays(seed):
    rng = np.random.default_rng(seed)
    mixture = rng.normal(size=(2, FRAMES * 256)).astype(np.float32)
    f0_hz = np.exp(rng.uniform(np.log(60), np.log(1200), (2, 3, FRAMES))).astype(np.float32)
    f0_hz[rng.uniform(size=f0_hz.shape) < 0.3] = 1e-5
    found = np.asarray(aligned(mixture, f0_hz))
    is_voiced = f0_hz > 1
    np.testing.assert_array_equal(found[~is_voiced], f0_hz[~is_voiced])
    assert np.abs(1200 * np.log2(found[is_voiced] / f0_hz[is_voiced])).max() <= 80
    np.testing.assert_array_equal(aligned(0 * mixture, f0_hz), f0_hz)


def test_voices_in_unison_stay():
    """All harmonics of each are covered by the other's."""
    true = np.full(FRAMES, 220.0)
    f0_hz = np.float32(np.stack([true * 1.004, true * 0.997]))[None]
    np.testing.assert_allclose(aligned(np.float32(sung(true))[None], f0_hz), f0_hz, rtol=1e-6)


def test_examples_of_a_batch_do_not_depend_on_each_other():
    true = np.stack([np.full(FRAMES, 220.0), np.full(FRAMES, 300.0)])
    mixtures = np.float32(np.stack([sung(track) for track in true]))
    f0_hz = np.float32(true * 1.005)[:, None]
    together = aligned(mixtures, f0_hz)
    for number in (0, 1):
        one = slice(number, number + 1)
        np.testing.assert_allclose(together[one], aligned(mixtures[one], f0_hz[one]), rtol=1e-6)
