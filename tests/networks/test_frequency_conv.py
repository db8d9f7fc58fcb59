"""The convolution along frequency against the direct one, and both against float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparison import relative_error
from jax.test_util import check_grads

from umss_jax.networks.frequency_conv import (
    METHODS,
    direct_conv,
    long_frequency_conv,
    same_conv,
)

SHAPES = [
    # batch, bins, frames, kernel
    (1, 360, 40, (70, 3, 8, 6)),
    (2, 360, 24, (360, 1, 8, 4)),
    (3, 61, 7, (70, 3, 2, 3)),  # kernel longer than the axis
    (2, 50, 9, (9, 4, 3, 2)),  # even kernel in time
    (1, 33, 2, (8, 5, 1, 1)),  # kernel longer than the frames
    (1, 12, 1, (1, 1, 2, 2)),
]


def operands(batch, bins, frames, kernel_shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, bins, frames, kernel_shape[2]))
    kernel = rng.normal(size=kernel_shape)
    gradient = rng.normal(size=(batch, bins, frames, kernel_shape[3]))
    return x, kernel, gradient


def value_and_gradients(conv, x, kernel, gradient):
    value, pull = jax.vjp(conv, x, kernel)
    return (value, *pull(gradient))


def backend_conv(x, kernel):
    """With the gradients that JAX derives."""
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)


def oracle(x, kernel, gradient):
    """The direct convolution in float64."""
    with jax.enable_x64(True):
        wide = [jnp.asarray(a, jnp.float64) for a in (x, kernel, gradient)]
        return [
            np.asarray(a)
            for a in jax.jit(value_and_gradients, static_argnums=0)(backend_conv, *wide)
        ]


def test_direct_convolution_pads_after():
    """A kernel of two taps sees its own bin and the next, as in TensorFlow."""
    x = jnp.arange(4.0).reshape(1, 4, 1, 1)
    kernel = jnp.array([1.0, 10.0]).reshape(2, 1, 1, 1)
    for conv in (direct_conv, long_frequency_conv):
        np.testing.assert_allclose(conv(x, kernel).ravel(), [10, 21, 32, 3], rtol=1e-5)


@pytest.mark.parametrize("conv", [long_frequency_conv, direct_conv])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_convolutions_equal_the_direct_one(shape, conv):
    x, kernel, gradient = operands(*shape)
    reference = oracle(x, kernel, gradient)
    value = jax.jit(value_and_gradients, static_argnums=0)(
        conv, *(jnp.float32(a) for a in (x, kernel, gradient))
    )
    for name, ours, theirs in zip(("value", "x", "kernel"), value, reference, strict=True):
        assert ours.dtype == jnp.float32
        assert relative_error(ours, theirs) < 2e-6, name


def test_long_convolution_gradients():
    x, kernel, _ = operands(2, 11, 4, (5, 3, 2, 2))
    # Linear in each argument, so that wide steps make central differences no less exact.
    arguments = (jnp.float32(x), jnp.float32(kernel))
    check_grads(long_frequency_conv, arguments, 1, modes=["rev"], eps=0.5)


def test_methods_agree_and_others_are_refused():
    x, kernel, _ = (jnp.float32(a) for a in operands(1, 360, 4, (70, 3, 4, 4)))
    reference = direct_conv(x, kernel)
    for method in METHODS:
        assert relative_error(same_conv(x, kernel, method), reference) < 1e-5
    with pytest.raises(ValueError, match="unknown convolution method 'slow'"):
        same_conv(x, kernel, "slow")


def dots_and_convolutions(x_shape, kernel_shape, method):
    jaxpr = str(
        jax.make_jaxpr(lambda x, w: same_conv(x, w, method))(
            jnp.zeros(x_shape), jnp.zeros(kernel_shape)
        )
    )
    return "dot_general" in jaxpr, "conv_general_dilated" in jaxpr


@pytest.mark.parametrize(
    ("kernel_shape", "transformed"),
    [
        ((70, 3, 32, 32), True),
        ((70, 3, 32, 16), True),
        ((360, 1, 64, 8), True),
        ((5, 5, 32, 32), False),
        ((3, 3, 64, 64), False),
        ((1, 1, 8, 1), False),
    ],
)
def test_auto_transforms_long_kernels_only(kernel_shape, transformed):
    x_shape = (1, 360, 3, kernel_shape[2])
    assert dots_and_convolutions(x_shape, kernel_shape, "auto") == (transformed, not transformed)


def test_gradient_of_a_frozen_kernel_costs_nothing():
    """Without the kernel's gradient only two transforms and one product remain."""
    x, kernel, gradient = (jnp.float32(a) for a in operands(1, 360, 8, (70, 3, 16, 16)))

    def flops(wanted):
        def pull(x, kernel, gradient):
            return tuple(jax.vjp(long_frequency_conv, x, kernel)[1](gradient)[i] for i in wanted)

        return jax.jit(pull).lower(x, kernel, gradient).compile().cost_analysis()["flops"]

    assert flops([0]) < 0.7 * flops([0, 1])
