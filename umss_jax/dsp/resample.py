"""Sample rate conversion by a windowed sinc, in pure JAX.

The definition is the one of the published model's input (and of torchaudio's
``sinc_interp_hann``): with base = roll-off · min(old, new) and Z zero crossings,

    y(m) = base/old · Σ_n x(n) · sinc(u) · cos²(π u / 2Z),   u = base · (n/old − m/new),  |u| ≤ Z,

zeros outside the signal. The filter repeats every ``old/gcd`` input and ``new/gcd`` output samples,
so it is evaluated as a matrix product per block (``framing.block_filter``).
"""

from __future__ import annotations

import math
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.config import HcqtConfig
from umss_jax.dsp.framing import block_filter, to_frames
from umss_jax.precision import SIGNALS

_MIN_BLOCK_SAMPLES = 128  # shorter periods are repeated up to this, for the product's sake
_MAX_DENSE_ENTRIES = 1 << 22  # 16 MiB; rates with a small common divisor go by table instead


@lru_cache(maxsize=16)
def _taps(old: int, new: int, zero_crossings: int, roll_off: float) -> tuple[np.ndarray, int]:
    """Filter taps [new, 2·half_width + 2] in float64 for one period, and the half width.

    Tap ``j`` of output ``m`` weighs input sample ``floor(m · old / new) − half_width + j``.
    """
    base = roll_off * min(old, new)
    half_width = math.ceil(zero_crossings * old / base)
    output = np.arange(new)[:, None]
    # Fractional input position of each output, exact in integers.
    remainder = output * old % new
    offset = np.arange(-half_width, half_width + 2)[None, :] - remainder / new
    u = np.clip(base / old * offset, -zero_crossings, zero_crossings)
    taps = np.sinc(u) * np.cos(np.pi * u / (2 * zero_crossings)) ** 2 * (base / old)
    return taps, half_width


@lru_cache(maxsize=16)
def _block_matrix(
    old: int, new: int, zero_crossings: int, roll_off: float
) -> tuple[np.ndarray, int, int] | None:
    """The banded filter matrix of one block, its input samples and its half width, or None.

    None stands for a period so long that the matrix would be mostly zeros and too large.
    """
    taps, half_width = _taps(old, new, zero_crossings, roll_off)
    repeats = -(-_MIN_BLOCK_SAMPLES // old)
    block, outputs = repeats * old, repeats * new
    window = block + 2 * half_width + 1
    if window * outputs > _MAX_DENSE_ENTRIES:
        return None
    output = np.arange(outputs)
    first = output * old // new
    matrix = np.zeros((window, outputs))
    matrix[first[:, None] + np.arange(taps.shape[1])[None, :], output[:, None]] = taps[output % new]
    return matrix.astype(np.float32), block, half_width


def resample(
    audio: jax.Array,
    old_rate_hz: int,
    new_rate_hz: int,
    *,
    zero_crossings: int = HcqtConfig.resample_zero_crossings,
    roll_off: float = HcqtConfig.resample_roll_off,
) -> jax.Array:
    """Resamples audio by a Hann-windowed sinc.

    Linear in the audio, so its gradient is exact; traces under ``jit`` (rates are static).

    Args:
        audio: [..., samples].
        old_rate_hz: integer > 0.
        new_rate_hz: likewise.
        zero_crossings: zero crossings of the sinc on either side, > 0.
        roll_off: cut-off as a share of the lower Nyquist frequency, in (0, 1].

    Returns:
        [..., ceil(samples · new / old)], same dtype.

    Raises:
        ValueError: rates that are not positive integers, or filter settings out of range.

    Source: ``torchaudio.transforms.Resample`` as the reference calls it (``ddsp/spectral_ops.py``).
    Taps are computed in float64 and rounded to float32 once.
    """
    if old_rate_hz != int(old_rate_hz) or new_rate_hz != int(new_rate_hz):
        raise ValueError(f"rates must be whole numbers of Hz, got {old_rate_hz} and {new_rate_hz}")
    if min(old_rate_hz, new_rate_hz) <= 0:
        raise ValueError(f"rates must be positive, got {old_rate_hz} and {new_rate_hz}")
    if zero_crossings <= 0 or not 0 < roll_off <= 1:
        raise ValueError(
            f"need zero_crossings > 0 and 0 < roll_off ≤ 1, got {zero_crossings} and {roll_off}"
        )
    divisor = math.gcd(int(old_rate_hz), int(new_rate_hz))
    old, new = int(old_rate_hz) // divisor, int(new_rate_hz) // divisor
    samples = -(-audio.shape[-1] * new // old)
    if old == new or samples == 0:
        return audio

    dense = _block_matrix(old, new, zero_crossings, roll_off)
    if dense is not None:
        matrix, block, half_width = dense
        kernel = jnp.asarray(matrix, audio.dtype)
        return block_filter(audio, kernel, block=block, left=half_width, samples=samples)

    taps, half_width = _taps(old, new, zero_crossings, roll_off)
    columns = (np.arange(new) * old // new)[:, None] + np.arange(taps.shape[1])[None, :]
    count = -(-samples // new)
    framed = to_frames(audio, old + 2 * half_width + 1, old, before=half_width, count=count)
    weights = jnp.asarray(taps, audio.dtype)
    filtered = jnp.einsum("...qpt,pt->...qp", framed[..., columns], weights, precision=SIGNALS)
    return filtered.reshape(*audio.shape[:-1], count * new)[..., :samples]
