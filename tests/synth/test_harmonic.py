"""Harmonic source against the recorded reference and a float64 oscillator bank."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparison import relative_error
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from umss_jax.config import SynthConfig
from umss_jax.synth.activations import exp_sigmoid
from umss_jax.synth.harmonic import (
    HarmonicControls,
    harmonic_controls,
    harmonic_signal,
    phase_cycles,
    sine_sum,
)

CONFIG = SynthConfig()
HOP, RATE_HZ, NYQUIST_HZ = 256, 16_000, 8_000.0


def f0_at_samples(f0_hz):
    """Half-pixel linear interpolation of frames to samples, float64, ends held."""
    frames = f0_hz.shape[-1]
    at = (np.arange(frames * HOP) + 0.5) / HOP - 0.5
    return np.interp(at, np.arange(frames), f0_hz.astype(np.float64))


def oscillator_bank(amplitude, f0_hz, ahead=0.0):
    """One voice in float64, oscillator by oscillator, phases accumulated sample by sample.

    ``ahead`` is so many cycles more.
    """
    amplitude = amplitude.astype(np.float64)
    sample_hz = f0_at_samples(f0_hz)
    phase = 2 * np.pi * (np.cumsum(sample_hz) / RATE_HZ + ahead)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2 * HOP) / (2 * HOP))
    # Which harmonics a frame has is decided on float32 products, as the reference decides it.
    sounding = np.arange(1, 102, dtype=np.float32)[:, None] * f0_hz.astype(np.float32) < NYQUIST_HZ
    share = amplitude / np.maximum(sounding.sum(axis=0), 1)
    signal = np.zeros(len(sample_hz))
    for k in range(1, 102):
        frame = np.append(share * sounding[k - 1], share[-1] * sounding[k - 1][-1])
        envelope = (frame[:-1, None] * window[HOP:] + frame[1:, None] * window[:HOP]).ravel()
        signal += envelope * (k * sample_hz < NYQUIST_HZ) * np.sin(k * phase)
    return signal


def controls_of(amplitude, f0_hz):
    raw = harmonic_controls(jnp.zeros(np.shape(f0_hz)), jnp.asarray(f0_hz, jnp.float32), CONFIG)
    return raw._replace(amplitude=jnp.asarray(amplitude, jnp.float32))


signal_jit = jax.jit(lambda controls: harmonic_signal(controls, CONFIG))


@pytest.fixture(scope="module")
def recorded(golden):
    values = golden("harmonic")
    return {key: v[..., 0] if v.shape[-1:] == (1,) else v for key, v in values.items()}


@pytest.fixture(scope="module")
def ours(recorded):
    controls = harmonic_controls(
        jnp.asarray(recorded["amplitude_raw"]), jnp.asarray(recorded["f0_hz"]), CONFIG
    )
    return controls, np.asarray(signal_jit(controls))


def test_controls(recorded, ours):
    controls, _ = ours
    assert relative_error(controls.amplitude, recorded["amplitudes"]) < 1e-6
    shares = recorded["harmonic_distribution_frame0"]
    np.testing.assert_array_equal(controls.harmonics[:, 0], (shares > 0).sum(axis=1))
    for row in shares:
        np.testing.assert_allclose(row[row > 0], 1 / np.count_nonzero(row), rtol=1e-6)


def test_signal_equals_the_recorded_one(recorded, ours):
    assert relative_error(ours[1], recorded["harmonic"]) < 1e-2


def test_signal_beats_the_reference_against_float64(recorded, ours):
    """The reference's phase drifts; ours is exact to float32 rounding."""
    exact = np.stack(
        [
            oscillator_bank(a, f)
            for a, f in zip(recorded["amplitudes"], recorded["f0_hz"], strict=True)
        ]
    )
    reference_error = relative_error(recorded["harmonic"], exact)
    our_error = relative_error(ours[1], exact)
    assert our_error < 5e-5
    assert our_error < reference_error / 50


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(30.0, 2500.0), min_size=2, max_size=7),
    st.lists(st.booleans(), min_size=7, max_size=7),
    st.integers(0, 2**32 - 1),
)
def test_any_f0_track_equals_the_oscillator_bank(f0_hz, silent, seed):
    """Leaps, glides and unvoiced frames (1e-5 Hz); the phase is smooth and never lost."""
    f0_hz = np.where(silent[: len(f0_hz)], 1e-5, f0_hz).astype(np.float32)
    amplitude = np.random.default_rng(seed).uniform(0.0, 2.0, len(f0_hz)).astype(np.float32)
    got = np.asarray(signal_jit(controls_of(amplitude, f0_hz)), np.float64)
    expected = oscillator_bank(amplitude, f0_hz)
    # A sample whose k-th harmonic lies within float32 rounding of Nyquist may keep or lose it.
    sample_hz = f0_at_samples(f0_hz)
    quotient = NYQUIST_HZ / np.maximum(sample_hz, 1.0)
    undecided = (np.abs(quotient - np.round(quotient)) < 1e-6 * quotient) & (quotient < 101.5)
    # The phase within a frame is rounded to float32, which moves the hundredth harmonic a hundred
    # times as far: the signal may be off by its slope times that rounding.
    rounding = np.spacing(np.float32(f0_hz.max() * HOP / RATE_HZ)) + 3e-7
    step = 1e-8
    slope = (oscillator_bank(amplitude, f0_hz, step) - expected) / step
    allowed = 1e-5 + rounding * np.abs(slope)
    assert (np.abs(got - expected) <= allowed)[~undecided].all()


def test_long_phase_does_not_drift():
    """A constant F0 for 16 s: the hundredth harmonic is still in place."""
    f0_hz = np.full(1000, 79.1, np.float32)
    cycles, sample_hz = phase_cycles(jnp.asarray(f0_hz), CONFIG)
    exact = np.arange(1, 1000 * HOP + 1) * np.float64(np.float32(79.1)) / RATE_HZ
    difference = np.asarray(cycles, np.float64) - exact
    assert np.abs(difference - np.round(difference)).max() < 3e-7
    np.testing.assert_allclose(sample_hz, f0_hz[0], rtol=1e-7)
    assert np.abs(cycles).max() <= 0.5


def test_phase_of_a_glide():
    f0_hz = np.random.default_rng(0).uniform(60, 900, (2, 3, 40)).astype(np.float32)
    cycles, sample_hz = phase_cycles(jnp.asarray(f0_hz), CONFIG)
    expected_hz = np.stack([f0_at_samples(row) for row in f0_hz.reshape(6, 40)]).reshape(2, 3, -1)
    np.testing.assert_allclose(sample_hz, expected_hz, rtol=1e-6)
    difference = np.asarray(cycles, np.float64) - np.cumsum(expected_hz, axis=-1) / RATE_HZ
    assert np.abs(difference - np.round(difference)).max() < 2e-6


@pytest.mark.parametrize("f0_hz", [79.0, 79.2, 80.0, 100.0, 400.0, 1000.0, 3999.9, 4000.0, 7999.9])
def test_harmonics_lie_strictly_below_nyquist(f0_hz):
    expected = np.sum(np.arange(1, 102, dtype=np.float32) * np.float32(f0_hz) < NYQUIST_HZ)
    controls = harmonic_controls(jnp.zeros(1), jnp.full(1, f0_hz), CONFIG)
    assert float(controls.harmonics[0]) == expected
    # And the spectrum of a steady tone says the same.
    signal = np.asarray(signal_jit(controls_of(np.ones(64), np.full(64, f0_hz))))[2048:-2048]
    window = np.blackman(len(signal))
    spectrum = np.abs(np.fft.rfft(signal * window)) / window.sum() * 2
    resolution_hz = RATE_HZ / len(signal)
    at = np.round(np.arange(1, expected + 1) * f0_hz / resolution_hz).astype(int)
    at = at[at < len(spectrum) - 4]
    peaks = np.array([spectrum[max(i - 2, 0) : i + 3].max() for i in at])
    np.testing.assert_allclose(peaks, 1 / expected, rtol=0.15)


def test_above_nyquist_is_silence_and_finite():
    got = signal_jit(controls_of(np.ones(8), np.full(8, 8000.0)))
    np.testing.assert_array_equal(got, 0.0)
    assert float(harmonic_controls(jnp.zeros(1), jnp.full(1, 9e3), CONFIG).harmonics[0]) == 0.0


def test_unvoiced_floor_is_almost_silence():
    got = np.asarray(signal_jit(controls_of(np.full(250, 2.0), np.full(250, 1e-5))))
    expected = oscillator_bank(np.full(250, 2.0), np.full(250, 1e-5, np.float32))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-9)
    assert np.abs(got).max() < 0.05


def sine_sum_direct(count, cycles):
    k = np.arange(1, 102)[:, None]
    terms = np.where(k <= count, np.sin(2 * np.pi * k * cycles.astype(np.float64)), 0.0)
    slopes = np.where(
        k <= count, 2 * np.pi * k * np.cos(2 * np.pi * k * cycles.astype(np.float64)), 0
    )
    return terms.sum(axis=0), slopes.sum(axis=0)


NEAR_ZERO = [0.0, 1e-12, 1e-9, 9.9e-7, 1.01e-6, 1e-5, 1e-4, 1e-3, 0.0049, 0.01]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 50, 100, 101])
def test_closed_form_equals_the_direct_sum(count):
    near = np.array(NEAR_ZERO)
    spread = np.random.default_rng(count).uniform(-0.5, 0.5, 4000)
    half = np.array([0.5, -0.5, 0.4999999, 0.25, -0.25])
    cycles = np.concatenate([near, -near, spread, half]).astype(np.float32)
    counts = jnp.full(cycles.shape, float(count))
    value = jax.jit(sine_sum)(counts, jnp.asarray(cycles))
    _, slope = jax.jvp(
        lambda u: sine_sum(counts, u), (jnp.asarray(cycles),), (jnp.ones(len(cycles)),)
    )
    expected, expected_slope = sine_sum_direct(count, cycles)
    # Relative to the largest values that a sum of `count` sines takes: m and π m (m + 1).
    np.testing.assert_allclose(value, expected, rtol=0, atol=5e-6 * max(count, 1))
    largest = np.pi * count * (count + 1)
    np.testing.assert_allclose(slope, expected_slope, rtol=0, atol=5e-6 * max(largest, 1.0))


@pytest.mark.parametrize("count", [1, 30, 101])
def test_closed_form_towards_zero(count):
    """Both sides of the switch to the limit: relative, not absolute, accuracy."""
    cycles = np.array([1e-12, 1e-9, 1e-7, 9.99e-7, 1.001e-6, 3e-6, 1e-5], np.float32)
    expected, expected_slope = sine_sum_direct(count, cycles)
    counts = jnp.full(cycles.shape, float(count))
    value, slope = jax.jvp(
        lambda u: sine_sum(counts, u), (jnp.asarray(cycles),), (jnp.ones(len(cycles)),)
    )
    np.testing.assert_allclose(value, expected, rtol=2e-6)
    np.testing.assert_allclose(slope, expected_slope, rtol=5e-6)


def test_closed_form_has_no_gradient_in_the_count():
    slope = jax.grad(lambda m: sine_sum(m, jnp.float32(0.123)))(jnp.float32(5.0))
    assert float(slope) == 0.0


def test_gradient_of_the_closed_form():
    cycles = jnp.asarray([0.013, -0.21, 0.37, 0.4], jnp.float32)
    counts = jnp.asarray([3.0, 5.0, 2.0, 8.0])
    check_grads(lambda u: sine_sum(counts, u), (cycles,), order=1, eps=1e-3, atol=2e-2, rtol=2e-2)


def test_gradients_of_the_signal():
    """Numerically, on few harmonics: the sum over samples is smooth in amplitude and F0."""
    weights = jnp.asarray(np.random.default_rng(1).normal(size=4 * HOP), jnp.float32)
    amplitude = jnp.asarray([0.5, 1.0, 0.8, 0.3])
    f0_hz = jnp.asarray([1900.0, 1905.0, 1910.0, 1903.0])
    count = harmonic_controls(amplitude, f0_hz, CONFIG).harmonics

    def weighted(amplitude, f0_octaves):
        controls = HarmonicControls(amplitude, count, f0_hz + f0_octaves)
        return jnp.sum(harmonic_signal(controls, CONFIG) * weights) / HOP

    check_grads(
        weighted, (amplitude, jnp.zeros(4)), order=1, modes=["rev"], eps=0.05, atol=2e-2, rtol=2e-2
    )


def test_gradients_against_a_float64_oscillator_bank():
    """Entry by entry: voiced, glide, unvoiced, leap; all harmonics."""
    rng = np.random.default_rng(4)
    f0_hz = np.array([220.0, 233.1, 1e-5, 1e-5, 440.0, 441.3, 110.7], np.float32)
    amplitude = rng.uniform(0.2, 1.5, len(f0_hz)).astype(np.float32)
    weights = rng.normal(size=len(f0_hz) * HOP)

    def ours(amplitude, f0_hz):
        controls = harmonic_controls(jnp.zeros(len(f0_hz)), f0_hz, CONFIG)
        signal = harmonic_signal(controls._replace(amplitude=amplitude), CONFIG)
        return jnp.sum(signal * jnp.asarray(weights, jnp.float32))

    slopes = jax.grad(ours, argnums=(0, 1))(jnp.asarray(amplitude), jnp.asarray(f0_hz))
    frames = len(f0_hz)
    sounding = np.arange(1, 102)[:, None] * f0_hz < NYQUIST_HZ
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2 * HOP) / (2 * HOP))
    base = np.concatenate([np.eye(frames), np.eye(frames)[-1:]])  # the last frame is held
    amplitude_basis = base[:-1, None] * window[HOP:, None] + base[1:, None] * window[:HOP, None]
    amplitude_basis = amplitude_basis.reshape(frames * HOP, frames)
    at = np.clip((np.arange(frames * HOP) + 0.5) / HOP - 0.5, 0, frames - 1)
    f0_basis = np.stack([np.interp(at, np.arange(frames), unit) for unit in np.eye(frames)], axis=1)
    sample_hz = f0_basis @ f0_hz.astype(np.float64)
    phase, phase_basis = (2 * np.pi * np.cumsum(x, axis=0) / RATE_HZ for x in (sample_hz, f0_basis))
    share = np.where(sounding, 1.0 / sounding.sum(axis=0), 0.0)
    expected_amplitude, expected_f0 = np.zeros(frames), np.zeros(frames)
    for k in range(1, 102):
        audible = weights * (k * sample_hz < NYQUIST_HZ)
        expected_amplitude += (audible * np.sin(k * phase)) @ amplitude_basis * share[k - 1]
        envelope = amplitude_basis @ (amplitude * share[k - 1])
        expected_f0 += (audible * envelope * k * np.cos(k * phase)) @ phase_basis
    assert relative_error(slopes[0], expected_amplitude) < 5e-5
    assert relative_error(slopes[1], expected_f0) < 5e-5


@pytest.mark.parametrize("limit", [1.0, 2.0])
def test_exp_sigmoid(limit):
    raw = np.concatenate([np.linspace(-12, 12, 101), [-60.0, 40.0]])
    expected = limit * (1 / (1 + np.exp(-raw))) ** np.log(10.0) + 1e-7
    values = jnp.asarray(raw, jnp.float32)
    got = exp_sigmoid(values, limit)
    np.testing.assert_allclose(got, expected, rtol=5e-6)
    slope = jax.vmap(jax.grad(lambda x: exp_sigmoid(x, limit)))(values)
    assert np.isfinite(slope).all()
    assert float(exp_sigmoid(jnp.float32(-1e4))) == pytest.approx(1e-7)
    check_grads(lambda x: exp_sigmoid(x, limit), (values[30:70],), order=2, atol=1e-2, rtol=1e-2)
