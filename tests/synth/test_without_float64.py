"""What accelerators compute in place of float64 and of loops, against what a CPU computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparison import relative_error

from umss_jax.config import SynthConfig
from umss_jax.dsp.double_float import DoubleFloat
from umss_jax.synth.all_pole import all_pole_coefficients, loop_recursion
from umss_jax.synth.harmonic import _offsets_in_pairs
from umss_jax.synth.recursion_kernel import GPU_BLOCK, TPU_BLOCK, hopper_recursion, kernel_recursion
from umss_jax.synth.section_products import section_coefficients, section_gradient


def exact(pair):
    return np.asarray(pair.high, np.float64) + np.asarray(pair.low, np.float64)


@pytest.mark.parametrize("operation", ["__add__", "__sub__", "__mul__"])
def test_pairs_hold_48_bits(operation):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=4000) * 10.0 ** rng.integers(-6, 6, 4000) for _ in range(2))

    def pair(x):
        high = x.astype(np.float32)
        return DoubleFloat(jnp.asarray(high), jnp.asarray((x - high).astype(np.float32)))

    a, b = pair(a), pair(b)
    got = jax.jit(lambda a, b: getattr(a, operation)(b))(a, b)
    expected = getattr(exact(a), operation)(exact(b))
    # Of sums that cancel, what is lost is small beside the terms.
    size = np.abs(expected) if operation == "__mul__" else np.abs(exact(a)) + np.abs(exact(b))
    assert np.max(np.abs(exact(got) - expected) / size) < 2.0**-44
    assert np.max(np.abs(got.low) / np.maximum(np.abs(got.high), 1e-30)) < 2.0**-23


def test_a_number_is_kept_as_a_pair():
    third = DoubleFloat.of(1 / 3)
    assert abs(float(third.high) + float(third.low) - 1 / 3) < 1e-15
    assert float(third.rounded()) == np.float32(1 / 3)


def frequencies(seed, *lanes, closest=0.02):
    """Line spectral frequencies, some of them clustered."""
    gaps = np.random.default_rng(seed).uniform(closest, 1.0, (*lanes, 21)) ** 3
    return jnp.asarray((np.cumsum(gaps, -1) / gaps.sum(-1, keepdims=True) * np.pi)[..., :-1], "f4")


def test_coefficients_in_pairs_equal_those_in_float64():
    lsf_rad = frequencies(1, 4, 60)
    expected, pull_back = jax.vjp(all_pole_coefficients, lsf_rad)
    got = jax.jit(section_coefficients)(jnp.cos(lsf_rad))
    error = np.linalg.norm(got - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    assert error.max() < 3e-7
    cotangent = jnp.asarray(np.random.default_rng(2).normal(size=lsf_rad.shape), jnp.float32)
    slope = -jnp.sin(lsf_rad) * jax.jit(section_gradient)(jnp.cos(lsf_rad), cotangent)
    assert relative_error(slope, pull_back(cotangent)[0]) < 1e-6


@pytest.mark.parametrize("kind", ["constant", "leaps", "often unvoiced"])
def test_phases_in_pairs_do_not_drift(kind):
    """As exact as the float64 sum over 16 s, for which there is a test of its own."""
    config, rng = SynthConfig(), np.random.default_rng(3)
    hz = {
        "constant": np.full((2, 1002), 79.1),
        "leaps": rng.uniform(60.0, 4000.0, (2, 1002)),
        "often unvoiced": np.where(rng.random((2, 1002)) < 0.5, 1e-5, 440.0),
    }[kind].astype(np.float32)
    got = jax.jit(lambda hz: _offsets_in_pairs(hz, config))(jnp.asarray(hz))
    spans = 0.5 * (hz[:, :-2].astype(np.float64) + hz[:, 1:-1])
    spans = np.concatenate([-0.5 * hz[:, :1].astype(np.float64), spans], axis=1)
    wanted = np.cumsum(spans, axis=1) * config.hop_samples / config.sample_rate_hz
    error = np.asarray(got, np.float64) - wanted
    assert np.abs(error - np.round(error)).max() < 6e-8
    assert np.abs(got).max() <= 0.5 + 1e-6


def signals_and_coefficients(samples, lanes):
    rng = np.random.default_rng(samples)
    x = jnp.asarray(rng.normal(size=(samples, lanes)), jnp.float32)
    return x, jnp.asarray(0.5 / 20 * rng.uniform(-1, 1, (20, lanes)), jnp.float32)


# Lanes that are no whole block, samples that are no whole number of passes.
@pytest.mark.parametrize(("samples", "lanes"), [(64, 70), (7, 3)])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_kernel_equals_the_loop_to_the_bit(samples, lanes, reverse):
    x, coefficients = signals_and_coefficients(samples, lanes)
    expected = jax.jit(lambda x, a: loop_recursion(x, a, reverse=reverse))(x, coefficients)
    for block in (GPU_BLOCK, TPU_BLOCK):
        got = jax.jit(
            lambda x, a, block=block: kernel_recursion(
                x, a, reverse=reverse, block=block, interpret=True
            )
        )(x, coefficients)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("samples", "lanes"), [(13, 140), (8, 3)])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_kernel_by_mosaic_gpu_equals_the_loop_to_the_bit(samples, lanes, reverse):
    interpreter = pytest.importorskip("jax._src.pallas.mosaic_gpu.interpret.params")
    x, coefficients = signals_and_coefficients(samples, lanes)
    expected = jax.jit(lambda x, a: loop_recursion(x, a, reverse=reverse))(x, coefficients)
    interpret = interpreter.InterpretGPUParams()
    got = hopper_recursion(x, coefficients, reverse=reverse, interpret=interpret)
    np.testing.assert_array_equal(got, expected)


def test_where_a_filter_is_broken_the_kernel_says_so_as_the_loop_does():
    x, coefficients = signals_and_coefficients(9, 4)
    coefficients = coefficients.at[0, 1].set(np.nan).at[3, 2].set(np.inf)
    expected = jax.jit(lambda x, a: loop_recursion(x, a, reverse=False))(x, coefficients)
    got = kernel_recursion(x, coefficients, reverse=False, block=GPU_BLOCK, interpret=True)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.isnan(got).any(axis=0), [False, True, True, False])
