"""Constants of the octave-recursive constant-Q transform, designed once in NumPy float64.

The transform halves the sample rate octave by octave (Schörkhuber & Klapuri, SMC 2010). A filter
is then fixed by its frequency relative to the current rate, so one octave of kernels serves every
octave of a harmonic, and harmonics whose octaves meet at the same rate share them outright.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from umss_jax.config import HcqtConfig
from umss_jax.dsp.framing import hann_window

# Decimator by two: a Kaiser-windowed sinc whose three numbers were fitted to the impulse response
# of soxr's "HQ" recipe, which librosa uses between octaves. It follows that response to 4e-8:
# flat to 0.913 of the new Nyquist frequency, below -120 dB from it on.
_CUT_OFF = 0.47843591  # of the old Nyquist frequency
_KAISER_BETA = 13.04009294
_HALF_LENGTH = 194.500408  # samples, where the Kaiser window ends
_HANN_BANDWIDTH_BINS = 1.50018310546875  # equivalent noise bandwidth of the window


class Octave(NamedTuple):
    """One octave of filters at one sample rate."""

    level: int
    """How many times the signal was halved before it."""
    step: float
    """Its lowest frequency relative to the rate at ``level``, in bins (log2 · bins per octave),
    rounded: equal steps mean equal kernels."""


class OctaveKernel(NamedTuple):
    """Time-domain kernels of one octave, to be correlated with the signal."""

    matrix: np.ndarray
    """[support, 2 · bins] float32: real parts, then imaginary parts."""
    lead: int
    """Samples of the support before the frame's centre."""


@lru_cache(maxsize=1)
def decimator_matrix() -> tuple[np.ndarray, int]:
    """The low-pass filter of the halving (389 taps, symmetric, energy-preserving gain √2).

    Returns:
        [513, 64] float32, banded, for ``framing.block_filter`` of 128 samples a block, and the
        number of samples of the window before its block.
    """
    half, outputs = int(_HALF_LENGTH), 64
    n = np.arange(-half, half + 1)
    window = np.i0(_KAISER_BETA * np.sqrt(1 - (n / _HALF_LENGTH) ** 2)) / np.i0(_KAISER_BETA)
    taps = math.sqrt(2) * _CUT_OFF * np.sinc(_CUT_OFF * n) * window
    matrix = np.zeros((2 * (outputs - 1) + taps.size, outputs))
    for output in range(outputs):
        matrix[2 * output : 2 * output + taps.size, output] = taps
    return matrix.astype(np.float32), half


def _relative_bandwidth(bins_per_octave: int) -> float:
    """1/Q of a filter between its neighbours on a geometric grid."""
    ratio = 2.0 ** (2.0 / bins_per_octave)
    return (ratio - 1) / (ratio + 1)


def octaves(config: HcqtConfig, harmonic: float) -> tuple[Octave, ...]:
    """The octaves of one harmonic's transform, lowest first.

    librosa halves the rate ahead of the top octave when that octave lies low enough ("early
    downsampling"); the same count is applied here, since it decides where edges are reflected.
    librosa does it in one step, this package by halving: the same on the published grid (at most
    one), and different only near the edges of the signal on grids whose top lies lower.

    Raises:
        ValueError: bins that are no whole octaves, a hop that cannot be halved often enough, or
            filters above the Nyquist frequency.
    """
    per_octave, count = config.bins_per_octave, config.bins // config.bins_per_octave
    if config.bins % per_octave or count < 1:
        raise ValueError(f"{config.bins} bins are no whole octaves of {per_octave} bins")
    fmin_hz = config.fmin_hz * harmonic
    highest_hz = fmin_hz * 2.0 ** ((config.bins - 1) / per_octave)
    cut_off_hz = highest_hz * (1 + 0.5 * _HANN_BANDWIDTH_BINS * _relative_bandwidth(per_octave))
    nyquist_hz = config.sample_rate_hz / 2
    if cut_off_hz > nyquist_hz:
        raise ValueError(
            f"the filters of harmonic {harmonic} reach {cut_off_hz:.0f} Hz, "
            f"above the Nyquist frequency {nyquist_hz:.0f} Hz"
        )
    hop_halvings = (config.hop_samples & -config.hop_samples).bit_length() - 1
    if hop_halvings < count - 1:
        raise ValueError(
            f"hop {config.hop_samples} cannot be halved {count - 1} times for {count} octaves"
        )
    spare = max(0, math.ceil(math.log2(nyquist_hz / cut_off_hz)) - 2)
    early = min(spare, hop_halvings - count + 1)
    result = []
    for octave in range(count):
        level = early + count - 1 - octave
        relative = fmin_hz * 2.0**octave * 2.0**level / config.sample_rate_hz
        result.append(Octave(level, round(math.log2(relative) * per_octave, 9)))
    return tuple(result)


@lru_cache(maxsize=64)
def octave_kernel(step: float, bins_per_octave: int, sparsity: float) -> OctaveKernel:
    """Kernels of the octave that begins at ``step`` (see ``Octave``).

    Each filter is a Hann window of Q/f samples times a complex exponential with phase zero at the
    frame's centre, of L1 norm 1, times the square root of its length. The integer rounding of the
    window (odd length, one sample late of the centre once reversed in time) is librosa's.

    With ``sparsity`` > 0 the kernels are those of librosa's sparse spectral basis: of each
    spectrum (non-negative frequencies, FFT of the next power of two) the smallest bins that
    together hold that share of its magnitude are dropped; the support is then the whole FFT.
    With 0 the spectrum's negative-frequency leakage, below 0.03 dB in all cells above -40 dB, is
    kept, and the support is the longest filter's.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must lie in [0, 1), got {sparsity}")
    frequencies = 2.0 ** ((step + np.arange(bins_per_octave)) / bins_per_octave)
    lengths = 1 / (_relative_bandwidth(bins_per_octave) * frequencies)
    size = 1 << math.ceil(math.log2(lengths.max()))
    basis = np.zeros((bins_per_octave, size), np.complex128)
    for row, (length, frequency) in enumerate(zip(lengths, frequencies, strict=True)):
        n = np.arange(-length // 2, length // 2)
        window = hann_window(n.size, np.float64)
        start = (size - n.size) // 2
        wave = window / window.sum() * np.exp(2j * np.pi * frequency * n)
        basis[row, start : start + n.size] = wave * math.sqrt(length)
    if sparsity > 0:
        basis = np.fft.ifft(_sparse_spectrum(np.fft.fft(basis), sparsity))
    # A product of spectra is a convolution: reversed in time, the filters become correlators.
    kernel = np.roll(basis[:, ::-1], 1, axis=1)
    used = np.flatnonzero(np.any(kernel != 0, axis=0))
    first, last = int(used[0]), int(used[-1])
    trimmed = kernel[:, first : last + 1]
    matrix = np.concatenate([trimmed.real, trimmed.imag]).T.astype(np.float32)
    return OctaveKernel(np.ascontiguousarray(matrix), size // 2 - first)


def _sparse_spectrum(spectrum: np.ndarray, sparsity: float) -> np.ndarray:
    """Non-negative frequencies of each row without its smallest bins (``sparsity`` of the sum)."""
    result = np.zeros_like(spectrum)
    half = spectrum[:, : spectrum.shape[1] // 2 + 1]
    magnitude = np.abs(half)
    ascending = np.sort(magnitude, axis=1)
    share = np.cumsum(ascending / magnitude.sum(axis=1, keepdims=True), axis=1)
    dropped = np.sum(share < sparsity, axis=1)
    threshold = ascending[np.arange(len(half)), dropped]
    result[:, : half.shape[1]] = np.where(magnitude >= threshold[:, None], half, 0)
    return result
