"""Linear-phase FIR filters by frequency sampling, applied as block-Toeplitz matrix products."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.dsp.framing import hann_window, to_frames
from umss_jax.precision import SIGNALS

_BLOCK_SAMPLES = 256


def linear_phase_fir(magnitudes: jax.Array) -> jax.Array:
    """Taps of the windowed linear-phase filter with given magnitudes (frequency sampling).

    Args:
        magnitudes: [..., bands], evenly spaced from 0 to the Nyquist frequency, both included.

    Returns:
        [..., 2 · (bands − 1)] taps, Hann-windowed, peak in the middle (reference: ``ddsp/core.py``
        frequency_impulse_response with its default window).
    """
    taps = 2 * (magnitudes.shape[-1] - 1)
    zero_phase = jnp.fft.irfft(magnitudes, n=taps, axis=-1)
    window = hann_window(taps).reshape((1,) * (magnitudes.ndim - 1) + (taps,))
    return jnp.roll(zero_phase, taps // 2, axis=-1) * window


def fir_filter(signal: jax.Array, taps: jax.Array) -> jax.Array:
    """Filters each signal with its own taps, keeping the length.

    out[t] = Σ_j taps[j] · signal[t + d − j] with d = (len(taps) − 1) // 2 − 1, zeros outside. The
    delay d is the reference's (``ddsp/core.py`` crop_and_compensate_delay): for an even number of
    taps it is two samples short of the filter's group delay, and is kept for parity.

    Each block of output samples is one row of ``blocks · Toeplitzᵀ``, where the Toeplitz matrix is
    the tiled taps read with one column less per row: no gather forward, no scatter backward.

    Args:
        signal: [..., samples], as the result.
        taps: [..., n_taps], leading axes equal to the signal's.
    """
    (*lead, samples), (*lanes, n_taps) = signal.shape, taps.shape
    delay = (n_taps - 1) // 2 - 1
    block = _BLOCK_SAMPLES
    n_blocks = -(-samples // block)
    width = block + n_taps - 1
    # Output block b needs signal[b·block + delay − (n_taps − 1) : b·block + delay + block].
    rows = to_frames(signal, width, block, before=n_taps - 1 - delay, count=n_blocks)
    row = jnp.concatenate([taps[..., ::-1], jnp.zeros((*lanes, width + 1 - n_taps))], axis=-1)
    tiled = jnp.broadcast_to(row[..., None, :], (*lanes, block, width + 1))
    toeplitz = tiled.reshape(*lanes, block * (width + 1))[..., : block * width]
    toeplitz = toeplitz.reshape(*lanes, block, width)
    out = jnp.einsum("...bw,...rw->...br", rows, toeplitz, precision=SIGNALS)
    return out.reshape(*lead, n_blocks * block)[..., :samples]


def slope_magnitudes(
    bands: int, db_per_octave: float, reference_hz: float, nyquist_hz: float
) -> np.ndarray:
    """Magnitudes of a roll-off: 1 up to ``reference_hz``, then −``db_per_octave``.

    Returns:
        [bands] float32, evenly spaced from 0 to ``nyquist_hz`` (reference: ``ddsp/core.py``
        slope_frequency_response).
    """
    frequency_hz = np.linspace(0.0, nyquist_hz, bands)
    octaves = np.log2(np.maximum(frequency_hz, reference_hz) / reference_hz)
    return (10.0 ** (-db_per_octave / 20.0 * octaves)).astype(np.float32)
