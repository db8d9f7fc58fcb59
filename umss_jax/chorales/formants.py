"""Vowels and consonants of the four voice types, as line spectral frequencies.

Formant centres and bandwidths are the common table of sung vowels (bass to soprano: five formants
for a, e, i, o, u) that goes back to the CHANT synthesiser (Rodet, Potard, Barrière 1984) and is
printed in the manuals of several synthesis programs. Above them stand broad fixed resonances, as
the vocal tract has up to 8 kHz. The slope of the source is two real poles.
"""

from __future__ import annotations

import numpy as np

VOWELS = ("a", "e", "i", "o", "u")
CONSONANTS = ("nasal", "hiss", "hush", "stop")
"""Sung consonant, s or f, sh or ch, and the burst of p, t, k."""

_CENTRES_HZ = {
    "soprano": {
        "a": (800, 1150, 2900, 3900, 4950),
        "e": (350, 2000, 2800, 3600, 4950),
        "i": (270, 2140, 2950, 3900, 4950),
        "o": (450, 800, 2830, 3800, 4950),
        "u": (325, 700, 2700, 3800, 4950),
    },
    "alto": {
        "a": (800, 1150, 2800, 3500, 4950),
        "e": (400, 1600, 2700, 3300, 4950),
        "i": (350, 1700, 2700, 3700, 4950),
        "o": (450, 800, 2830, 3500, 4950),
        "u": (325, 700, 2530, 3500, 4950),
    },
    "tenor": {
        "a": (650, 1080, 2650, 2900, 3250),
        "e": (400, 1700, 2600, 3200, 3580),
        "i": (290, 1870, 2800, 3250, 3540),
        "o": (400, 800, 2600, 2800, 3000),
        "u": (350, 600, 2700, 2900, 3300),
    },
    "bass": {
        "a": (600, 1040, 2250, 2450, 2750),
        "e": (400, 1620, 2400, 2800, 3100),
        "i": (250, 1750, 2600, 3050, 3340),
        "o": (400, 750, 2400, 2600, 2900),
        "u": (350, 600, 2400, 2675, 2950),
    },
}
_BANDWIDTHS_HZ = np.asarray([70.0, 95.0, 125.0, 140.0, 160.0])
_UPPER_HZ = {"soprano": (6100, 7200), "alto": (6000, 7100)}
_LOW_UPPER_HZ = (4300, 5400, 6700)
_UPPER_BANDWIDTH_HZ = 350.0
_CONSONANT_HZ = {
    "nasal": ((260, 1050, 2200, 3000, 4200), (70, 350, 300, 400, 500)),
    "hiss": ((1500, 4600, 5600, 6600, 7300), (1500, 800, 600, 600, 700)),
    "hush": ((1400, 2500, 3300, 4600, 6200), (900, 400, 500, 700, 900)),
    "stop": ((500, 1700, 2900, 4200, 6000), (500, 500, 600, 800, 900)),
}


def vowel_polynomial(
    voice: str,
    weights: np.ndarray,
    rate_hz: int,
    order: int,
    *,
    tract: float = 1.0,
    bandwidth: float = 1.0,
    shifts: np.ndarray | None = None,
    minimum_first_hz: float = 0.0,
    slope_poles: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """All-pole polynomial A(z) of a vowel, float64 [order + 1], a_0 = 1.

    Args:
        voice: one of the four.
        weights: [5], of the vowels of :data:`VOWELS`, sum 1; centres are mixed geometrically.
        rate_hz: sample rate.
        order: even, at least 18.
        tract: all centres are multiplied by it (a shorter tract has higher ones).
        bandwidth: all bandwidths are multiplied by it.
        shifts: [5], factors of the single formants.
        minimum_first_hz: the first formant is raised to this, as singers do on high notes.
        slope_poles: real poles, each in (−1, 1).
    """
    table = np.asarray([_CENTRES_HZ[voice][vowel] for vowel in VOWELS], np.float64)
    centres = np.exp(weights @ np.log(table)) * tract
    if shifts is not None:
        centres = centres * shifts
    centres[0] = max(centres[0], minimum_first_hz)
    centres[1] = max(centres[1], centres[0] * 1.15)
    widths = _BANDWIDTHS_HZ * bandwidth * np.sqrt(np.maximum(centres / table.mean(axis=0), 1.0))
    upper = np.asarray(_UPPER_HZ.get(voice, _LOW_UPPER_HZ), np.float64)
    centres = np.concatenate([centres, upper * np.clip(tract, 0.9, 1.08)])
    widths = np.concatenate([widths, np.full(len(upper), _UPPER_BANDWIDTH_HZ)])
    return _polynomial(centres, widths, rate_hz, order, slope_poles)


def consonant_polynomial(consonant: str, rate_hz: int, order: int, tract: float) -> np.ndarray:
    """All-pole polynomial of a consonant of :data:`CONSONANTS`, float64 [order + 1]."""
    centres, widths = np.asarray(_CONSONANT_HZ[consonant], np.float64)
    return _polynomial(centres * tract, widths, rate_hz, order)


def line_spectrum(polynomial: np.ndarray) -> np.ndarray:
    """Line spectral frequencies of A(z), radians, increasing in (0, π), float64 [order].

    The angles of the roots of A(z) ± z^−(p+1) A(1/z), without those at 0 and π, of a minimum-phase
    polynomial [order + 1] of even order.
    """
    extended = np.append(polynomial, 0.0)
    roots = [np.roots(extended + sign * extended[::-1]) for sign in (1.0, -1.0)]
    angle = np.angle(np.concatenate(roots))
    # One root of each lies at −1 or 1; the others come in pairs.
    found = np.sort(angle[(angle > 1e-6) & (angle < np.pi - 1e-6)])
    if len(found) != len(polynomial) - 1:
        raise ValueError(f"{len(found)} line spectral frequencies of order {len(polynomial) - 1}")
    return found


def power_gain(polynomial: np.ndarray, frequencies_hz: np.ndarray, rate_hz: int) -> np.ndarray:
    """|1 / A|² at some frequencies, their shape."""
    z = np.exp(-2j * np.pi * np.asarray(frequencies_hz) / rate_hz)
    return 1.0 / np.maximum(np.abs(np.polynomial.polynomial.polyval(z, polynomial)) ** 2, 1e-12)


def _polynomial(
    centres_hz: np.ndarray,
    widths_hz: np.ndarray,
    rate_hz: int,
    order: int,
    slope_poles: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Product of resonances and real poles, zeros appended to the order."""
    polynomial = np.ones(1)
    for centre, width in zip(centres_hz, widths_hz, strict=True):
        if centre >= 0.49 * rate_hz:
            continue
        radius = np.exp(-np.pi * width / rate_hz)
        angle = 2 * np.pi * centre / rate_hz
        polynomial = np.convolve(polynomial, [1.0, -2 * radius * np.cos(angle), radius**2])
    for pole in slope_poles:
        polynomial = np.convolve(polynomial, [1.0, -pole])
    if len(polynomial) > order + 1:
        raise ValueError(f"{len(polynomial) - 1} poles do not fit order {order}")
    return np.pad(polynomial, (0, order + 1 - len(polynomial)))
