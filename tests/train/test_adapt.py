"""Adaptation in small: networks of a few units on half-second segments of a synthetic choir."""

import jax
import numpy as np
import pytest
import soundfile
from small_engine import F0_HZ, small_engine

from umss_jax.audio.recording import scan
from umss_jax.errors import NotFiniteError
from umss_jax.train import held_back
from umss_jax.train.adapt import adapt, training_segments
from umss_jax.train.config import AdaptationConfig
from umss_jax.train.held_back import keep_best, split

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


@pytest.mark.parametrize("count", [1, 4, 5, 9, 10, 19, 20, 33, 64])
def test_what_is_held_back_trains_nothing(count):
    trained, held = split(count)
    assert len(held) == (0 if count < 5 else pytest.approx(count / 5, abs=2))
    assert len(trained) >= min(count, max(2, count // 2))
    # Segments overlap their neighbours.
    assert all(abs(one - other) > 1 for one in trained for other in held)
    assert (np.diff(trained) > 0).all()
    assert max(trained, default=0) < count


@pytest.fixture(scope="module")
def longer(choir):
    rolled = [np.roll(choir[n % 2], 700 * n) for n in range(5)]
    return np.stack(rolled)


@pytest.mark.parametrize("train_assignment", [False, True])
def test_what_explains_held_back_seconds_is_kept(engine, longer, train_assignment):
    config = AdaptationConfig(
        steps=30, batch=2, learning_rate=5e-3, train_assignment=train_assignment
    )
    adapted = adapt(engine, longer, config)
    assert adapted.kept in (0.5, 1.0)
    assert adapted.engine.provenance["adaptation"]["kept"] == adapted.kept


def test_what_explains_them_less_is_not_kept(engine, longer, choir):
    """Voices that have become loud noise; and of few segments none are held back."""
    parts = dict(engine.variables["params"])
    parts["decoder"] = jax.tree.map(lambda leaf: np.asarray(leaf) + 3, parts["decoder"])
    spoilt = {**engine.variables, "params": parts}
    f0_hz = np.concatenate([engine.f0_hz_synth(one[None]) for one in longer[:1]])
    kept = keep_best(engine, spoilt, longer[:1], f0_hz)
    assert kept.share == 0
    for before, after in zip(
        leaves(engine, "decoder"), jax.tree.leaves(kept.variables["params"]["decoder"]), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    assert keep_best(engine, spoilt, longer[:0], None).share is None
    assert adapt(engine, choir, AdaptationConfig(steps=1)).kept is None


def test_half_of_an_adaptation_is_the_mean_of_the_weights(engine, longer, monkeypatch):
    parts = dict(engine.variables["params"])
    parts["decoder"] = jax.tree.map(lambda leaf: np.asarray(leaf) + 3, parts["decoder"])
    distances = iter([2.0, 1.0, 3.0])
    monkeypatch.setattr(held_back, "_mean_distance", lambda *_: next(distances))
    f0_hz = np.full((1, 4, 32), 200.0, np.float32)
    kept = keep_best(engine, {**engine.variables, "params": parts}, longer[:1], f0_hz)
    assert kept.share == 0.5
    for before, after in zip(
        leaves(engine, "decoder"), jax.tree.leaves(kept.variables["params"]["decoder"]), strict=True
    ):
        np.testing.assert_allclose(after, before + 1.5, rtol=1e-6, atol=1e-6)


def test_a_little_better_is_not_enough(engine, longer, monkeypatch):
    distances = iter([1.0, 0.995, 0.992])
    monkeypatch.setattr(held_back, "_mean_distance", lambda *_: next(distances))
    f0_hz = np.full((1, 4, 32), 200.0, np.float32)
    assert keep_best(engine, engine.variables, longer[:1], f0_hz).share == 0


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
