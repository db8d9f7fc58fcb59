"""Bounded positive activation that turns raw network outputs into physical controls."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def exp_sigmoid(raw: jax.Array, max_value: float = 2.0) -> jax.Array:
    """Exponentiated sigmoid of DDSP, max · σ(x)^ln 10 + 1e-7: in (1e-7, max_value + 1e-7).

    Written as exp(ln 10 · log σ(x)), whose gradient stays finite where σ underflows; it never
    reaches 0, so that a control never dies.
    """
    grown = jnp.exp(np.float32(np.log(10.0)) * jax.nn.log_sigmoid(raw))
    return max_value * grown + np.float32(1e-7)
