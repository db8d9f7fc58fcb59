"""What nobody sings: steady sound between harmonics is left out of the voices, singing is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umss_jax.config import MaskConfig
from umss_jax.dsp.masks import apply_masks, ratio_masks
from umss_jax.dsp.rest import sounding, voice_gains, with_faint_rests

RATE_HZ = 16_000
CONFIG = MaskConfig()
SAMPLES = 64_000
TIME_S = np.arange(SAMPLES) / RATE_HZ


@jax.jit
def through(mixture, f0_hz, heard):
    """What the gains found in ``heard`` pass of ``mixture``; a gain is linear in the sound."""
    gains = voice_gains(heard[None], f0_hz[None], RATE_HZ, CONFIG)
    return apply_masks(mixture[None], gains[:, None], CONFIG)[0, 0]


def share_left(sound, f0_hz, heard):
    """Of the energy of a part of ``heard``, the part that the voices do not get."""
    passed = np.asarray(through(np.float32(sound), np.float32(f0_hz), np.float32(heard)))
    return np.sum((sound - passed) ** 2) / np.sum(sound**2)


def duet(seed=0, notes=8):
    """Two voices of ten harmonics with vibrato, four seconds: sound, and F0 [2, 250] in Hz."""
    rng = np.random.default_rng(seed)
    total = np.zeros(SAMPLES)
    f0_hz = np.zeros((2, SAMPLES // 256))
    for voice, low in enumerate((60, 48)):
        semitones = np.repeat(low + rng.choice([0, 2, 4, 5, 7, 9, 11], notes), SAMPLES // notes)
        rate = rng.uniform(4.5, 6.0)
        hz = 440 * 2 ** ((semitones - 69 + 0.2 * np.sin(2 * np.pi * rate * TIME_S)) / 12)
        phase = 2 * np.pi * np.cumsum(hz) / RATE_HZ
        total += sum(np.sin(k * phase) / k for k in range(1, 11))
        f0_hz[voice] = hz[128::256]
    return 0.2 * total, f0_hz


def disturbance(kind, rng):
    if kind == "noise":
        return rng.normal(size=SAMPLES)
    if kind == "hum":
        return sum(np.sin(2 * np.pi * 50 * k * TIME_S + k) / k for k in (1, 2, 3))
    return np.ones(SAMPLES)


@pytest.mark.parametrize(("kind", "least"), [("noise", 0.8), ("hum", 0.8), ("constant", 0.99)])
@pytest.mark.parametrize("level_db", [-20, -10])
def test_what_is_steady_is_no_voices(kind, least, level_db):
    voices, f0_hz = duet()
    other = disturbance(kind, np.random.default_rng(1))
    other *= 10 ** (level_db / 20) * np.std(voices) / np.sqrt(np.mean(other**2))
    assert share_left(other, f0_hz, voices + other) > least
    # The voices lose less than 1.5 % of their energy by it.
    assert share_left(voices, f0_hz, voices + other) < 0.015


@pytest.mark.parametrize("kind", ["noise", "hum", "constant"])
def test_alone_it_is_nobodys(kind):
    other = disturbance(kind, np.random.default_rng(2))
    assert share_left(other, np.zeros((2, 250)), other) > 0.95


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 8, 16]))
def test_singing_stays_with_the_voices(seed, notes):
    voices, f0_hz = duet(seed, notes)
    assert share_left(voices, f0_hz, voices) < 1e-2


def test_a_held_note_is_no_hum():
    """It does not change for four seconds, but somebody sings it."""
    voice = sum(np.sin(2 * np.pi * 220 * k * TIME_S) / k for k in range(1, 11))
    assert share_left(voice, np.full((1, 250), 220.0), voice) < 1e-3


@pytest.mark.parametrize("samples", [1280, 4096])
def test_too_short_to_tell(samples):
    noise = jnp.float32(np.random.default_rng(3).normal(size=(1, samples)))
    gains = voice_gains(noise, jnp.zeros((1, 4, samples // 256)), RATE_HZ, CONFIG)
    np.testing.assert_array_equal(gains, 1.0)


def test_silence_gives_ones():
    gains = voice_gains(jnp.zeros((1, SAMPLES)), jnp.zeros((1, 4, 250)), RATE_HZ, CONFIG)
    np.testing.assert_array_equal(gains, 1.0)


def test_examples_of_a_batch_do_not_depend_on_each_other():
    voices, f0_hz = duet()
    both = np.float32(np.stack([voices, np.random.default_rng(4).normal(size=SAMPLES)]))
    pitches = np.float32(np.stack([f0_hz, 0 * f0_hz]))
    together = voice_gains(both, pitches, RATE_HZ, CONFIG)
    for number in (0, 1):
        one = slice(number, number + 1)
        alone = voice_gains(both[one], pitches[one], RATE_HZ, CONFIG)
        np.testing.assert_allclose(together[one], alone, atol=1e-5)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 18, 39, 120]))  # each is compiled anew
@settings(max_examples=30, deadline=None)
def test_a_voice_may_sound_near_what_it_sings(seed, frames):
    rng = np.random.default_rng(seed)
    f0_hz = np.where(rng.uniform(size=(2, 3, frames)) < 0.02, 200.0, 1e-5)
    found = np.asarray(sounding(jnp.asarray(f0_hz), 0.016))
    # Frame t of the masks is centred at t hops, frame n of F0 lasts from n to n + 1.
    sung = [[np.flatnonzero(voice > 1) for voice in piece] for piece in f0_hz]
    for piece, voices in enumerate(sung):
        at_times = [len(voice) > 0 for voice in voices]
        others = at_times if any(at_times) else [True] * 3
        for t in range(frames + 1):
            may = [any(abs(n + 0.5 - t) < 19 for n in voice) for voice in voices]
            expected = may if any(may) else others
            assert found[piece, :, t].tolist() == expected


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_a_voice_that_rests_keeps_a_share_30_db_down(seed):
    rng = np.random.default_rng(seed)
    heard = np.float32(rng.uniform(size=(2, 3, 5, 7)))
    may_sound = rng.uniform(size=(2, 3, 7)) < 0.5
    may_sound[:, 0] |= ~may_sound.any(axis=1)  # somebody sings
    unfitted = np.asarray(ratio_masks(heard, 2.0))
    masks = np.asarray(ratio_masks(heard * may_sound[:, :, None], 2.0))[:, None]
    found = np.asarray(with_faint_rests(masks, unfitted, may_sound))
    np.testing.assert_allclose(found.sum(axis=2), 1.0, rtol=1e-6)
    resting = np.broadcast_to(~may_sound[:, :, None], heard.shape)
    level_db = 20 * np.log10(found[:, 0][resting] / unfitted[resting])
    np.testing.assert_allclose(level_db, -30.5, atol=0.1)
    others = np.where(resting, 0.0, found[:, 0] / masks[:, 0])  # one factor for who sings
    assert (others.max(axis=1) >= 0.97).all()
    assert others.max() <= 1.0 + 1e-6
