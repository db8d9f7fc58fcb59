"""Where the harmonics of a voice lie in a spectrum."""

from __future__ import annotations

import jax
import jax.numpy as jnp

VOICED_HZ = 1.0
"""F0 at and below it stands for unvoiced: the floor of the extractor is far lower."""


def is_near_harmonic(
    hz: jax.Array, f0_hz: jax.Array, apart_hz: float, apart_share: float
) -> jax.Array:
    """Whether a frequency is one of the harmonics of an F0, or near one.

    Args:
        hz: of what is looked at.
        f0_hz: of as many axes; at 1 Hz and below it is unvoiced, and near nothing.
        apart_hz: so far from a harmonic it is no longer near,
        apart_share: and this share of the frequency further.

    Returns:
        bool, of the shape that both have together.
    """
    is_voiced = f0_hz > VOICED_HZ
    f0_hz = jnp.where(is_voiced, f0_hz, 1.0)
    closest = jnp.maximum(jnp.round(hz / f0_hz), 1.0) * f0_hz
    return is_voiced & (jnp.abs(closest - hz) < apart_hz + apart_share * hz)
