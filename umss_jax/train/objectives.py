"""What a training step minimises: L_full of the source-filter model, or the loss of the U-Net."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from umss_jax.config import ModelConfig
from umss_jax.model import (
    F0_PARTS,
    SOURCE_FILTER,
    UNET,
    Variables,
    draw_uniform,
    forward,
    given_f0,
    voice_model,
)
from umss_jax.networks.registry import unet_network
from umss_jax.train.config import LossConfig
from umss_jax.train.losses import LossTerms, full_loss
from umss_jax.train.strategies import Start
from umss_jax.train.unet_loss import unet_loss


class Batch(NamedTuple):
    """One batch. Only the mixture is needed: training is unsupervised."""

    mixture: jax.Array
    """[B, samples] at 16 kHz, each scaled to peak 1."""
    f0_hz_250: jax.Array | None = None
    """[B, J, 250], Hz, 0 = unvoiced: known F0, which replaces the F0 networks (UMSS)."""
    salience: jax.Array | None = None
    """[B, 360, 344]: cached output of a frozen salience network."""
    uniform: jax.Array | None = None
    """[B, J, samples + 256]: recorded noise, which replaces sampled noise."""
    sources: jax.Array | None = None
    """[B, J, samples]: true voices; L_rec then compares voices instead of mixtures."""


Metrics = dict[str, jax.Array]


class Loss(NamedTuple):
    """The loss of a batch, and what computing it changed."""

    terms: Metrics
    """Scalars; ``total`` is minimised."""
    batch_stats: Mapping[str, Any]
    """Running statistics of all parts."""


Objective = Callable[[Variables, Any, jax.Array, int | jax.Array, bool], Loss]
"""``(variables, batch, key, first_example, train) -> loss``.

All arrays of ``batch`` begin with the axis of the examples. What is random in an example depends on
``key`` and on its number in the global batch, not on how that batch is divided over devices;
``first_example`` is the number of the first one here. ``train``: training or evaluation mode.
"""


def objective_for(
    trainable: tuple[str, ...], model: ModelConfig, loss: LossConfig, axis: str | None = None
) -> Objective:
    """The objective of the model that the trainable parts belong to.

    Args:
        trainable: parts that train.
        model: sizes and constants.
        loss: weights of the terms.
        axis: name of the mapped axis over which the batch is divided, if it is.
    """
    return partial(_OBJECTIVES[voice_model(trainable)], model=model, loss=loss, axis=axis)


def parts_used(start: Start, trainable: tuple[str, ...]) -> tuple[str, ...]:
    """The parts that a batch passes through, in the order of the data flow.

    Args:
        start: what the batch begins with.
        trainable: parts that train.
    """
    passed = {"mixture": 0, "salience": 1, "f0": len(F0_PARTS)}[start]
    return (*F0_PARTS, *voice_model(trainable).parts)[passed:]


def source_filter_loss(
    variables: Variables,
    batch: Batch,
    key: jax.Array,
    first_example: int | jax.Array,
    train: bool,
    *,
    model: ModelConfig,
    loss: LossConfig,
    axis: str | None = None,
) -> Loss:
    """L_full, an :data:`Objective` that is the same in training and in evaluation."""
    uniform = batch.uniform
    if uniform is None:
        numbers = first_example + jnp.arange(batch.mixture.shape[0])

        def sample(number: jax.Array, mixture: jax.Array) -> jax.Array:
            return draw_uniform(jax.random.fold_in(key, number), mixture[None], model)[0]

        uniform = jax.vmap(sample)(numbers, batch.mixture)
    output = forward(
        variables,
        batch.mixture,
        uniform,
        model,
        salience=batch.salience,
        f0_hz_250=batch.f0_hz_250,
    )
    if batch.sources is None:
        target, estimate = output.mixture, output.mixture_hat
    else:
        target, estimate = batch.sources, output.sources
    terms = full_loss(target, estimate, output.salience, output.assigned, output.binary, loss)
    return Loss(terms._asdict(), variables["batch_stats"])


def _unet_loss(
    variables: Variables,
    batch: Batch,
    key: jax.Array,
    first_example: int | jax.Array,
    train: bool,
    *,
    model: ModelConfig,
    loss: LossConfig,
    axis: str | None = None,
) -> Loss:
    """The supervised loss of the U-Net as L_rec, an :data:`Objective`.

    Raises:
        ValueError: the batch has no sources or no F0.
    """
    if batch.sources is None or batch.f0_hz_250 is None:
        raise ValueError("a U-Net learns from batches with sources and F0")
    value, changed = unet_loss(
        {collection: trees["unet"] for collection, trees in variables.items()},
        batch.mixture,
        batch.sources,
        given_f0(batch.f0_hz_250, model).f0_hz_250,
        first_example + jnp.arange(batch.mixture.shape[0]),
        unet_network(model, axis),
        key if train else None,
    )
    zero = jnp.zeros(())
    terms = LossTerms(total=value, rec=value, l1=zero, l2=zero, l3=zero)
    return Loss(terms._asdict(), {**variables["batch_stats"], "unet": changed})


_OBJECTIVES = {SOURCE_FILTER: source_filter_loss, UNET: _unet_loss}
