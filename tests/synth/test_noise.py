"""Noise source against the recorded reference and a float64 chain of NumPy and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from comparison import relative_error
from jax.test_util import check_grads

from umss_jax.config import SynthConfig
from umss_jax.synth.noise import NoiseControls, noise_controls, noise_signal, sample_noise

CONFIG = SynthConfig()
HOP = 256


@pytest.fixture(scope="module")
def recorded(golden):
    """Recorded values; its draws, of [0, 1), as the noise in [−1, 1) that they stand for."""
    values = golden("noise")
    for name in ("uniform_white", "uniform_voiced"):
        assert 0.0 <= values[name].min() < 1e-3
        assert 0.999 < values[name].max() < 1.0
        values[name] = 2 * values[name] - 1
    return values


@pytest.fixture(scope="module")
def controls(recorded):
    gain, magnitudes = recorded["gain_raw"][..., 0], recorded["magnitudes_raw"][:, 0]
    return noise_controls(jnp.asarray(gain), jnp.asarray(magnitudes), CONFIG)


def test_controls(recorded, controls):
    assert relative_error(controls.gain, recorded["gain"][..., 0]) < 1e-6
    assert relative_error(controls.magnitudes, recorded["magnitudes"][:, 0]) < 1e-6


def test_signal_equals_the_recorded_one(recorded, controls):
    got = noise_signal(
        controls,
        jnp.asarray(recorded["uniform_voiced"]),
        CONFIG,
        voiced=jnp.asarray(recorded["voiced"][..., 0]),
        uniform_unvoiced=jnp.asarray(recorded["uniform_white"]),
    )
    assert relative_error(got, recorded["noise"]) < 1e-4


def test_the_recorded_example_has_both_kinds_of_frames(recorded):
    assert 0.0 < recorded["voiced"].mean() < 1.0


def noise_float64(gain, magnitudes, uniform):
    """Taps, convolution, frames, overlap-add: one signal, in float64."""
    taps = 2 * (len(magnitudes) - 1)
    window = scipy.signal.get_window("hann", taps, fftbins=True)
    impulse_response = np.fft.fftshift(np.fft.irfft(magnitudes, taps)) * window
    delay = (taps - 1) // 2 - 1
    filtered = scipy.signal.fftconvolve(uniform, impulse_response)[delay : delay + len(uniform)]
    frame_window = scipy.signal.get_window("hann", 2 * HOP, fftbins=True)
    out = np.zeros(len(uniform))
    for n, g in enumerate(gain):
        weights = frame_window.copy()
        if n == 0:
            weights[:HOP] = 1.0
        out[n * HOP : (n + 2) * HOP] += g * weights * filtered[n * HOP : (n + 2) * HOP]
    return out[:-HOP]


def test_one_noise_model_for_all_frames_equals_float64():
    rng = np.random.default_rng(0)
    gain, magnitudes = rng.uniform(0, 1, (2, 3, 20)), rng.uniform(0, 2, (2, 3, 40))
    uniform = rng.uniform(-1, 1, (2, 3, 21 * HOP))
    values = [jnp.asarray(x, jnp.float32) for x in (gain, magnitudes, uniform)]
    got = np.asarray(noise_signal(NoiseControls(*values[:2]), values[2], CONFIG))
    assert got.shape == (2, 3, 20 * HOP)
    for index in np.ndindex(2, 3):
        expected = noise_float64(gain[index], magnitudes[index], uniform[index])
        assert relative_error(got[index], expected) < 1e-6


def test_unvoiced_frames_alone_are_the_unfiltered_noise():
    rng = np.random.default_rng(1)
    uniform, other = rng.uniform(-1, 1, (2, 9 * HOP)).astype(np.float32)
    got = noise_signal(
        NoiseControls(jnp.ones(8), jnp.asarray(rng.uniform(0, 2, 40), jnp.float32)),
        jnp.asarray(uniform),
        CONFIG,
        voiced=jnp.zeros(8),
        uniform_unvoiced=jnp.asarray(other[: 8 * HOP]),
    )
    np.testing.assert_allclose(got, other[: 8 * HOP], rtol=0, atol=1e-6)


def test_all_voiced_equals_no_voicing_at_all():
    rng = np.random.default_rng(2)
    controls = NoiseControls(
        jnp.asarray(rng.uniform(0, 1, 8), jnp.float32),
        jnp.asarray(rng.uniform(0, 2, 40), jnp.float32),
    )
    uniform = jnp.asarray(rng.uniform(-1, 1, 9 * HOP), jnp.float32)
    other = jnp.asarray(rng.uniform(-1, 1, 8 * HOP), jnp.float32)
    with_voicing = noise_signal(
        controls, uniform, CONFIG, voiced=jnp.ones(8), uniform_unvoiced=other
    )
    np.testing.assert_array_equal(with_voicing, noise_signal(controls, uniform, CONFIG))


def test_draws_are_uniform_reproducible_and_differ_between_voices():
    draw = np.asarray(sample_noise(jax.random.key(0), (2, 4), 64_000, HOP))
    assert draw.shape == (2, 4, 64_256)
    assert draw.min() >= -1.0
    assert draw.max() < 1.0
    np.testing.assert_array_equal(draw, sample_noise(jax.random.key(0), (2, 4), 64_000, HOP))
    # Standard deviation of the mean: sqrt(1/3 / 514 048) = 8e-4; of the variance: 4e-4.
    assert abs(draw.mean()) < 5e-3
    assert abs(draw.var() - 1 / 3) < 3e-3
    correlation = np.corrcoef(draw.reshape(8, -1))
    assert np.abs(correlation - np.eye(8)).max() < 0.03
    assert not np.array_equal(draw, sample_noise(jax.random.key(1), (2, 4), 64_000, HOP))


def test_gradients():
    rng = np.random.default_rng(3)
    gain, magnitudes = (jnp.asarray(rng.uniform(0.1, 1, n), jnp.float32) for n in (4, 40))
    uniform = jnp.asarray(rng.uniform(-1, 1, 5 * HOP), jnp.float32)
    weights = jnp.asarray(rng.normal(size=4 * HOP), jnp.float32)

    def weighted(gain, magnitudes):
        signal = noise_signal(NoiseControls(gain, magnitudes), uniform, CONFIG)
        return jnp.sum(signal * weights)

    check_grads(
        weighted, (gain, magnitudes), order=1, modes=["rev"], eps=1e-1, atol=2e-2, rtol=2e-2
    )
    raw = jnp.asarray(rng.normal(size=40), jnp.float32)

    def controlled(gain_raw, magnitudes_raw):
        return noise_controls(gain_raw, magnitudes_raw, CONFIG)

    check_grads(controlled, (raw[:4], raw), order=1, atol=1e-2, rtol=1e-2)
