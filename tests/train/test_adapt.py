"""Adaptation in small: networks of a few units on half-second segments of a synthetic choir."""

import jax
import numpy as np
import pytest
import soundfile
from small_engine import F0_HZ, small_engine

from umss_jax.audio.recording import scan
from umss_jax.errors import NotFiniteError
from umss_jax.train.adapt import adapt, training_segments
from umss_jax.train.config import AdaptationConfig

SAMPLES = 8192


@pytest.fixture(scope="module")
def engine():
    return small_engine()


@pytest.fixture(scope="module")
def choir():
    time_s = np.arange(2 * SAMPLES) / 16_000
    voices = [np.sin(2 * np.pi * hz * k * time_s) / k for hz in F0_HZ for k in (1, 2, 3)]
    mixture = np.sum(voices, axis=0).reshape(2, SAMPLES)
    return (mixture / np.abs(mixture).max(axis=1, keepdims=True)).astype(np.float32)


def leaves(engine, part):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(engine.variables["params"][part])]


def test_adaptation_lowers_the_loss_and_leaves_the_f0_networks_alone(engine, choir):
    config = AdaptationConfig(steps=30, batch=2, learning_rate=5e-3)
    ticks = []
    adapted = adapt(engine, choir, config, ticks.append)
    rec = adapted.history["rec"]
    assert ticks == [1] * 30
    assert rec.shape == (30,)
    assert rec[-5:].mean() < 0.8 * rec[:5].mean()
    for before, after in zip(
        leaves(engine, "assignment"), leaves(adapted.engine, "assignment"), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    changed = zip(leaves(engine, "decoder"), leaves(adapted.engine, "decoder"), strict=True)
    assert all((before != after).any() for before, after in changed)
    assert adapted.engine.provenance["adaptation"]["steps"] == 30


def test_same_seed_same_weights(engine, choir):
    config = AdaptationConfig(steps=3, batch=1, seed=7)
    first, second = (adapt(engine, choir, config).engine for _ in range(2))
    for one, other in zip(leaves(first, "decoder"), leaves(second, "decoder"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_assignment_trains_when_asked(engine, choir):
    config = AdaptationConfig(steps=2, batch=1, train_assignment=True)
    adapted = adapt(engine, choir, config)
    assert (adapted.history["l1"] > 0).all()
    changed = zip(leaves(engine, "assignment"), leaves(adapted.engine, "assignment"), strict=True)
    assert any((before != after).any() for before, after in changed)


def test_training_segments_of_a_file(tmp_path):
    time_s = np.arange(9 * 44_100) / 44_100
    tone = 0.5 * np.sin(2 * np.pi * 220 * time_s)
    tone[: 4 * 44_100] = 0
    path = tmp_path / "late.wav"
    soundfile.write(path, np.stack([tone, 0.1 * tone], axis=1), 44_100)
    recording = scan(path)
    # Starts at 0, 2, 4 and 6 s (padded); the first hears nothing.
    segments = training_segments(recording)
    assert segments.shape == (3, 64_000)
    np.testing.assert_allclose(np.abs(segments).max(axis=1), 1.0, rtol=1e-6)
    limited = training_segments(recording, AdaptationConfig(max_segments=2))
    assert limited.shape == (1, 64_000)


def test_losses_that_are_no_numbers_stop_the_adaptation(engine, choir):
    config = AdaptationConfig(steps=4, batch=1, learning_rate=1e30, warmup_steps=1)
    with pytest.raises(NotFiniteError, match="finite"):
        adapt(engine, choir, config)
