"""The pitch grid: 360 bins, 20 cents apart, that HCQT, salience and assignment share."""

from __future__ import annotations

import numpy as np

from umss_jax.config import HcqtConfig


def bin_frequencies_hz(config: HcqtConfig = HcqtConfig()) -> np.ndarray:
    """Centre frequency of every bin, [bins] float64, Hz: f_i = fmin · 2^(i / bins_per_octave)."""
    octaves = np.arange(config.bins, dtype=np.float64) / config.bins_per_octave
    return config.fmin_hz * 2.0**octaves
