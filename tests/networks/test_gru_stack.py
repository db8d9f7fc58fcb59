"""Recurrences in the forms for accelerators against the GRU that runs on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparison import relative_error

from umss_jax.accelerators import tracing_for
from umss_jax.config import EncoderConfig
from umss_jax.networks import gru_kernels
from umss_jax.networks.encoder import Encoder
from umss_jax.networks.gru import Gru
from umss_jax.networks.gru_kernels import backward_kernel, forward_kernel
from umss_jax.networks.gru_stack import backward_loop, forward_loop


def normal(seed, *shape, scale=0.3):
    return jnp.asarray(scale * np.random.default_rng(seed).normal(size=shape), jnp.float32)


SMALL = EncoderConfig(hidden=24, latent=7)


@pytest.mark.parametrize(
    "module", [Encoder(SMALL), Gru(20)], ids=["three layers and a skip", "one layer"]
)
def test_equals_the_form_for_a_cpu(module):
    x = normal(0, 3, 17, 11, scale=1.0)
    variables = module.init(jax.random.key(0), x)
    cotangent = normal(1, *module.apply(variables, x).shape)

    def value_and_slopes(variables, x):
        value, pull_back = jax.vjp(module.apply, variables, x)
        return value, pull_back(cotangent)

    expected = jax.jit(lambda *given: value_and_slopes(*given))(variables, x)
    with tracing_for(accelerator=True):
        again = module.init(jax.random.key(0), x)
        program = jax.jit(lambda *given: value_and_slopes(*given)).lower(variables, x)
        got = program.compile()(variables, x)
    assert "while" in program.as_text()
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert np.linalg.norm(ours - theirs) <= 2e-6 * max(np.linalg.norm(theirs), 1e-2)


# Layers, passes, batch and size: a wavefront, one layer in steps, and one that needs no steps;
# none of them whole blocks.
STACKS = [
    (3, 7, 17, 40),
    pytest.param(1, 5, 3, 70, marks=pytest.mark.slow),
    (1, 9, 18, 40),
]


@pytest.mark.parametrize(("layers", "passes", "batch", "hidden"), STACKS)
def test_kernels_compute_what_the_loops_compute(monkeypatch, layers, passes, batch, hidden):
    monkeypatch.setattr(gru_kernels, "_PASSES", 2)  # few launches to compile
    gates = 3 * hidden if layers == 1 else 6 * hidden
    kernels = normal(0, layers, hidden, gates)
    # Nothing is above the highest layer.
    kernels = kernels.at[-1, :, 3 * hidden :].set(0.0)
    biases, given = normal(1, layers, gates), normal(2, passes, batch, 3 * hidden)
    got = jax.jit(lambda *a: forward_kernel(*a, parameters=None, interpret=True))
    expected = jax.jit(forward_loop)(given, kernels, biases)
    assert relative_error(got(given, kernels, biases), expected) < 1e-6
    shape = (passes, layers, batch, hidden)
    given, factors = normal(3, *shape), tuple(normal(4 + i, *shape) for i in range(5))
    got = jax.jit(lambda *a: backward_kernel(*a, parameters=None, interpret=True))
    expected = jax.jit(backward_loop)(given, factors, kernels)
    assert relative_error(got(given, factors, kernels), expected) < 3e-6
