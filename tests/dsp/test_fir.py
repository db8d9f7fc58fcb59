"""Frequency-sampled FIR filters against NumPy's and SciPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from comparison import relative_error
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from umss_jax.config import SynthConfig
from umss_jax.dsp.fir import fir_filter, linear_phase_fir, slope_magnitudes
from umss_jax.synth.harmonic import glottal_roll_off

CONFIG = SynthConfig()


def convolve_with_delay(signal, taps):
    """Full convolution in float64, cut so that the delay of (taps − 1) // 2 − 1 is undone."""
    delay = (len(taps) - 1) // 2 - 1
    full = np.convolve(signal.astype(np.float64), taps.astype(np.float64))
    full = np.concatenate([full, np.zeros(max(0, delay + len(signal) - len(full)))])
    return full[delay : delay + len(signal)]


@pytest.mark.parametrize("samples", [1, 100, 255, 256, 257, 1000, 5120])
@pytest.mark.parametrize("n_taps", [4, 78, 128, 300, 513])
def test_filter_equals_convolution_with_the_stated_delay(samples, n_taps):
    rng = np.random.default_rng(samples + n_taps)
    signals = rng.normal(size=(2, 3, samples)).astype(np.float32)
    taps = rng.normal(size=(2, 3, n_taps)).astype(np.float32)
    got = np.asarray(fir_filter(jnp.asarray(signals), jnp.asarray(taps)))
    expected = np.stack(
        [
            convolve_with_delay(signal, row)
            for signal, row in zip(
                signals.reshape(-1, samples), taps.reshape(-1, n_taps), strict=True
            )
        ]
    ).reshape(signals.shape)
    assert relative_error(got, expected) < 1e-6


@settings(max_examples=20, deadline=None)
@given(st.integers(3, 60), st.integers(0, 699))
def test_an_impulse_gives_the_taps(half_taps, position):
    taps = np.random.default_rng(half_taps).normal(size=2 * half_taps).astype(np.float32)
    signal = np.zeros(700, np.float32)
    signal[position] = 1.0
    expected = np.zeros(700, np.float32)
    delay = (2 * half_taps - 1) // 2 - 1
    for j, tap in enumerate(taps):
        if 0 <= position - delay + j < 700:
            expected[position - delay + j] = tap
    got = fir_filter(jnp.asarray(signal), jnp.asarray(taps))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bands", [5, 40, 65])
def test_taps_sample_the_magnitudes(bands):
    """The windowed taps are the window times the inverse transform, centred; phase is linear."""
    magnitudes = np.random.default_rng(bands).uniform(0.1, 2.0, bands)
    taps = 2 * (bands - 1)
    zero_phase = np.fft.irfft(magnitudes, taps)
    expected = np.fft.fftshift(zero_phase) * scipy.signal.get_window("hann", taps, fftbins=True)
    got = np.asarray(linear_phase_fir(jnp.asarray(magnitudes, jnp.float32)), np.float64)
    np.testing.assert_allclose(got, expected, rtol=0, atol=3e-7)
    # Symmetric about taps / 2, hence linear phase: the response after that delay is real.
    np.testing.assert_allclose(got[1:], got[1:][::-1], rtol=0, atol=3e-7)
    response = np.fft.rfft(got, 8 * taps)
    turned = response * np.exp(2j * np.pi * np.arange(len(response)) / (8 * taps) * (taps // 2))
    np.testing.assert_allclose(turned.imag, 0.0, atol=3e-6)
    # A Hann window of the transform's length averages neighbouring bands with ¼, ½, ¼.
    mirrored = np.concatenate([magnitudes[1:2], magnitudes, magnitudes[-2:-1]])
    smoothed = 0.25 * mirrored[:-2] + 0.5 * mirrored[1:-1] + 0.25 * mirrored[2:]
    np.testing.assert_allclose(turned.real[::8], smoothed, rtol=0, atol=3e-6)


def test_roll_off_magnitudes(golden):
    recorded = golden("harmonic")
    decay = float(recorded["roll_off_db_per_octave"])
    corner_hz = float(recorded["f_ref_hz"])
    assert decay == CONFIG.roll_off_db_per_octave
    assert corner_hz == CONFIG.roll_off_reference_hz
    got = slope_magnitudes(CONFIG.roll_off_bands, decay, corner_hz, CONFIG.sample_rate_hz / 2)
    assert relative_error(got, recorded["slope_magnitudes"]) < 1e-6


def test_roll_off_is_flat_then_six_decibel_per_octave():
    magnitudes = slope_magnitudes(8001, 6.0, 200.0, 8000.0)  # 1 Hz apart
    np.testing.assert_array_equal(magnitudes[:201], 1.0)
    decibel = 20 * np.log10(magnitudes[[400, 800, 1600, 3200, 6400]])
    np.testing.assert_allclose(decibel, [-6, -12, -18, -24, -30], rtol=0, atol=1e-4)


def test_rolled_off_signal(golden):
    recorded = golden("harmonic")
    got = glottal_roll_off(jnp.asarray(recorded["harmonic"]), CONFIG)
    assert relative_error(got, recorded["harmonic_rolled_off"]) < 1e-5


def test_gradients():
    rng = np.random.default_rng(5)
    signal = jnp.asarray(rng.normal(size=(2, 300)), jnp.float32)
    taps = jnp.asarray(rng.normal(size=(2, 12)), jnp.float32)
    check_grads(fir_filter, (signal, taps), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)
    magnitudes = jnp.asarray(rng.uniform(0.1, 2.0, (2, 9)), jnp.float32)
    check_grads(linear_phase_fir, (magnitudes,), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


def test_gradient_of_the_taps_is_a_correlation():
    rng = np.random.default_rng(6)
    signal, cotangent = rng.normal(size=(2, 600)).astype(np.float32)
    taps = rng.normal(size=20).astype(np.float32)
    _, pull_back = jax.vjp(lambda t: fir_filter(jnp.asarray(signal), t), jnp.asarray(taps))
    (slope,) = pull_back(jnp.asarray(cotangent))
    units = np.eye(20, dtype=np.float32)
    expected = [convolve_with_delay(signal, unit) @ cotangent.astype(np.float64) for unit in units]
    np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-4)
