"""STFT against PyTorch, SciPy and a float64 loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from comparison import relative_error
from jax.test_util import check_grads

from umss_jax.dsp.stft import (
    centred_stft,
    inverse_centred_stft,
    log_magnitude,
    stft,
    windowed_frames,
)
from umss_jax.train.config import LossConfig


def stft_float64(signal, fft_size, hop):
    """Frames at every hop that begins within the signal, zeros after its end."""
    frames = -(-len(signal) // hop)
    padded = np.concatenate([signal.astype(np.float64), np.zeros(fft_size)])
    window = scipy.signal.get_window("hann", fft_size, fftbins=True)
    return np.stack(
        [np.fft.rfft(window * padded[n * hop : n * hop + fft_size]) for n in range(frames)]
    )


@pytest.mark.parametrize("fft_size", LossConfig().fft_sizes)
@pytest.mark.parametrize("samples", [2, 63, 4096, 4097])
def test_equals_float64(fft_size, samples):
    signal = np.random.default_rng(samples).normal(size=(2, samples)).astype(np.float32)
    got = np.asarray(stft(jnp.asarray(signal), fft_size, fft_size // 4), np.complex128)
    expected = np.stack([stft_float64(row, fft_size, fft_size // 4) for row in signal])
    assert got.shape == expected.shape
    assert np.linalg.norm(got - expected) <= 1e-6 * np.linalg.norm(expected)


def test_equals_pytorch_with_the_end_padded():
    torch = pytest.importorskip("torch")
    signal = np.random.default_rng(0).normal(size=(2, 64_000)).astype(np.float32)
    padded = np.concatenate([signal, np.zeros((2, 256), np.float32)], axis=1)
    expected = torch.stft(
        torch.from_numpy(padded),
        512,
        256,
        window=torch.hann_window(512),
        center=False,
        return_complex=True,
    )
    got = np.asarray(stft(jnp.asarray(signal), 512, 256))
    assert got.shape == (2, 250, 257)
    expected = np.swapaxes(expected.numpy(), 1, 2)
    assert np.linalg.norm(got - expected) < 1e-6 * np.linalg.norm(expected)


def test_hop_must_divide_the_window():
    with pytest.raises(ValueError, match="512 is not a multiple of the hop 200"):
        stft(jnp.zeros(1000), 512, 200)


@pytest.fixture
def voices():
    generator = np.random.default_rng(0)
    return generator.standard_normal((4, 9000)).astype(np.float32) * 0.1


def test_centred_equals_scipy(voices):
    # SciPy frames the padded signal from its first sample on when told not to pad or extend.
    padded = np.pad(voices[0].astype(np.float64), 1024, mode="reflect")
    _, _, expected = scipy.signal.stft(
        padded, window="hann", nperseg=2048, noverlap=2048 - 256, boundary=None, padded=False
    )
    window_sum = scipy.signal.get_window("hann", 2048).sum()
    assert (
        relative_error(jnp.abs(centred_stft(voices[0], 2048, 256)), abs(expected * window_sum))
        < 1e-5
    )


@pytest.mark.parametrize(("samples", "hop"), [(1025, 256), (3200, 256), (4096, 512)])
def test_inverse_gives_the_audio_back(voices, samples, hop):
    audio = jnp.asarray(voices[:, :samples])
    back = inverse_centred_stft(centred_stft(audio, 2048, hop), samples, hop)
    assert relative_error(back, audio) < 1e-6


def test_too_short_audio_and_wrong_frames_are_errors(voices):
    with pytest.raises(ValueError, match="1024 samples is too short"):
        centred_stft(jnp.asarray(voices[0, :1024]), 2048, 256)
    with pytest.raises(ValueError, match="2048 is not a multiple of the hop 300"):
        centred_stft(jnp.asarray(voices[0]), 2048, 300)
    with pytest.raises(ValueError, match="expected 32"):
        inverse_centred_stft(jnp.zeros((1025, 36), jnp.complex64), 8000, 256)


def test_log_magnitude_replaces_nothing_but_zero():
    spectrum = np.array([0.0, 1e-7, 1e-5, 3 + 4j, -2j], np.complex64)
    expected = np.log([1e-5, 1e-7, 1e-5, 5.0, 2.0])
    np.testing.assert_allclose(log_magnitude(jnp.asarray(spectrum)), expected, rtol=1e-6)


def test_log_magnitude_of_silence_is_finite():
    got = log_magnitude(stft(jnp.zeros((1, 2048)), 512, 256))
    np.testing.assert_allclose(got, np.log(1e-5), rtol=1e-6)


def test_gradients():
    rng = np.random.default_rng(2)
    signal = jnp.asarray(rng.normal(size=(2, 70)), jnp.float32)
    check_grads(
        lambda x: windowed_frames(x, 16, 4), (signal,), order=1, modes=["rev"], atol=1e-2, rtol=1e-2
    )
    weights = jnp.asarray(rng.normal(size=(2, 18, 9)), jnp.float32)

    def weighted(x):
        return jnp.sum(jnp.abs(stft(x, 16, 4)) ** 2 * weights)

    check_grads(weighted, (signal,), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


def test_energy():
    """Squared periodic Hann windows at a quarter hop add up to 3/2: Parseval over all frames."""
    signal = np.random.default_rng(3).normal(size=4096).astype(np.float32)
    signal[:512] = 0.0
    spectrum = np.asarray(stft(jnp.asarray(signal), 512, 128), np.complex128)
    twice = np.full(257, 2.0)
    twice[[0, -1]] = 1.0
    energy = np.sum(np.abs(spectrum) ** 2 * twice) / 512
    assert energy == pytest.approx(1.5 * np.sum(signal.astype(np.float64) ** 2), rel=1e-5)
    assert (
        relative_error(jax.jit(lambda x: jnp.abs(stft(x, 512, 128)))(signal), np.abs(spectrum))
        < 1e-6
    )
