"""The model can learn what it hears: one short excerpt, F0 known, L_rec falls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from umss_jax import model
from umss_jax.api import load
from umss_jax.cli.weights import bring_published
from umss_jax.config import DecoderConfig, EncoderConfig, ModelConfig
from umss_jax.train.adapt import adapt
from umss_jax.train.config import AdaptationConfig, LossConfig, OptimiserConfig
from umss_jax.train.objectives import Batch
from umss_jax.train.optimiser import make_optimiser
from umss_jax.train.step import init_state, make_train_step

TRAINABLE = ("encoder", "decoder")
RECONSTRUCTION = LossConfig(l1_weight=0, l2_weight=0, l3_weight=0)


def overfit(mixture, f0_hz_synth, config, steps, optimiser_config):
    """L_rec before the first and after the last step."""
    variables = model.init_variables(jax.random.key(0), config, TRAINABLE)
    optimiser = make_optimiser(TRAINABLE, optimiser_config)
    step = make_train_step(optimiser, TRAINABLE, config, RECONSTRUCTION)
    state = init_state(variables, optimiser)
    batch = Batch(mixture=jnp.asarray(mixture), f0_hz_synth=jnp.asarray(f0_hz_synth))
    losses = []
    for _ in range(steps + 1):
        state, metrics = step(state, batch, jax.random.key(1))
        losses.append(float(metrics["rec"]))
    return losses[0], losses[-1]


@pytest.mark.slow
def test_overfits_half_a_second_of_a_choir(golden):
    """A recorded quartet with the F0 that the continuity rule gives."""
    config = ModelConfig(
        encoder=EncoderConfig(hidden=64, latent=32), decoder=DecoderConfig(hidden=128)
    )
    frames = slice(96, 128)
    mixture = golden("input")["mixture"][frames.start * 256 : frames.stop * 256]
    mixture = (mixture / np.abs(mixture).max()).astype(np.float32)
    f0_hz_synth = golden("heuristic_assignment")["assigned_f0_hz_250"].T[:, frames]
    assert (f0_hz_synth > 0).mean() > 0.7  # they sing
    first, last = overfit(
        mixture[None],
        f0_hz_synth[None].astype(np.float32),
        config,
        200,
        OptimiserConfig(learning_rate=3e-3),
    )
    assert last < 0.4 * first, (first, last)


@pytest.mark.slow
def test_overfits_four_seconds_with_the_published_f0_networks(golden, shared, monkeypatch):
    """S_F S_F on a recorded quartet, all of full size: the salience networks frozen."""
    monkeypatch.setenv("UMSS_SHARED", str(shared))
    bring_published("published")
    mixture = golden("input")["mixture"].astype(np.float32)
    engine = load("published", assigner="voas-cnn", init_missing=True).engine
    losses = adapt(engine, mixture[None], AdaptationConfig(steps=200)).history["rec"]
    assert losses[-1] < 0.4 * losses[0], (losses[0], losses[-1])
