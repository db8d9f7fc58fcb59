"""GRU and dense layers against PyTorch's, and the GRU's own gradient against a plain scan's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparison import relative_error
from jax.test_util import check_grads

from umss_jax.networks.dense import Dense, DenseStack, LayerNorm
from umss_jax.networks.gru import Gru, gru_scan


def flax_gru(torch_gru):
    """Parameters of a PyTorch GRU as ours."""
    names = {
        "input_kernel": "weight_ih_l0",
        "hidden_kernel": "weight_hh_l0",
        "input_bias": "bias_ih_l0",
        "hidden_bias": "bias_hh_l0",
    }
    state = torch_gru.state_dict()
    return {ours: jnp.asarray(state[theirs].numpy().T) for ours, theirs in names.items()}


def normal(seed, *shape, scale=1.0):
    return jnp.asarray(scale * np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize(("inputs", "hidden", "steps"), [(257, 256, 60), (5, 3, 1), (7, 40, 250)])
def test_equals_pytorch_forward_and_backward(inputs, hidden, steps):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    reference = torch.nn.GRU(inputs, hidden, batch_first=True)
    x = torch.randn(2, steps, inputs, requires_grad=True)
    weights = torch.randn(2, steps, hidden)
    expected = reference(x)[0]
    (expected * weights).sum().backward()
    params = flax_gru(reference)

    def run(params, x):
        return Gru(hidden).apply({"params": params}, x)

    value, pull_back = jax.vjp(run, params, jnp.asarray(x.detach().numpy()))
    assert relative_error(value, expected.detach().numpy()) < 1e-5
    slopes, slope_x = pull_back(jnp.asarray(weights.numpy()))
    assert relative_error(slope_x, x.grad.numpy()) < 1e-5
    for name, theirs in (
        ("input_kernel", reference.weight_ih_l0),
        ("hidden_kernel", reference.weight_hh_l0),
        ("input_bias", reference.bias_ih_l0),
        ("hidden_bias", reference.bias_hh_l0),
    ):
        expected_slope = theirs.grad.numpy().T
        # Single step from rest: no gradient at all for the hidden kernel.
        assert np.linalg.norm(slopes[name] - expected_slope) <= 1e-5 * max(
            np.linalg.norm(expected_slope), 1e-3
        ), name


def plain_scan(projected, kernel, bias):
    """The recurrence written out for automatic differentiation."""
    size = kernel.shape[0]

    def step(h, x):
        u = jnp.dot(h, kernel, precision="highest") + bias[None, :]
        r = jax.nn.sigmoid(x[:, :size] + u[:, :size])
        z = jax.nn.sigmoid(x[:, size : 2 * size] + u[:, size : 2 * size])
        n = jnp.tanh(x[:, 2 * size :] + r * u[:, 2 * size :])
        h = (1.0 - z) * n + z * h
        return h, h

    start = jnp.zeros((projected.shape[0], size))
    return jnp.swapaxes(jax.lax.scan(step, start, jnp.swapaxes(projected, 0, 1))[1], 0, 1)


@pytest.mark.parametrize(("batch", "steps", "hidden"), [(1, 1, 2), (3, 40, 16), (2, 250, 64)])
def test_custom_gradient_equals_that_of_a_plain_scan(batch, steps, hidden):
    arguments = (
        normal(0, batch, steps, 3 * hidden),
        normal(1, hidden, 3 * hidden, scale=hidden**-0.5),
        normal(2, 3 * hidden, scale=0.3),
    )
    cotangent = normal(3, batch, steps, hidden)
    value, pull_back = jax.vjp(gru_scan, *arguments)
    expected, expected_pull_back = jax.vjp(plain_scan, *arguments)
    assert relative_error(value, expected) < 1e-6
    for got, wanted in zip(pull_back(cotangent), expected_pull_back(cotangent), strict=True):
        assert np.linalg.norm(got - wanted) <= 5e-6 * max(np.linalg.norm(wanted), 1e-3)


def test_numerical_gradients():
    arguments = (normal(4, 2, 5, 9), normal(5, 3, 9, scale=0.6), normal(6, 9, scale=0.3))
    check_grads(gru_scan, arguments, order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


def test_several_inputs_are_their_concatenation():
    """Inputs of fewer rows are shared by consecutive rows of the larger ones."""
    many, few = normal(7, 6, 11, 4), normal(8, 2, 11, 3)
    module = Gru(5)
    params = module.init(jax.random.key(0), many, few)
    assert params["params"]["input_kernel"].shape == (7, 15)
    together = jnp.concatenate([many, jnp.repeat(few, 3, axis=0)], axis=-1)
    assert relative_error(module.apply(params, many, few), module.apply(params, together)) < 1e-6


def test_causal():
    x = normal(9, 1, 20, 4)
    module = Gru(6)
    params = module.init(jax.random.key(1), x)
    before = module.apply(params, x)
    after = module.apply(params, x.at[:, 12:].add(1.0))
    np.testing.assert_array_equal(before[:, :12], after[:, :12])
    assert np.abs(before[:, 12] - after[:, 12]).max() > 1e-3


@pytest.mark.parametrize(("module", "width"), [(Gru(16), 16), (Dense(9), 25)], ids=["gru", "dense"])
def test_fresh_parameters_lie_within_pytorchs_bounds(module, width):
    params = module.init(jax.random.key(2), jnp.zeros((1, 3, 25)))["params"]
    for leaf in jax.tree.leaves(params):
        assert np.abs(leaf).max() <= width**-0.5
        assert np.abs(leaf).max() > 0.5 * width**-0.5 or leaf.size < 10
        assert np.unique(leaf).size > 0.9 * leaf.size


def test_dense_stack_equals_pytorch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    layers, params = [], {}
    for number, width in enumerate((1, 32, 32), 1):
        dense, norm = torch.nn.Linear(width, 32), torch.nn.LayerNorm(32)
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
        layers += [dense, norm, torch.nn.LeakyReLU(0.01)]
        params[f"dense_{number}"] = {
            "kernel": dense.weight.detach().numpy().T,
            "bias": dense.bias.detach().numpy(),
        }
        params[f"norm_{number}"] = {
            "scale": norm.weight.detach().numpy(),
            "bias": norm.bias.detach().numpy(),
        }
    reference = torch.nn.Sequential(*layers)
    x = torch.randn(2, 7, 1, requires_grad=True)
    weights = torch.randn(2, 7, 32)
    expected = reference(x)
    (expected * weights).sum().backward()
    params = jax.tree.map(jnp.asarray, params)
    value, pull_back = jax.vjp(
        lambda p, x: DenseStack(32).apply({"params": p}, x), params, jnp.asarray(x.detach().numpy())
    )
    assert relative_error(value, expected.detach().numpy()) < 1e-5
    slopes, slope_x = pull_back(jnp.asarray(weights.numpy()))
    assert relative_error(slope_x, x.grad.numpy()) < 1e-4
    for number in (1, 2, 3):
        dense, norm = layers[3 * (number - 1)], layers[3 * (number - 1) + 1]
        pairs = (
            (slopes[f"dense_{number}"]["kernel"], dense.weight.grad.numpy().T),
            (slopes[f"dense_{number}"]["bias"], dense.bias.grad.numpy()),
            (slopes[f"norm_{number}"]["scale"], norm.weight.grad.numpy()),
            (slopes[f"norm_{number}"]["bias"], norm.bias.grad.numpy()),
        )
        for got, wanted in pairs:
            assert relative_error(got, wanted) < 1e-4


def test_gradients_of_dense_and_norm():
    x = normal(10, 2, 3, 4)
    for module in (Dense(5), LayerNorm()):
        params = module.init(jax.random.key(3), x)
        check_grads(module.apply, (params, x), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


def test_norm_of_a_constant_row_is_finite():
    module = LayerNorm()
    x = jnp.full((1, 2, 8), 3.0)
    params = module.init(jax.random.key(0), x)
    np.testing.assert_array_equal(module.apply(params, x), 0.0)
    slope = jax.grad(lambda x: jnp.sum(module.apply(params, x) ** 2))(x)
    assert np.isfinite(slope).all()
