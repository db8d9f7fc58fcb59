"""The window of the system: every window is a periodic Hann window."""

from __future__ import annotations

import numpy as np


def hann_window(length: int, dtype: type[np.floating] = np.float32) -> np.ndarray:
    """Periodic Hann window.

    Args:
        length: samples.
        dtype: what the window, computed in float64, is rounded to.

    Returns:
        [length], in [0, 1], 0 at its first sample. (SciPy's window differs in the last bits.)
    """
    n = np.arange(length, dtype=np.float64)
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * n / length)).astype(dtype)
