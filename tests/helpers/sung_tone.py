"""A voice whose pitch is known at every moment, and a tracker that needs no model."""

import numpy as np
from scipy import signal


def vowel(f0_hz: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """A voice of 1/n harmonics below 4 kHz that follows ``f0_hz`` ``[n]``, peak near 0.5."""
    phase = 2 * np.pi * np.cumsum(f0_hz) / sample_rate_hz
    count = int(4000 / f0_hz.min())
    sound = sum(np.sin(n * phase) * (n * f0_hz < 4000) / n for n in range(1, count + 1))
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def autocorrelation_f0(
    sound: np.ndarray, sample_rate_hz: int, times_s: np.ndarray, low_hz=70.0, high_hz=1000.0
) -> np.ndarray:
    """F0 in Hz at some times by the normalised autocorrelation of 46 ms; 0 where there is none."""
    window, longest = int(0.046 * sample_rate_hz), int(sample_rate_hz / low_hz) + 2
    shortest = int(sample_rate_hz / high_hz)
    found = np.zeros(len(times_s))
    for number, time_s in enumerate(times_s):
        start = int(time_s * sample_rate_hz) - (window + longest) // 2
        heard = sound[max(0, start) : start + window + longest].astype(np.float64)
        if start < 0 or len(heard) < window + longest:
            continue
        power = np.cumsum(np.r_[0, heard**2])
        power = power[window:] - power[:-window]
        likeness = signal.correlate(heard, heard[:window], "valid")
        likeness = 2 * likeness / (power + power[0] + 1e-12)
        lags = np.arange(shortest, len(likeness) - 1)
        is_peak = (likeness[lags] > likeness[lags - 1]) & (likeness[lags] >= likeness[lags + 1])
        peaks = lags[is_peak]
        if not len(peaks) or likeness[peaks].max() < 0.9:
            continue
        best = peaks[np.argmax(likeness[peaks] > 0.97 * likeness[peaks].max())]
        before, here, after = likeness[best - 1 : best + 2]
        found[number] = sample_rate_hz / (
            best + 0.5 * (before - after) / (before - 2 * here + after)
        )
    return found
