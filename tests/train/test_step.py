"""The training step: pure, frozen parts untouched, Adam with L2 as PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from comparison import relative_error

from umss_jax import model
from umss_jax.config import DecoderConfig, EncoderConfig, ModelConfig
from umss_jax.train.config import LossConfig, OptimiserConfig
from umss_jax.train.objectives import Batch
from umss_jax.train.optimiser import learning_rate, make_optimiser
from umss_jax.train.step import init_state, make_train_step

# Half a second and small layers; the stages are the same.
SMALL = ModelConfig(
    encoder=EncoderConfig(hidden=8, latent=4), decoder=DecoderConfig(hidden=8, noise_bands=6)
)
SAMPLES, SYNTH_FRAMES, CQT_FRAMES = 8192, 32, 44
LOSS = LossConfig(fft_sizes=(256, 64))


@pytest.fixture(scope="module")
def variables():
    parts = ("assignment", "encoder", "decoder")
    return jax.tree.map(np.asarray, model.init_variables(jax.random.key(0), SMALL, parts))


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return Batch(
        mixture=jnp.asarray(rng.uniform(-1, 1, (2, SAMPLES)), jnp.float32),
        salience=jnp.asarray(rng.uniform(0, 1, (2, 360, CQT_FRAMES)), jnp.float32),
    )


def run(variables, batch, trainable, steps=2, seed=1, loss=LOSS, config=OptimiserConfig()):
    optimiser = make_optimiser(trainable, config)
    step = make_train_step(optimiser, trainable, SMALL, loss)
    state, metrics = init_state(variables, optimiser), []
    for _ in range(steps):
        state, now = step(state, batch, jax.random.key(seed))
        metrics.append({name: float(value) for name, value in now.items()})
    return jax.tree.map(np.asarray, state), metrics


@pytest.fixture(scope="module")
def synthesis_run(variables, batch):
    return run(variables, batch, ("encoder", "decoder"))


def test_same_inputs_same_outputs(variables, batch, synthesis_run):
    state, metrics = synthesis_run
    again, metrics_again = run(variables, batch, ("encoder", "decoder"))
    assert metrics == metrics_again
    jax.tree.map(np.testing.assert_array_equal, state, again)


def test_another_key_draws_other_noise(variables, batch, synthesis_run):
    _, metrics = run(variables, batch, ("encoder", "decoder"), steps=1, seed=2)
    assert metrics[0]["rec"] != synthesis_run[1][0]["rec"]


def test_metrics_and_step_count(synthesis_run):
    state, metrics = synthesis_run
    assert state.step == 2
    for now in metrics:
        assert set(now) == {"total", "rec", "l1", "l2", "l3", "gradient_norm"}
        expected = now["rec"] + 1e4 * now["l1"] + 1e5 * now["l2"] + 1e4 * now["l3"]
        assert now["total"] == pytest.approx(expected, rel=1e-5)
        assert now["gradient_norm"] > 0


def test_the_given_state_is_donated_and_the_callers_arrays_are_not(variables, batch):
    optimiser = make_optimiser(("decoder",))
    step = make_train_step(optimiser, ("decoder",), SMALL, LOSS)
    given = jax.tree.map(jnp.asarray, variables)
    state = init_state(given, optimiser)
    step(state, batch, jax.random.key(0))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params["decoder"]))
    jax.tree.map(np.testing.assert_array_equal, given, variables)


def test_frozen_parts_are_unchanged_bit_for_bit_and_keep_no_moments(variables, synthesis_run):
    state, _ = synthesis_run
    jax.tree.map(
        np.testing.assert_array_equal, state.params["assignment"], variables["params"]["assignment"]
    )
    jax.tree.map(np.testing.assert_array_equal, state.batch_stats, variables["batch_stats"])
    for part in ("encoder", "decoder"):
        moved = jax.tree.map(np.array_equal, state.params[part], variables["params"][part])
        assert not any(jax.tree.leaves(moved)), part
    trained = sum(
        leaf.size for leaf in jax.tree.leaves([state.params[p] for p in ("encoder", "decoder")])
    )
    kept = sum(np.size(x) for x in jax.tree.leaves(state.opt_state) if np.ndim(x) > 0)
    assert kept == 2 * trained


def test_assignment_alone(variables, batch):
    """Phase one of W_UP: no L_rec; encoder and decoder stay."""
    loss = LossConfig(rec_weight=0.0, fft_sizes=(256,))
    state, metrics = run(variables, batch, ("assignment",), loss=loss)
    for part in ("encoder", "decoder"):
        jax.tree.map(np.testing.assert_array_equal, state.params[part], variables["params"][part])
    moved = jax.tree.map(
        np.array_equal, state.params["assignment"], variables["params"]["assignment"]
    )
    assert not all(jax.tree.leaves(moved))
    assert metrics[0]["rec"] == 0.0
    assert metrics[1]["total"] < metrics[0]["total"]


def test_given_f0(variables):
    """Strategy UMSS: no F0 networks, L_rec alone; 0 is unvoiced."""
    rng = np.random.default_rng(3)
    f0_hz = np.tile(
        np.array([440.0, 330.0, 0.0, 110.0], np.float32)[None, :, None], (1, 1, SYNTH_FRAMES)
    )
    batch = Batch(
        mixture=jnp.asarray(rng.uniform(-1, 1, (1, SAMPLES)), jnp.float32),
        f0_hz_synth=jnp.asarray(f0_hz),
    )
    only = {"params": {p: variables["params"][p] for p in ("encoder", "decoder")}}
    _, metrics = run(only, batch, ("encoder", "decoder"))
    for now in metrics:
        assert now["total"] == now["rec"] > 0
        assert (now["l1"], now["l2"], now["l3"]) == (0.0, 0.0, 0.0)


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="no part named vocoder"):
        make_optimiser(("encoder", "vocoder"))


def toy_tree():
    rng = np.random.default_rng(4)
    return {
        part: {"kernel": rng.normal(size=(3, 2)).astype(np.float32)}
        for part in ("assignment", "encoder", "salience")
    }


def toy_gradients(steps):
    rng = np.random.default_rng(5)
    scales = 10.0 ** rng.uniform(-6, 2, steps)  # Adam's ε and the penalty must both matter
    return [
        {part: {"kernel": (s * rng.normal(size=(3, 2))).astype(np.float32)} for part in toy_tree()}
        for s in scales
    ]


@pytest.mark.parametrize("penalty", [0.0, 1e-5, 0.1])
def test_optimiser_equals_pytorchs_adam_with_weight_decay(penalty):
    torch = pytest.importorskip("torch")
    config = OptimiserConfig(learning_rate=1e-2, l2_penalty=penalty)
    optimiser = make_optimiser(("assignment", "encoder"), config)
    params = jax.tree.map(jnp.asarray, toy_tree())
    state = optimiser.init(params)
    theirs = {
        part: torch.nn.Parameter(torch.from_numpy(toy_tree()[part]["kernel"]))
        for part in ("assignment", "encoder")
    }
    reference = torch.optim.Adam(theirs.values(), lr=1e-2, weight_decay=penalty)
    for gradient in toy_gradients(12):
        updates, state = optimiser.update(jax.tree.map(jnp.asarray, gradient), state, params)
        params = optax.apply_updates(params, updates)
        for part, leaf in theirs.items():
            leaf.grad = torch.from_numpy(gradient[part]["kernel"])
        reference.step()
        for part, leaf in theirs.items():
            assert relative_error(params[part]["kernel"], leaf.detach().numpy()) < 2e-6
    np.testing.assert_array_equal(params["salience"]["kernel"], toy_tree()["salience"]["kernel"])


def test_defaults_are_the_recorded_ones(golden):
    recorded = golden("train_steps")
    assert OptimiserConfig().learning_rate == recorded["learning_rate"]
    assert OptimiserConfig().l2_penalty == recorded["weight_decay"]


def test_clipping_by_the_norm_of_each_group():
    """Adam's first step is the sign of the gradient; its moment shows the clipped gradient."""
    config = OptimiserConfig(clip_norm=1.0, l2_penalty=0.0)
    optimiser = make_optimiser(("assignment", "encoder"), config)
    params = jax.tree.map(jnp.asarray, toy_tree())
    gradient = {part: {"kernel": jnp.full((3, 2), 100.0)} for part in params}
    gradient["encoder"]["kernel"] = jnp.full((3, 2), 1e-3)
    _, state = optimiser.update(gradient, optimiser.init(params), params)
    adams = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, optax.ScaleByAdamState))
    moments = [x.mu for x in adams if isinstance(x, optax.ScaleByAdamState)]
    norms = [np.linalg.norm(x) for x in jax.tree.leaves(moments)]
    np.testing.assert_allclose(sorted(norms), [0.1 * 1e-3 * 6**0.5, 0.1], rtol=1e-5)


def test_schedule():
    assert learning_rate(OptimiserConfig(learning_rate=0.3), 0.5) == pytest.approx(0.15)
    config = OptimiserConfig(
        learning_rate=1.0, warmup_steps=10, total_steps=110, final_fraction=0.1
    )
    rate = learning_rate(config)
    assert float(rate(0)) == 0.0
    assert float(rate(5)) == pytest.approx(0.5)
    assert float(rate(10)) == pytest.approx(1.0)
    assert float(rate(60)) == pytest.approx(0.55)
    assert float(rate(110)) == pytest.approx(0.1)


def test_rate_of_the_f0_networks_is_a_factor():
    config = OptimiserConfig(learning_rate=1e-3, f0_learning_rate_factor=0.1, l2_penalty=0.0)
    optimiser = make_optimiser(("assignment", "encoder"), config)
    params = jax.tree.map(jnp.asarray, toy_tree())
    updates, _ = optimiser.update(
        jax.tree.map(jnp.ones_like, params), optimiser.init(params), params
    )
    np.testing.assert_allclose(updates["encoder"]["kernel"], -1e-3, rtol=1e-5)
    np.testing.assert_allclose(updates["assignment"]["kernel"], -1e-4, rtol=1e-5)
    np.testing.assert_array_equal(updates["salience"]["kernel"], 0.0)
