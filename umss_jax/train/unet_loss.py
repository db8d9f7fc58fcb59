"""The U-Net's supervised loss: magnitudes of one voice of each example."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from umss_jax.networks.unet import Unet, condition_f0, magnitude_spectrogram


class UnetLoss(NamedTuple):
    """A loss and what computing it changed."""

    value: jax.Array
    """Mean absolute difference of magnitudes, scalar."""
    batch_stats: Any
    """Running statistics, moved in training only."""


def unet_loss(
    variables: Any,
    mixture: jax.Array,
    sources: jax.Array,
    f0_hz_250: jax.Array,
    numbers: jax.Array,
    module: Unet,
    key: jax.Array | None = None,
) -> UnetLoss:
    """Mean |Δ magnitude| of a voice chosen for each example (reference: ``train_u_nets.py``).

    Everything random of an example depends on its number in the global batch alone, not on how the
    batch is divided.

    Args:
        variables: of the module.
        mixture: [B, samples].
        sources: [B, J, samples], the true voices.
        f0_hz_250: [B, J, frames], Hz, above 0.
        numbers: [B], of the examples.
        module: the network; its axis is the one over which the batch is divided.
        key: training mode: voices and dropout are drawn. None: evaluation mode, example n is asked
            for voice n modulo J.
    """
    voices = sources.shape[1]
    if key is None:
        chosen, keys = numbers % voices, None
    else:
        each = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)
        chosen = jax.vmap(lambda one: jax.random.randint(one, (), 0, voices))(each)
        keys = jax.vmap(jax.random.fold_in, (0, None))(each, 0)
    rows = jnp.arange(len(mixture))
    f0_hz = condition_f0(f0_hz_250[rows, chosen], module.config)
    output: Any
    output, changed = module.apply(variables, mixture, f0_hz, keys, mutable=["batch_stats"])
    target = magnitude_spectrogram(sources[rows, chosen], module.config)
    return UnetLoss(jnp.mean(jnp.abs(output.magnitude - target)), changed["batch_stats"])
