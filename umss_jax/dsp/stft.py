"""Short-time Fourier transforms, without centring, the end zero padded."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.dsp.framing import hann_window


def stft(signal: jax.Array, fft_size: int, hop_samples: int) -> jax.Array:
    """Complex STFT with a periodic Hann window.

    Frame n covers the samples from n · hop on; frames go on until the window lies beyond the
    signal, so there are ⌈samples / hop⌉ of them (reference: ``ddsp/spectral_ops.py`` stft, which
    mimics TensorFlow's ``pad_end=True``).

    Args:
        signal: [..., samples].
        fft_size: window and transform length, a multiple of ``hop_samples``.
        hop_samples: distance of the frames.

    Returns:
        [..., frames, fft_size / 2 + 1] complex64.
    """
    return jnp.fft.rfft(windowed_frames(signal, fft_size, hop_samples), axis=-1)


def windowed_frames(signal: jax.Array, fft_size: int, hop_samples: int) -> jax.Array:
    """The windowed frames that :func:`stft` transforms, [..., frames, fft_size]."""
    *lead, samples = signal.shape
    overlap = fft_size // hop_samples
    if overlap * hop_samples != fft_size:
        raise ValueError(f"fft_size {fft_size} is not a multiple of the hop {hop_samples}")
    frames = -(-samples // hop_samples)
    total = (frames + overlap - 1) * hop_samples
    padded = jnp.concatenate([signal, jnp.zeros((*lead, total - samples), signal.dtype)], axis=-1)
    blocks = padded.reshape(*lead, frames + overlap - 1, hop_samples)
    # Whole blocks side by side instead of a gather: the transpose is a few shifted additions.
    rows = jnp.concatenate([blocks[..., i : i + frames, :] for i in range(overlap)], axis=-1)
    return rows * hann_window(fft_size).reshape((1,) * (rows.ndim - 1) + (fft_size,))


def log_magnitude(spectrum: jax.Array, floor: float = 1e-5) -> jax.Array:
    """Logarithm of |X|, values of 0 replaced by ``floor`` (reference: ``ddsp/core.py`` safe_log).

    Args:
        spectrum: complex, any shape.
        floor: stands for silence.
    """
    magnitude = jnp.abs(spectrum)
    return jnp.log(jnp.where(magnitude <= 0.0, np.float32(floor), magnitude))
