"""The kernel's gradient as products against its definition in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from umss_jax.networks.frequency_conv import direct_conv, same_conv, short_conv
from umss_jax.networks.kernel_gradient import kernel_gradient, taps_with_input


def by_definition(x, gradient, taps):
    """Every tap as the sum that it is, in float64."""
    bins, frames = x.shape[1:3]
    zeros = [((n - 1) // 2, n // 2) for n in taps]
    padded = np.pad(x, ((0, 0), *zeros, (0, 0)))
    return np.array(
        [
            [
                np.einsum("bftc,bfto->co", padded[:, i : i + bins, j : j + frames], gradient)
                for j in range(taps[1])
            ]
            for i in range(taps[0])
        ]
    )


sizes = st.integers(1, 9)


@given(
    batch=st.integers(1, 4),
    image=st.tuples(sizes, sizes),
    channels=st.tuples(sizes, sizes),
    taps=st.tuples(sizes, sizes),
    block=st.sampled_from([30, 400, 1 << 19]),
)
@example(batch=2, image=(13, 4), channels=(2, 3), taps=(70, 3), block=300)
@example(batch=1, image=(12, 5), channels=(5, 16), taps=(5, 5), block=2000)
@example(batch=3, image=(9, 5), channels=(1, 8), taps=(3, 3), block=200)  # all taps with the input
@example(batch=3, image=(9, 5), channels=(64, 1), taps=(9, 1), block=4000)  # and with the gradient
@example(batch=5, image=(6, 1), channels=(4, 8), taps=(3, 1), block=700)  # two examples a block
@settings(max_examples=6, deadline=None)
def test_any_size_gives_the_gradient(batch, image, channels, taps, block):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, *image, channels[0])).astype(np.float32)
    gradient = rng.normal(size=(batch, *image, channels[1])).astype(np.float32)
    value = jax.jit(kernel_gradient, static_argnums=(2, 3))(x, gradient, taps, block)
    reference = by_definition(x.astype(np.float64), gradient.astype(np.float64), taps)
    assert value.dtype == jnp.float32
    # A tap that meets only zeros is zero in both.
    assert np.linalg.norm(value - reference) <= 1e-6 * np.linalg.norm(reference)


@pytest.mark.parametrize(
    ("taps", "channels", "with_input"),
    [
        ((3, 3), (64, 64), (True, False)),  # 192 and 192 columns
        ((5, 5), (5, 16), (True, False)),
        ((3, 3), (1, 32), (True, True)),  # 9 and 32
        ((360, 1), (64, 8), (False, True)),  # 64 and 2880
        ((70, 3), (32, 32), (True, False)),
    ],
)
def test_taps_are_shared_for_the_fewest_columns(taps, channels, with_input):
    assert taps_with_input(taps, *channels) == with_input


@pytest.mark.parametrize("taps", [(3, 3), (4, 2), (7, 1), (1, 1)])
def test_both_gradients_are_those_of_the_convolution(taps):
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        x = jnp.asarray(rng.normal(size=(2, 6, 5, 3)))
        kernel = jnp.asarray(rng.normal(size=(*taps, 3, 4)))
        check_grads(short_conv, (x, kernel), 1, modes=["rev"])
        gradient = jnp.asarray(rng.normal(size=(2, 6, 5, 4)))
        ours, theirs = (jax.vjp(f, x, kernel)[1](gradient) for f in (short_conv, direct_conv))
        for of_ours, of_theirs in zip(ours, theirs, strict=True):
            assert of_ours.dtype == jnp.float64
            np.testing.assert_allclose(of_ours, of_theirs, rtol=1e-12, atol=1e-12)


def test_bfloat16_is_summed_in_float32():
    """4096 equal products: bfloat16 would stop growing at 256."""
    ones = jnp.ones((1, 64, 64, 1), jnp.bfloat16)
    value = kernel_gradient(ones, ones, (1, 1))
    assert value.dtype == jnp.bfloat16
    assert float(value[0, 0, 0, 0]) == 4096.0


def pulled(x, kernel, method, argument):
    def total(*arguments):
        return jnp.sum(same_conv(*arguments, method) ** 2)

    return jax.grad(total, argnums=argument)(x, kernel)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="accelerators use their libraries'")
def test_a_cpu_makes_the_kernel_gradient_of_products_unless_told_otherwise():
    shapes = jnp.zeros((1, 8, 6, 2)), jnp.zeros((3, 3, 2, 2))

    def products(method):
        return str(jax.make_jaxpr(lambda x, k: pulled(x, k, method, 1))(*shapes)).count("dot_gen")

    assert products("auto") > 0
    assert products("direct") == 0


def test_gradient_of_a_frozen_short_kernel_costs_nothing():
    rng = np.random.default_rng(2)
    x, kernel = (jnp.float32(rng.normal(size=s)) for s in ((1, 64, 40, 8), (3, 3, 8, 8)))

    def products(argument):
        program = jax.jit(pulled, static_argnums=(2, 3)).lower(x, kernel, "auto", argument)
        return program.compile().as_text().count(" dot(")

    assert products(0) == 0
    assert products(1) > 0


def test_memory_stays_that_of_a_few_copies():
    """No operand holds every tap: 25 copies of the input would be 23 MB."""
    x = jax.ShapeDtypeStruct((1, 120, 60, 32), jnp.float32)
    program = jax.jit(kernel_gradient, static_argnums=2).lower(x, x, (5, 5)).compile()
    image = 4 * 120 * 60 * 32
    assert program.memory_analysis().temp_size_in_bytes < 2.4 * image + 3 * (2 << 20)
