"""What a training step minimises: L_full of the source-filter model, or the loss of the U-Net."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from umss_jax import model
from umss_jax.config import ModelConfig
from umss_jax.networks.registry import unet_network
from umss_jax.networks.unet import Unet, condition_f0, magnitude_spectrogram
from umss_jax.train.config import LossConfig
from umss_jax.train.losses import LossTerms, full_loss, refinement_loss, weighted_mean
from umss_jax.train.strategies import Start

_STRETCH_FRAMES = 31  # half a second

Metrics = dict[str, jax.Array]
"""Scalars by name."""


class Batch(NamedTuple):
    """One batch. Only the mixture is needed: training is unsupervised."""

    mixture: jax.Array
    """[B, samples] at 16 kHz, each scaled to peak 1."""
    f0_hz_synth: jax.Array | None = None
    """[B, J, 250], Hz, 0 = unvoiced: known F0, which replaces the F0 networks (UMSS)."""
    salience: jax.Array | None = None
    """[B, 360, 344]: cached output of a frozen salience network."""
    uniform: jax.Array | None = None
    """[B, J, samples + 256]: recorded noise, which replaces sampled noise."""
    sources: jax.Array | None = None
    """[B, J, samples]: true voices; L_rec then compares voices instead of mixtures."""


class Padded(NamedTuple):
    """A batch that was filled up with copies of its last example, so that devices divide it."""

    batch: Any
    weights: Any
    """[B], float32, 0 of the copies, else equal; their mean over all devices is 1."""


def unpadded(batch: Any) -> tuple[Any, jax.Array | None]:
    """The examples of a batch, filled up or not, and their weights; None: all count alike."""
    return batch if isinstance(batch, Padded) else (batch, None)


class LossInput(NamedTuple):
    """What the loss of a batch depends on."""

    variables: model.Variables
    """``params`` and ``batch_stats`` of the parts that the batch passes through."""
    batch: Any
    """A NamedTuple whose arrays all begin with the axis of the examples."""
    key: jax.Array
    first_example: int | jax.Array
    """Number of the first example here in the global batch: what is random in an example depends
    on the key and on its number, not on how the batch is divided over devices."""
    train: bool
    """Training or evaluation mode; decided in Python, so no argument of a jitted function."""
    weights: jax.Array | None = None
    """[B], as in :class:`Padded`; None: all count alike."""


class Loss(NamedTuple):
    """The loss of a batch, and what computing it changed."""

    terms: Metrics
    """``total`` is minimised."""
    batch_stats: dict[str, Any]
    """Running statistics of all parts."""


Objective = Callable[[LossInput], Loss]


def objective_for(
    trainable: tuple[str, ...], config: ModelConfig, loss: LossConfig, axis: str | None = None
) -> Objective:
    """The objective of the voice model that the trainable parts belong to.

    ``axis`` is the name of the mapped axis over which the batch is divided, if it is.
    """
    if model.REFINER in trainable:
        return partial(_refiner_loss, config=config, loss=loss, axis=axis)
    if model.voice_model(trainable) is model.UNET:
        return partial(_unet_loss, config=config, axis=axis)
    return partial(_source_filter_loss, config=config, loss=loss)


def parts_used(start: Start, trainable: tuple[str, ...]) -> tuple[str, ...]:
    """The parts that a batch passes through, in the order of the data flow."""
    passed = {"mixture": 0, "salience": 1, "f0": 2}[start]
    refiner = (model.REFINER,) if model.REFINER in trainable else ()
    return (*model.F0_PARTS, *model.voice_model(trainable).parts, *refiner)[passed:]


def _source_filter_loss(given: LossInput, config: ModelConfig, loss: LossConfig) -> Loss:
    """L_full, the same in training and in evaluation."""
    batch: Batch = given.batch
    output = _forward(given, config)
    if batch.sources is None:
        target, estimate = output.mixture, output.mixture_hat
    else:
        target, estimate = batch.sources, output.sources
    heard = output.salience, output.assigned, output.binary
    terms = full_loss(target, estimate, *heard, loss, given.weights)
    return Loss(terms._asdict(), given.variables["batch_stats"])


def _forward(given: LossInput, config: ModelConfig) -> model.ModelOutput:
    """The source-filter model on a batch, with noise of its own for each example."""
    batch: Batch = given.batch
    uniform = batch.uniform
    if uniform is None:
        numbers = given.first_example + jnp.arange(batch.mixture.shape[0])

        def sample(number: jax.Array, mixture: jax.Array) -> jax.Array:
            key = jax.random.fold_in(given.key, number)
            return model.sample_uniform(key, mixture[None], config)[0]

        uniform = jax.vmap(sample)(numbers, batch.mixture)
    return model.forward(
        given.variables,
        batch.mixture,
        uniform,
        config,
        salience=batch.salience,
        f0_hz_synth=batch.f0_hz_synth,
    )


def _refiner_loss(
    given: LossInput, config: ModelConfig, loss: LossConfig, axis: str | None
) -> Loss:
    """The supervised loss of the refiner as L_rec."""
    batch: Batch = given.batch
    mixture, true, f0_hz = batch.mixture, batch.sources, batch.f0_hz_synth
    if true is None:
        raise ValueError("a refiner learns from batches with sources")
    if f0_hz is None:
        analysis = model.analyse(given.variables, mixture, config, salience=batch.salience)
        f0_hz = analysis.f0_hz_synth
    if given.train and loss.mistaken_f0:
        numbers = given.first_example + jnp.arange(len(mixture))
        keys = jax.vmap(jax.random.fold_in, (None, 0))(given.key, numbers)
        f0_hz = jax.vmap(partial(mistaken_f0, probability=loss.mistaken_f0))(keys, f0_hz)
    known = batch._replace(f0_hz_synth=f0_hz)
    voices = _forward(given._replace(batch=known), config).sources
    masks = model.refined_masks(given.variables, mixture, voices, config)
    counting = loss.silence_weight, given.weights, axis
    value = refinement_loss(mixture, true, masks, config.refiner, config.audio, *counting)
    zero = jnp.zeros(())
    terms = LossTerms(value, value, zero, zero, zero)
    return Loss(terms._asdict(), given.variables["batch_stats"])


def mistaken_f0(key: jax.Array, f0_hz: jax.Array, probability: float) -> jax.Array:
    """F0 [J, frames] of which some stretches of half a second are wrong.

    Each with equal probability: the voice has no F0 there, that of another voice, or another note
    up to a fifth away.
    """
    voices, frames = f0_hz.shape
    stretches = -(-frames // _STRETCH_FRAMES)
    kinds, others, steps, first = jax.random.split(key, 4)
    shape = (voices, stretches)
    place = jax.random.randint(first, (), 0, _STRETCH_FRAMES)
    stretch = jnp.minimum((jnp.arange(frames) + place) // _STRETCH_FRAMES, stretches - 1)

    def by_frame(x: jax.Array) -> jax.Array:
        return x[:, stretch]

    kind = by_frame(jax.random.uniform(kinds, shape)) / probability
    other = by_frame(jax.random.randint(others, shape, 1, max(2, voices)))
    semitones = by_frame(jax.random.randint(steps, shape, -7, 8))
    of_other = jnp.take_along_axis(f0_hz, (jnp.arange(voices)[:, None] + other) % voices, axis=0)
    of_note = f0_hz * 2 ** (semitones / 12)
    wrong = jnp.select([kind < 1 / 3, kind < 2 / 3], [jnp.zeros_like(f0_hz), of_other], of_note)
    return jnp.where(kind < 1, wrong, f0_hz)


def _unet_loss(given: LossInput, config: ModelConfig, axis: str | None) -> Loss:
    """The supervised loss of the U-Net as L_rec."""
    batch: Batch = given.batch
    if batch.sources is None or batch.f0_hz_synth is None:
        raise ValueError("a U-Net learns from batches with sources and F0")
    value, changed = unet_loss(
        {collection: trees["unet"] for collection, trees in given.variables.items()},
        batch.mixture,
        batch.sources,
        model.given_f0(batch.f0_hz_synth, config).f0_hz_synth,
        given.first_example + jnp.arange(batch.mixture.shape[0]),
        unet_network(config, axis),
        given.key if given.train else None,
        given.weights,
    )
    zero = jnp.zeros(())
    terms = LossTerms(value, value, zero, zero, zero)
    return Loss(terms._asdict(), {**given.variables["batch_stats"], "unet": changed})


class UnetLoss(NamedTuple):
    """A loss, scalar, and the running statistics, which move in training only."""

    value: jax.Array
    batch_stats: Any


def unet_loss(
    variables: Any,
    mixture: jax.Array,
    sources: jax.Array,
    f0_hz_synth: jax.Array,
    numbers: jax.Array,
    module: Unet,
    key: jax.Array | None = None,
    weights: jax.Array | None = None,
) -> UnetLoss:
    """Mean |Δ magnitude| of a voice chosen for each example (reference: ``train_u_nets.py``).

    Args:
        variables: of the module.
        mixture: [B, samples].
        sources: [B, J, samples], the true voices.
        f0_hz_synth: [B, J, frames], Hz, above 0.
        numbers: [B], of the examples in the global batch.
        module: the network; its axis is the one over which the batch is divided.
        key: training mode: voices and dropout are random. None: evaluation mode, example n is
            asked for voice n modulo J.
        weights: [B], as in :class:`Padded`.
    """
    voices = sources.shape[1]
    if key is None:
        chosen, keys = numbers % voices, None
    else:
        each = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)
        chosen = jax.vmap(lambda one: jax.random.randint(one, (), 0, voices))(each)
        keys = jax.vmap(jax.random.fold_in, (0, None))(each, 0)
    rows = jnp.arange(len(mixture))
    f0_hz = condition_f0(f0_hz_synth[rows, chosen], module.config)
    output: Any
    output, changed = module.apply(
        variables, mixture, f0_hz, keys, weights, mutable=["batch_stats"]
    )
    target = magnitude_spectrogram(sources[rows, chosen], module.config)
    value = weighted_mean(jnp.abs(output.magnitude - target), weights)
    return UnetLoss(value, changed["batch_stats"])
