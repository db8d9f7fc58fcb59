"""The small F0 networks: interfaces, and their parts against other computations of the same."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weight_files import save_recognised

from umss_jax import model
from umss_jax.config import ConvConfig, ModelConfig
from umss_jax.networks.conv import Conv
from umss_jax.networks.small import (
    SmallSalience,
    SmallVoices,
    WideVoices,
    _dilated,
    _Harmonics,
)
from umss_jax.weights import store as weights
from umss_jax.weights.recognise import recognise

CONFIG = ModelConfig(salience_network="small-salience", assignment_network="small-voices")


@pytest.fixture(scope="module")
def variables():
    init = partial(model.init_variables, config=CONFIG, parts=("salience", "assignment"))
    return jax.tree.map(np.asarray, jax.jit(init)(jax.random.key(0)))


def peaky(rng, *shape):
    """Something like a salience: small but for some bins."""
    return rng.uniform(0, 1, shape).astype(np.float32) ** 30


@jax.jit
def assign(variables, salience):
    return SmallVoices().apply({"params": variables["params"]["assignment"]}, salience)


@pytest.mark.parametrize("frames", [7, 64])
def test_outputs_fit_the_interfaces(variables, frames):
    rng = np.random.default_rng(0)
    magnitude_db = rng.uniform(-80, 0, (2, 5, 360, frames)).astype(np.float32)
    own = {"params": variables["params"]["salience"]}
    salience = jax.jit(SmallSalience().apply)(own, magnitude_db)
    assert salience.shape == (2, 360, frames)
    assigned = assign(variables, salience)
    assert assigned.shape == (2, 4, 360, frames)
    for values in (salience, assigned):
        assert ((np.asarray(values) > 0) & (np.asarray(values) < 1)).all()


@pytest.mark.slow
@pytest.mark.parametrize("network", [SmallSalience, SmallVoices, WideVoices])
@pytest.mark.parametrize("recompute", ["none", "elementwise", "everything"])
def test_one_example_after_another_changes_no_gradient(network, recompute):
    shape = (2, 5, 360, 16) if network is SmallSalience else (2, 360, 16)
    inputs = jnp.float32(np.random.default_rng(3).uniform(0, 1, shape))
    weights = jax.jit(network().init)(jax.random.key(0), inputs)

    def gradient(config):
        def total(weights):
            return jnp.sum(network(config=config).apply(weights, inputs) ** 2)

        return jax.jit(jax.grad(total))(weights)

    whole = gradient(ConvConfig(batching="whole", recompute="none"))
    found = gradient(ConvConfig(batching="example", recompute=recompute))
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


def test_examples_of_a_batch_do_not_depend_on_each_other(variables):
    rng = np.random.default_rng(1)
    salience = peaky(rng, 3, 360, 40)
    whole = assign(variables, salience)
    np.testing.assert_allclose(whole[1:2], assign(variables, salience[1:2]), atol=1e-5)


def test_frames_of_padding_change_nothing(variables):
    """An excerpt of an odd length ends as a longer, silent one does in its own frames."""
    rng = np.random.default_rng(2)
    salience = peaky(rng, 1, 360, 33)
    longer = np.concatenate([salience, np.zeros((1, 360, 31), np.float32)], axis=-1)
    short = assign(variables, salience)
    np.testing.assert_allclose(short, assign(variables, longer)[..., :33], atol=1e-5)


def test_wide_voices_see_twice_as_far_as_small_ones():
    """A frame's assignment depends on so many frames on either side, and on no others."""
    rng = np.random.default_rng(8)
    salience = peaky(rng, 1, 360, 640)
    reach = {}
    for network in (SmallVoices, WideVoices):
        own = jax.jit(network().init)(jax.random.key(9), salience)

        def at_320(salience, network=network, own=own):
            return jnp.sum(network().apply(own, salience)[..., 320])

        slope = jax.jit(jax.grad(at_320))(salience)
        frames = np.flatnonzero(np.abs(np.asarray(slope)).max(axis=(0, 1)))
        reach[network] = (320 - frames.min(), frames.max() - 320)
    # Cells of four frames: one for the first convolution and one for interpolation, and dilations.
    for network, dilations in ((SmallVoices, 15), (WideVoices, 30)):
        assert all(4 * dilations < found <= 4 * (dilations + 3) for found in reach[network])


def test_dilated_convolution_equals_the_backends():
    x = jax.random.normal(jax.random.key(3), (2, 6, 24, 5))
    conv = Conv((3, 3, 7))
    own = conv.init(jax.random.key(4), x)
    for dilation in (1, 2, 4, 8):
        found = conv.apply(own, x, method=lambda module, x, d=dilation: _dilated(module, x, d))
        expected = jax.lax.conv_general_dilated(
            x,
            own["params"]["kernel"],
            (1, 1),
            ((1, 1), (dilation, dilation)),
            rhs_dilation=(1, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision="highest",
        )
        np.testing.assert_allclose(found, expected + own["params"]["bias"].reshape(1, 1, 1, -1),
                                   atol=2e-5)  # fmt: skip


def test_harmonics_see_octaves_and_nothing_between():
    """What a bin gives depends on itself and on bins at the ratios, on no other."""
    module = _Harmonics(3)
    own = module.init(jax.random.key(6), jnp.zeros((1, 360, 1, 2)))

    def at_150(x):
        return jnp.sum(module.apply(own, x)[0, 150, 0])

    slope = np.abs(jax.grad(at_150)(jnp.zeros((1, 360, 1, 2))))[0, :, 0].sum(-1)
    seen = set(np.flatnonzero(slope) - 150)
    assert seen == {-120, -95, -60, -35, 0, 35, 60, 95}


def test_gradients_reach_every_parameter(variables):
    rng = np.random.default_rng(7)
    mixture = rng.normal(size=(1, 8192)).astype(np.float32)

    def loss(params):
        trained = {"params": params, "batch_stats": {}}
        analysis = model.analyse(trained, mixture, CONFIG)
        return jnp.sum(analysis.assigned**2)

    gradient = jax.jit(jax.grad(loss))(variables["params"])
    for path, leaf in jax.tree_util.tree_flatten_with_path(gradient)[0]:
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


def test_weights_are_recognised_by_name_and_shape(variables, tmp_path):
    assert recognise(variables, "salience") == "small-salience"
    assert recognise(variables, "assignment") == "small-voices"
    stored = save_recognised(tmp_path / "small", variables)
    config = weights.load(stored).config
    assert (config.salience_network, config.assignment_network) == (
        "small-salience",
        "small-voices",
    )
    wide = jax.jit(WideVoices().init)(jax.random.key(1), jnp.zeros((1, 360, 8)))
    assert recognise({"params": {"assignment": wide["params"]}}, "assignment") == "wide-voices"
    one = {"params": {"salience": variables["params"]["salience"]}}
    save_recognised(tmp_path / "one", one)
    assert weights.load(tmp_path / "one").variables["params"].keys() == {"salience"}
