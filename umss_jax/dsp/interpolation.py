"""Linear interpolation between frame rates: half-pixel centres, ends held."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache
def interpolation_matrix(source: int, target: int) -> np.ndarray:
    """Weights of half-pixel linear interpolation, for a product with the values.

    Positions are rounded to float32 as PyTorch rounds them: at a voiced/unvoiced border a step of
    hundreds of Hz turns that rounding into 0.007 Hz, which a phase at the hundredth harmonic shows.

    Returns:
        [target, source] float32, rows that sum to 1.
    """
    low, high, share = neighbours(source, target)
    weights = np.zeros((target, source), np.float32)
    rows = np.arange(target)
    weights[rows, low] = 1 - share
    weights[rows, high] += share
    return weights


def neighbours(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The frames before and after each of ``target``, and the share of the later one, [target].

    Positions are rounded as in :func:`interpolation_matrix`.
    """
    half = np.float32(0.5)
    position = np.float32(source / target) * (np.arange(target, dtype=np.float32) + half) - half
    return _neighbours(position, source)


def resample_linear(values: np.ndarray, target: int) -> np.ndarray:
    """Half-pixel linear interpolation, positions in float64: float32 ``[..., target]``.

    The outer half frames hold the first and last value.
    """
    values = np.asarray(values, np.float32)
    source = values.shape[-1]
    low, high, share = _neighbours((np.arange(target) + 0.5) * source / target - 0.5, source)
    share = share.astype(np.float32)
    return values[..., low] * (1 - share) + values[..., high] * share


def _neighbours(position: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each position the two values around it, and the share of the second in [0, 1]."""
    position = np.clip(position, 0, count - 1)
    low = np.minimum(position.astype(int), max(count - 2, 0))
    return low, np.minimum(low + 1, count - 1), position - low.astype(position.dtype)
