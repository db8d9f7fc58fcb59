"""The whole model against the recorded forward pass, and its entry points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparison import relative_error

from umss_jax import model
from umss_jax.config import ModelConfig
from weights_convert import import_file

CONFIG = ModelConfig()


@pytest.fixture(scope="module")
def variables(shared):
    pytest.importorskip("torch")
    return import_file(shared / "weights" / "umss_reference_random.pth").variables


@pytest.fixture(scope="module")
def recorded(golden):
    return golden("full_forward")


@pytest.fixture(scope="module")
def uniform(golden):
    return jnp.asarray(2 * golden("train_step_0_noise")["uniform_voiced"] - 1)[None]


@pytest.fixture(scope="module")
def output(variables, recorded, uniform):
    run = jax.jit(lambda v, m, u, s: model.forward(v, m, u, CONFIG, salience=s))
    arrays = (jnp.asarray(recorded[name])[None] for name in ("mixture", "salience"))
    mixture, salience = arrays
    return run(variables, mixture, uniform, salience)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("mixture", "mixture"),
        ("assigned", "assigned"),
        ("f0_hz_synth", "f0_hz"),
        ("sources", "sources"),
        ("mixture_hat", "mixture_hat"),
    ],
)
def test_equals_the_recorded_forward_pass(output, recorded, ours, theirs):
    assert relative_error(getattr(output, ours)[0], recorded[theirs]) < 1e-3


def test_every_source_equals_the_recorded_one(output, recorded):
    for ours, theirs in zip(output.sources[0], recorded["sources"], strict=True):
        assert relative_error(ours, theirs) < 1e-3


def test_mixture_hat_is_the_sum_of_the_sources(output):
    np.testing.assert_allclose(output.mixture_hat, np.sum(output.sources, axis=1), atol=1e-5)


def test_every_intermediate_has_its_shape(output):
    assert output.features is None  # the salience was given
    shapes = {
        "salience": (1, 360, 344),
        "assigned": (1, 4, 360, 344),
        "binary": (1, 4, 360, 344),
        "f0_hz_cqt": (1, 4, 344),
        "f0_hz_synth": (1, 4, 250),
        "latent": (1, 250, 128),
        "harmonic": (1, 4, 64_000),
        "noise": (1, 4, 64_000),
        "sources": (1, 4, 64_000),
        "mixture_hat": (1, 64_000),
    }
    assert {name: getattr(output, name).shape for name in shapes} == shapes
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(output))


def test_from_the_mixture_alone_nothing_is_left_out(variables):
    """Shapes only: everything named, nothing None."""
    mixture = jax.ShapeDtypeStruct((2, 64_000), jnp.float32)
    uniform = jax.ShapeDtypeStruct((2, 4, 64_256), jnp.float32)
    out = jax.eval_shape(
        lambda v, m, u: model.forward(v, m, u, CONFIG), variables, mixture, uniform
    )
    assert all(value is not None for value in out)
    assert out.features.magnitude_db.shape == (2, 5, 360, 344)
    assert out.features.phase_difference.shape == (2, 5, 360, 344)
    assert out.salience.shape == (2, 360, 344)
    assert out.sources.shape == (2, 4, 64_000)


def test_given_f0_needs_no_f0_networks(variables, output, recorded, uniform):
    """Same voices from the F0 that the analysis found, with encoder and decoder alone."""
    synthesis = {"params": {part: variables["params"][part] for part in ("encoder", "decoder")}}
    mixture = jnp.asarray(recorded["mixture"])[None]
    run = jax.jit(lambda v, m, u, f: model.forward(v, m, u, CONFIG, f0_hz_synth=f))
    given = run(synthesis, mixture, uniform, output.f0_hz_synth)
    assert relative_error(given.sources, output.sources) < 1e-5
    assert given.salience is None
    assert given.assigned is None
    assert given.binary is None


def test_given_f0_of_zero_is_floored():
    f0_hz = model.given_f0(jnp.asarray([[[0.0, 200.0]]]), CONFIG).f0_hz_synth
    np.testing.assert_array_equal(f0_hz, np.array([[[1e-5, 200.0]]], np.float32))


def test_stages_joined_by_hand_are_the_model(variables, output, recorded, uniform):
    mixture, salience = (jnp.asarray(recorded[name])[None] for name in ("mixture", "salience"))

    def by_hand(variables, mixture, salience):
        analysis = model.analyse(variables, mixture, CONFIG, salience=salience)
        return model.resynthesise(variables, mixture, analysis, uniform, CONFIG)

    assert (
        relative_error(jax.jit(by_hand)(variables, mixture, salience).sources, output.sources)
        < 1e-5
    )


def test_fresh_variables_have_the_published_shapes(variables):
    fresh = jax.eval_shape(lambda key: model.init_variables(key, CONFIG), jax.random.key(0))
    expected = jax.tree.map(np.shape, dict(variables))
    assert jax.tree.map(lambda leaf: leaf.shape, fresh) == expected
    assert set(fresh["params"]) == set(model.PARTS)
    counts = {
        part: sum(leaf.size for leaf in jax.tree.leaves(tree))
        for part, tree in fresh["params"].items()
    }
    assert counts["salience"] == 1_251_701
    assert counts["assignment"] == 189_830
    assert counts["encoder"] + counts["decoder"] == 5_573_961


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="no part named 'vocoder': choose from salience"):
        model.init_part("vocoder", jax.random.key(0), CONFIG)


def test_noise_is_drawn_for_every_voice():
    uniform = model.sample_uniform(jax.random.key(0), jnp.zeros((3, 64_000)), CONFIG)
    assert uniform.shape == (3, 4, 64_256)
    assert -1.0 <= float(uniform.min()) < -0.99
    assert 0.99 < float(uniform.max()) < 1.0
