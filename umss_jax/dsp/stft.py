"""Short-time Fourier transforms: from the first sample on, or centred and invertible."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.dsp.framing import hann_window, overlap_add, to_frames


def stft(signal: jax.Array, fft_size: int, hop_samples: int) -> jax.Array:
    """Complex STFT with a periodic Hann window, not centred, the end zero padded.

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


def windowed_frames(
    signal: jax.Array, fft_size: int, hop_samples: int, count: int | None = None
) -> jax.Array:
    """The windowed frames that :func:`stft` transforms, [..., frames, fft_size].

    Raises:
        ValueError: the hop does not divide the FFT size, as for all transforms here.
    """
    if hop_samples <= 0 or fft_size % hop_samples:
        raise ValueError(f"fft_size {fft_size} is not a multiple of the hop {hop_samples}")
    framed = to_frames(signal, fft_size, hop_samples, count=count)
    return framed * _window_of(framed)


def centred_stft(audio: jax.Array, fft_size: int, hop_samples: int) -> jax.Array:
    """STFT with frames centred on multiples of the hop, the ends mirrored.

    Sizes as for :func:`stft`. ``[..., S]``, S > fft_size / 2, becomes complex64
    ``[..., fft_size // 2 + 1, 1 + S // hop]``, as by PyTorch's ``stft(center=True)`` (reference).

    Raises:
        ValueError: the audio is too short to mirror.
    """
    samples, half = audio.shape[-1], fft_size // 2
    if samples <= half:
        raise ValueError(f"audio of {samples} samples is too short: it needs more than {half}")
    padded = jnp.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(half, half)], mode="reflect")
    framed = windowed_frames(padded, fft_size, hop_samples, count=1 + samples // hop_samples)
    return jnp.swapaxes(jnp.fft.rfft(framed), -1, -2)


def inverse_centred_stft(spectrum: jax.Array, samples: int, hop_samples: int) -> jax.Array:
    """Least-squares inverse of :func:`centred_stft`.

    Returns:
        float32 ``[..., samples]``: windowed overlap-add divided by the summed squared windows.

    Raises:
        ValueError: if the number of frames does not fit ``samples``.
    """
    fft_size, count = 2 * (spectrum.shape[-2] - 1), spectrum.shape[-1]
    if count != 1 + samples // hop_samples:
        raise ValueError(
            f"{count} frames do not fit {samples} samples: expected {1 + samples // hop_samples}"
        )
    framed = jnp.fft.irfft(jnp.swapaxes(spectrum, -1, -2), n=fft_size)
    length = (count - 1) * hop_samples + fft_size
    summed = overlap_add(framed * _window_of(framed), hop_samples, length)
    # The envelope depends on shapes alone: float64 on the host, a constant of the traced program.
    squares = np.zeros((length // hop_samples, hop_samples))
    window = hann_window(fft_size).astype(np.float64).reshape(-1, hop_samples)
    for k, part in enumerate(window):
        squares[k : k + count] += part**2
    cut = slice(fft_size // 2, fft_size // 2 + samples)
    envelope = squares.reshape(-1)[cut].astype(np.float32)
    return summed[..., cut] / envelope.reshape((1,) * (summed.ndim - 1) + (samples,))


def log_magnitude(spectrum: jax.Array, floor: float = 1e-5) -> jax.Array:
    """Logarithm of |X|, with ``floor`` in place of 0 (reference: ``ddsp/core.py`` safe_log)."""
    magnitude = jnp.abs(spectrum)
    return jnp.log(jnp.where(magnitude <= 0.0, np.float32(floor), magnitude))


def _window_of(framed: jax.Array) -> np.ndarray:
    """The window of frames [..., count, fft_size], for their multiplication."""
    length = framed.shape[-1]
    return hann_window(length).reshape((1,) * (framed.ndim - 1) + (length,))
