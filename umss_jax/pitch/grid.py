"""The pitch grid: 360 bins, 20 cents apart, that HCQT, salience and assignment share; MIDI's."""

from __future__ import annotations

from typing import Any

import numpy as np

from umss_jax.config import HcqtConfig


def bin_frequencies_hz(config: HcqtConfig = HcqtConfig()) -> np.ndarray:
    """Centre frequency of every bin, [bins] float64, Hz: f_i = fmin · 2^(i / bins_per_octave)."""
    octaves = np.arange(config.bins, dtype=np.float64) / config.bins_per_octave
    return config.fmin_hz * 2.0**octaves


def midi_to_hz(midi: Any) -> Any:
    """Frequency of a MIDI pitch; 69 is A4 at 440 Hz."""
    return 440.0 * 2 ** ((midi - 69) / 12)
