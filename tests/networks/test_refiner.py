"""The refiner: masks that sum to one, voices that are exchangeable, any number of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from umss_jax.config import RefinerConfig
from umss_jax.networks.refiner import Refiner, _merged, _split

SMALL = RefinerConfig(fft_size=64, hop_samples=16, channels=(4, 5), blocks=1)


def spectra(voices=4, frames=11, seed=0):
    rng = np.random.default_rng(seed)
    each = rng.uniform(0, 3, (2, voices, 33, frames)).astype(np.float32)
    return jnp.asarray(each.sum(axis=1)), jnp.asarray(each)


@pytest.fixture(scope="module")
def network():
    """With heads of random weights: they begin at zero."""
    module = Refiner(SMALL)
    variables = jax.jit(module.init)(jax.random.key(0), *spectra())
    params = dict(variables["params"])
    for number, name in enumerate(("voice", "rest"), start=1):
        kernel = params[name]["kernel"]
        assert not kernel.any()
        random = 0.3 * jax.random.normal(jax.random.key(number), kernel.shape)
        params[name] = {**params[name], "kernel": random}
    return module, {"params": params}


@pytest.mark.parametrize(("voices", "frames"), [(1, 1), (1, 16), (2, 11), (4, 1), (8, 11), (8, 16)])
def test_masks_sum_to_one_for_any_number_of_voices(network, voices, frames):
    module, variables = network
    mixture, each = spectra(voices, frames)
    masks = jax.jit(module.apply)(variables, mixture, each)
    assert masks.shape == (2, voices + 1, 33, frames)
    assert float(masks.min()) >= 0
    np.testing.assert_allclose(masks.sum(axis=1), 1, atol=1e-6)


def test_voices_are_exchangeable(network):
    module, variables = network
    mixture, each = spectra()
    order = np.array([2, 0, 3, 1])
    masks, exchanged = (module.apply(variables, mixture, v) for v in (each, each[:, order]))
    # Sums over the voices round otherwise, and norms of random layers enlarge that.
    np.testing.assert_allclose(exchanged[:, :-1], masks[:, order], atol=3e-4)
    np.testing.assert_allclose(exchanged[:, -1], masks[:, -1], atol=3e-4)


def test_begins_with_the_ratio_of_the_voices(network):
    """With an output of zero the masks are the shares of powers, but for what the rest takes."""
    module, variables = network
    zero = dict(variables["params"])
    for name in ("voice", "rest"):
        zero[name] = jax.tree.map(jnp.zeros_like, zero[name])
    mixture, each = spectra()
    masks = np.asarray(module.apply({"params": zero}, mixture, each), np.float64)
    voices, heard = np.asarray(each, np.float64) + 1e-3, np.asarray(mixture, np.float64) + 1e-3
    power = SMALL.power
    rest = np.exp(-5.0) * heard**power
    expected = voices**power / (np.sum(voices**power, axis=1) + rest)[:, None]
    np.testing.assert_allclose(masks[:, :-1], expected, atol=1e-5)


def test_silence_has_finite_masks_and_gradients(network):
    module, variables = network
    mixture, each = spectra()

    def loss(params):
        masks = module.apply({"params": params}, 0 * mixture, 0 * each)
        return jnp.sum(masks**2)

    value, gradient = jax.jit(jax.value_and_grad(loss))(variables["params"])
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_gradients_are_numerically_right(network):
    module, variables = network
    mixture, each = spectra(voices=2, frames=4)
    params = variables["params"]

    def masks(kernel):
        changed = {**params, "voice": {**params["voice"], "kernel": kernel}}
        return module.apply({"params": changed}, mixture, each)

    kernel = params["voice"]["kernel"]
    check_grads(masks, (kernel,), order=1, modes=("rev",), atol=2e-2, rtol=2e-2)


def test_patches_are_split_as_they_were_merged():
    x = jnp.arange(2 * 8 * 6 * 3.0).reshape(2, 8, 6, 3)
    merged = _merged(x, (4, 2))
    assert merged.shape == (2, 2, 3, 24)
    # The first patch holds the first four bins of the first two frames.
    np.testing.assert_array_equal(merged[0, 0, 0], x[0, :4, :2].reshape(-1))
    np.testing.assert_array_equal(_split(merged, (4, 2)), x)


def test_other_spectra_are_refused(network):
    module, variables = network
    mixture, each = spectra()
    with pytest.raises(ValueError, match="expected"):
        module.apply(variables, mixture[..., :5], each)
    with pytest.raises(ValueError, match="F = 33"):
        module.apply(variables, mixture[:, :20], each[:, :, :20])
