"""Vocal tract against the recorded reference, SciPy's recursive filter and float64 polynomials."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from comparison import relative_error
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from umss_jax.synth.all_pole import (
    all_pole_coefficients,
    all_pole_filter,
    line_spectral_frequencies,
    recursive_filter,
)

HOP = 256
coefficients_jit = jax.jit(all_pole_coefficients)


@pytest.fixture(scope="module")
def recorded(golden):
    return golden("all_pole")


def polynomial_float64(lsf_rad):
    """a_1 … a_p of one filter by multiplying out the roots on the unit circle, in float64."""
    odd, even = lsf_rad[0::2], lsf_rad[1::2]
    symmetric, antisymmetric = np.array([1.0, 1.0]), np.array([1.0, -1.0])
    for w_odd, w_even in zip(odd, even, strict=True):
        symmetric = np.convolve(symmetric, [1.0, -2 * np.cos(w_odd), 1.0])
        antisymmetric = np.convolve(antisymmetric, [1.0, -2 * np.cos(w_even), 1.0])
    return (0.5 * (symmetric + antisymmetric))[1:-1]


def random_filters(seed, lanes, order=20, radius=0.97):
    """Coefficients [order, lanes] of stable filters, one pole pair in each part of the spectrum.

    Spread out, so that rounding the coefficients to float32 leaves the poles where they are.
    """
    rng = np.random.default_rng(seed)
    pairs = order // 2
    angles = (np.arange(pairs) + rng.uniform(0.1, 0.9, (lanes, pairs))) * np.pi / pairs
    roots = radius * rng.uniform(0.3, 1.0, (lanes, pairs)) * np.exp(1j * angles)
    polynomials = [np.poly(np.concatenate([r, r.conj()])).real for r in roots]
    return np.stack(polynomials)[:, 1:].T.astype(np.float32)


def lfilter_lanes(x, coefficients):
    """SciPy in float64, lane by lane; x [samples, lanes], coefficients [p, lanes]."""
    columns = [
        scipy.signal.lfilter([1.0], np.concatenate([[1.0], a]), signal)
        for signal, a in zip(x.T.astype(np.float64), coefficients.T.astype(np.float64), strict=True)
    ]
    return np.stack(columns, axis=1)


def filtered_float64(signal, coefficients):
    """One voice: each frame from rest by SciPy, Hann overlap-add, in float64."""
    frames = len(coefficients)
    padded = np.concatenate([signal.astype(np.float64), np.zeros(HOP)])
    window = scipy.signal.get_window("hann", 2 * HOP, fftbins=True)
    out = np.zeros((frames + 1) * HOP)
    for n, a in enumerate(coefficients.astype(np.float64)):
        span = slice(n * HOP, (n + 2) * HOP)
        weights = window.copy()
        if n == 0:
            weights[:HOP] = 1.0
        out[span] += weights * scipy.signal.lfilter([1.0], np.concatenate([[1.0], a]), padded[span])
    return out[: frames * HOP]


def test_line_spectral_frequencies_equal_the_recorded_ones(recorded):
    got = line_spectral_frequencies(jnp.asarray(recorded["raw"]))
    assert relative_error(got, recorded["lsf_rad"]) < 1e-6


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-30, 30), min_size=21, max_size=21))
def test_line_spectral_frequencies_increase_within_zero_and_pi(raw):
    got = np.asarray(line_spectral_frequencies(jnp.asarray(raw, jnp.float32)), np.float64)
    assert got.shape == (20,)
    assert np.all(np.diff(got) >= 0)
    assert got[0] > 0
    assert got[-1] <= np.pi * (1 + 1e-6)
    gaps = 2 * (1 / (1 + np.exp(-np.array(raw)))) ** np.log(10) + 1e-7
    expected = np.cumsum(gaps / gaps.sum() * np.pi)[:-1]
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)


def test_coefficients_equal_the_recorded_ones(recorded):
    got = coefficients_jit(jnp.asarray(recorded["lsf_rad"]))
    assert relative_error(got, recorded["coefficients"]) < 1e-3
    # Filter by filter as well, not only over all of them.
    error = np.linalg.norm(got - recorded["coefficients"], axis=-1)
    assert np.max(error / np.linalg.norm(recorded["coefficients"], axis=-1)) < 1e-3


def test_coefficients_equal_float64(recorded):
    lsf = recorded["lsf_rad"]
    expected = np.stack([[polynomial_float64(f.astype(np.float64)) for f in v] for v in lsf])
    got = np.asarray(coefficients_jit(jnp.asarray(lsf)))
    # What float32 cosines allow, of polynomials whose coefficients reach thousands.
    assert relative_error(got, expected) < 1e-6
    reference_error = relative_error(recorded["coefficients"], expected)
    assert relative_error(got, expected) < 10 * reference_error + 1e-6


def test_equally_spaced_frequencies_are_the_flat_filter():
    lsf = jnp.arange(1, 21, dtype=jnp.float32) * np.float32(np.pi / 21)
    np.testing.assert_allclose(all_pole_coefficients(lsf), 0.0, atol=2e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 10))
def test_ordered_frequencies_give_stable_filters(seed, half_order):
    gaps = np.random.default_rng(seed).uniform(0.3, 1.0, 2 * half_order + 1)
    lsf = (np.cumsum(gaps) / gaps.sum() * np.pi)[:-1]
    got = np.asarray(all_pole_coefficients(jnp.asarray(lsf, jnp.float32)), np.float64)
    np.testing.assert_allclose(got, polynomial_float64(lsf), rtol=0, atol=5e-5)
    assert np.abs(np.roots(np.concatenate([[1.0], got]))).max() < 1.0


def test_gradient_of_the_coefficients_against_float64():
    rng = np.random.default_rng(0)
    gaps = rng.uniform(0.1, 1.0, (5, 21))
    lsf = (np.cumsum(gaps, axis=-1) / gaps.sum(axis=-1, keepdims=True) * np.pi)[:, :-1]
    cotangent = rng.normal(size=(5, 20))
    _, pull_back = jax.vjp(all_pole_coefficients, jnp.asarray(lsf, jnp.float32))
    (slope,) = pull_back(jnp.asarray(cotangent, jnp.float32))
    expected = np.zeros((5, 20))
    step = 1e-6
    for lane in range(5):
        for k in range(20):
            up, down = lsf[lane].copy(), lsf[lane].copy()
            up[k], down[k] = up[k] + step, down[k] - step
            difference = (polynomial_float64(up) - polynomial_float64(down)) / (2 * step)
            expected[lane, k] = difference @ cotangent[lane]
    assert relative_error(slope, expected) < 1e-5


def test_numerical_gradients_of_the_controls():
    raw = jnp.asarray(np.random.default_rng(1).normal(size=(2, 7)), jnp.float32)
    check_grads(line_spectral_frequencies, (raw,), order=1, atol=1e-2, rtol=1e-2)
    lsf = line_spectral_frequencies(raw)
    check_grads(all_pole_coefficients, (lsf,), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("samples", [1, 7, 8, 9, 21, 64, 512])
@pytest.mark.parametrize("order", [1, 2, 20])
def test_recursion_equals_scipy(samples, order):
    rng = np.random.default_rng(samples)
    coefficients = (
        rng.uniform(-0.9, 0.9, (1, 6)).astype(np.float32)
        if order == 1
        else random_filters(samples, 6, order, radius=0.9)
    )
    x = rng.normal(size=(samples, 6)).astype(np.float32)
    got = recursive_filter(jnp.asarray(x), jnp.asarray(coefficients))
    assert relative_error(got, lfilter_lanes(x, coefficients)) < 5e-6


def test_recursion_equals_scipy_close_to_the_unit_circle():
    """Error against float64 as that of SciPy's own filter run in float32."""
    coefficients = random_filters(3, 40, radius=0.99)
    x = np.random.default_rng(4).normal(size=(512, 40)).astype(np.float32)
    expected = lfilter_lanes(x, coefficients)
    single = np.stack(
        [
            scipy.signal.lfilter(
                np.ones(1, np.float32), np.concatenate([np.ones(1, np.float32), a]), column
            )
            for column, a in zip(x.T, coefficients.T, strict=True)
        ],
        axis=1,
    )
    assert single.dtype == np.float32
    got = np.asarray(recursive_filter(jnp.asarray(x), jnp.asarray(coefficients)))
    assert relative_error(got, expected) < max(5e-6, 3 * relative_error(single, expected))


def plain_recursion(x, coefficients):
    """The same filter as an ordinary scan, for automatic differentiation."""

    def step(past, now):
        now = now - jnp.sum(coefficients * past, axis=0)
        return jnp.concatenate([now[None], past[:-1]]), now

    return jax.lax.scan(step, jnp.zeros_like(coefficients), x)[1]


@pytest.mark.parametrize(("samples", "order"), [(21, 20), (50, 2), (133, 20), (512, 20)])
def test_custom_gradient_equals_that_of_a_plain_scan(samples, order):
    rng = np.random.default_rng(order)
    coefficients = jnp.asarray(random_filters(samples, 5, order, radius=0.9))
    x, cotangent = (jnp.asarray(rng.normal(size=(samples, 5)), jnp.float32) for _ in range(2))
    ours, pull_back = jax.vjp(recursive_filter, x, coefficients)
    plain, plain_pull_back = jax.vjp(plain_recursion, x, coefficients)
    assert relative_error(ours, plain) < 1e-5
    for got, expected in zip(pull_back(cotangent), plain_pull_back(cotangent), strict=True):
        assert relative_error(got, expected) < 2e-5


def test_numerical_gradients_of_the_recursion():
    coefficients = jnp.asarray(random_filters(0, 3, 4, radius=0.7))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(30, 3)), jnp.float32)
    check_grads(recursive_filter, (x, coefficients), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


def test_filtered_signal_of_stable_filters_equals_float64():
    rng = np.random.default_rng(5)
    coefficients = random_filters(6, 2 * 3 * 12, radius=0.9).T.reshape(2, 3, 12, 20)
    signal = rng.normal(size=(2, 3, 12 * HOP)).astype(np.float32)
    got = np.asarray(all_pole_filter(jnp.asarray(signal), jnp.asarray(coefficients), HOP))
    for index in np.ndindex(2, 3):
        assert (
            relative_error(got[index], filtered_float64(signal[index], coefficients[index])) < 1e-5
        )


# The recorded frames hold filters that rounding to float32 made unstable. Their output grows to
# 1e10, and the recorded float32 output itself is off from float64 by up to its own size there. So
# blocks of 256 samples are compared one by one: where the reference can be trusted (within 5e-4 of
# float64) ours must equal it; elsewhere ours must be at least as close to float64, by and large.


@pytest.fixture(scope="module")
def recorded_blocks(recorded):
    """Ours, the reference and float64, each [500, 256]."""
    signal, coefficients = recorded["audio"], recorded["coefficients"]
    ours = all_pole_filter(jnp.asarray(signal), jnp.asarray(coefficients), HOP)
    exact = np.stack([filtered_float64(x, a) for x, a in zip(signal, coefficients, strict=True)])
    three = (np.asarray(ours, np.float64), recorded["filtered"].astype(np.float64), exact)
    return [x.reshape(-1, HOP) for x in three]


def block_error(value, reference):
    return np.linalg.norm(value - reference, axis=1) / np.linalg.norm(reference, axis=1)


def test_some_recorded_filters_are_unstable(recorded, recorded_blocks):
    polynomials = recorded["coefficients"].reshape(-1, 20).astype(np.float64)
    assert max(np.abs(np.roots([1.0, *a])).max() for a in polynomials) > 1.0
    assert np.abs(recorded_blocks[2]).max() > 1e9


def test_filtered_signal_equals_the_recorded_one_where_that_is_right(recorded_blocks):
    ours, reference, exact = recorded_blocks
    trusted = block_error(reference, exact) < 5e-4
    assert trusted.mean() > 0.8
    assert block_error(ours, reference)[trusted].max() < 1e-3


def test_filtered_signal_is_closer_to_float64_than_the_recorded_one(recorded_blocks):
    ours, reference, exact = recorded_blocks
    our_error, reference_error = block_error(ours, exact), block_error(reference, exact)
    for share in (50, 75, 90, 95, 99, 100):
        assert np.percentile(our_error, share) < np.percentile(reference_error, share)
    assert np.mean(our_error < reference_error) > 0.8
    # Two roundings of one block are two draws: some are worse, none by much.
    assert np.all(our_error < 4 * np.maximum(reference_error, 1e-5))
    assert relative_error(ours, exact) < relative_error(reference, exact)


def test_whole_chain_is_finite_on_the_recorded_controls(recorded):
    """From raw outputs, rounded as ours round: LSF → coefficients → audio, and gradients."""

    def power(raw):
        coefficients = all_pole_coefficients(line_spectral_frequencies(raw))
        return jnp.mean(all_pole_filter(jnp.asarray(recorded["audio"]), coefficients, HOP) ** 2)

    value, slope = jax.jit(jax.value_and_grad(power))(jnp.asarray(recorded["raw"]))
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
