"""Bounded positive activation that turns raw network outputs into physical controls."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

EXP_SIGMOID_FLOOR = 1e-7
"""Smallest value of :func:`exp_sigmoid`, so that a control never dies (DDSP's threshold)."""


def exp_sigmoid(raw: jax.Array, max_value: float = 2.0) -> jax.Array:
    """Exponentiated sigmoid of DDSP: max · σ(x)^ln 10 + 1e-7.

    Args:
        raw: any shape, unbounded network output.
        max_value: limit for large inputs.

    Returns:
        Same shape, in (1e-7, max_value + 1e-7). Written as exp(ln 10 · log σ(x)), whose gradient
        stays finite where σ underflows.
    """
    return max_value * jnp.exp(np.float32(np.log(10.0)) * jax.nn.log_sigmoid(raw)) + np.float32(
        EXP_SIGMOID_FLOOR
    )
