"""One jitted training step: pure, with what trains and which losses count as data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from umss_jax.config import ModelConfig
from umss_jax.model import ALL_PARTS, draw_uniform, forward, given_f0
from umss_jax.networks.registry import unet_network
from umss_jax.train.config import LossConfig, OptimiserConfig
from umss_jax.train.losses import LossTerms, full_loss
from umss_jax.train.unet_loss import unet_loss

Metrics = dict[str, jax.Array]


class TrainState(NamedTuple):
    """Everything that a step changes, and the constants that travel with it."""

    step: jax.Array
    params: dict[str, Any]
    batch_stats: dict[str, Any]
    opt_state: optax.OptState


class Batch(NamedTuple):
    """One batch. Only the mixture is needed: training is unsupervised."""

    mixture: jax.Array
    """[B, samples] at 16 kHz, each scaled to peak 1."""
    f0_hz_250: jax.Array | None = None
    """[B, J, 250], Hz, 0 = unvoiced: known F0, which replaces the F0 networks (UMSS)."""
    salience: jax.Array | None = None
    """[B, 360, 344]: cached output of a frozen salience network."""
    uniform: jax.Array | None = None
    """[B, J, samples + 256]: recorded noise instead of drawing it."""
    sources: jax.Array | None = None
    """[B, J, samples]: true voices; L_rec then compares voices instead of mixtures."""


def make_optimiser(
    trainable: tuple[str, ...], config: OptimiserConfig = OptimiserConfig()
) -> optax.GradientTransformation:
    """Adam whose gradient includes the L2 penalty (not decoupled), for the trainable parts alone.

    Frozen parts get no update and keep no moments. Adam's ε is added outside the root, as in
    PyTorch.

    Args:
        trainable: names from :data:`umss_jax.model.ALL_PARTS`.
        config: learning rate and schedule, penalty, clipping (by the global norm of the F0
            networks and of the others apart).

    Raises:
        ValueError: an unknown part.
    """
    unknown = set(trainable) - set(ALL_PARTS)
    if unknown:
        raise ValueError(f"no part named {', '.join(sorted(unknown))}: choose from {ALL_PARTS}")

    def adam(factor: float) -> optax.GradientTransformation:
        clip = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
        penalty = optax.add_decayed_weights(config.l2_penalty)
        rate = learning_rate(config, factor)
        return optax.chain(*clip, penalty, optax.adam(rate, b1=0.9, b2=0.999, eps=1e-8))

    def labels(params: dict[str, Any]) -> dict[str, str]:
        return {part: _optimiser_label(part, trainable) for part in params}

    return optax.multi_transform(
        {
            "synthesis": adam(1.0),
            "f0": adam(config.f0_learning_rate_factor),
            "frozen": optax.set_to_zero(),
        },
        labels,
    )


def _optimiser_label(part: str, trainable: tuple[str, ...]) -> str:
    if part not in trainable:
        return "frozen"
    return "f0" if part in ("salience", "assignment") else "synthesis"


def learning_rate(config: OptimiserConfig, factor: float = 1.0) -> optax.ScalarOrSchedule:
    """Constant by default; with ``decay_steps`` multiplied by a factor every so many.

    With ``total_steps`` it rises linearly over ``warmup_steps`` and falls as a cosine instead.

    Args:
        config: rate and schedule.
        factor: multiplies every rate.
    """
    peak = config.learning_rate * factor
    if not config.total_steps:
        if not config.decay_steps:
            return peak
        return optax.exponential_decay(
            peak, config.decay_steps, config.decay_factor, staircase=True
        )
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=peak,
        warmup_steps=config.warmup_steps,
        decay_steps=config.total_steps,
        end_value=peak * config.final_fraction,
    )


def init_state(variables: dict[str, Any], optimiser: optax.GradientTransformation) -> TrainState:
    """State at step 0 from loaded or fresh variables."""
    # Copies: the step donates its state, and the caller's arrays must outlive that.
    params = jax.tree.map(partial(jnp.array, copy=True), variables["params"])
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=jax.tree.map(partial(jnp.array, copy=True), variables.get("batch_stats", {})),
        opt_state=optimiser.init(params),
    )


def batch_loss(
    params: dict[str, Any],
    batch_stats: dict[str, Any],
    batch: Batch,
    rng: jax.Array,
    trainable: tuple[str, ...],
    model: ModelConfig,
    loss: LossConfig,
    first_example: int | jax.Array = 0,
) -> tuple[jax.Array, LossTerms]:
    """L_full of a batch.

    Frozen parts are constants of the loss, so that nothing before the first trainable part has a
    backward pass. The noise of an example depends on its number in the global batch alone, not on
    how the batch is divided: ``first_example`` is the number of the first one here. Where the
    parameters are those of a U-Net it is that one's loss, in evaluation mode.
    """
    if "unet" in params:
        terms, _ = _unet_terms(params, batch_stats, batch, None, model, first_example)
        return terms.total, terms
    params = {
        part: tree if part in trainable else jax.lax.stop_gradient(tree)
        for part, tree in params.items()
    }
    uniform = batch.uniform
    if uniform is None:
        numbers = first_example + jnp.arange(batch.mixture.shape[0])

        def draw(number: jax.Array, mixture: jax.Array) -> jax.Array:
            return draw_uniform(jax.random.fold_in(rng, number), mixture[None], model)[0]

        uniform = jax.vmap(draw)(numbers, batch.mixture)
    output = forward(
        {"params": params, "batch_stats": batch_stats},
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
    return terms.total, terms


def _unet_terms(
    params: dict[str, Any],
    batch_stats: dict[str, Any],
    batch: Batch,
    rng: jax.Array | None,
    model: ModelConfig,
    first_example: int | jax.Array,
    axis: str | None = None,
) -> tuple[LossTerms, dict[str, Any]]:
    """The U-Net's loss as L_rec, and running statistics; with a key in training mode."""
    if batch.sources is None or batch.f0_hz_250 is None:
        raise ValueError("a U-Net learns from batches with sources and F0")
    loss = unet_loss(
        {"params": params["unet"], "batch_stats": batch_stats["unet"]},
        batch.mixture,
        batch.sources,
        given_f0(batch.f0_hz_250, model).f0_hz_250,
        first_example + jnp.arange(batch.mixture.shape[0]),
        unet_network(model, axis),
        rng,
    )
    zero = jnp.zeros(())
    terms = LossTerms(total=loss.value, rec=loss.value, l1=zero, l2=zero, l3=zero)
    return terms, {**batch_stats, "unet": loss.batch_stats}


Step = Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]
"""``(state, batch, rng) -> (state, metrics)``."""


def make_train_step(
    optimiser: optax.GradientTransformation,
    trainable: tuple[str, ...],
    model: ModelConfig = ModelConfig(),
    loss: LossConfig = LossConfig(),
) -> Step:
    """The jitted step of one device; see :func:`step_body`.

    The state is donated: use the returned one.
    """
    return jax.jit(step_body(optimiser, trainable, model, loss), donate_argnums=0)


def step_body(
    optimiser: optax.GradientTransformation,
    trainable: tuple[str, ...],
    model: ModelConfig = ModelConfig(),
    loss: LossConfig = LossConfig(),
    axis: str | None = None,
) -> Step:
    """One training step as a pure function: of a whole batch, or of one device's share of it.

    Args:
        optimiser: from :func:`make_optimiser`.
        trainable: parts that train.
        model: sizes and constants.
        loss: weights of the terms.
        axis: name of the mapped axis over which the batch is divided into equal shares; gradients
            and metrics are averaged over it.

    Returns:
        ``step(state, batch, rng)``; ``rng`` is the key of the whole run.

    Metrics: ``total, rec, l1, l2, l3`` (unweighted terms) and ``gradient_norm``, scalars. Where
    the loss or the gradient is not finite, the state comes back as it was.
    """

    def train_step(state: TrainState, batch: Batch, rng: jax.Array) -> tuple[TrainState, Metrics]:
        def loss_of(
            trained: dict[str, Any],
        ) -> tuple[jax.Array, tuple[LossTerms, dict[str, Any]]]:
            first = 0 if axis is None else jax.lax.axis_index(axis) * batch.mixture.shape[0]
            key = jax.random.fold_in(rng, state.step)
            params = {**state.params, **trained}
            stats = state.batch_stats
            if "unet" in trainable:
                terms, stats = _unet_terms(params, stats, batch, key, model, first, axis)
                return terms.total, (terms, stats)
            total, terms = batch_loss(params, stats, batch, key, trainable, model, loss, first)
            return total, (terms, stats)

        trained = {part: state.params[part] for part in trainable}
        gradient, (terms, batch_stats) = jax.grad(loss_of, has_aux=True)(trained)
        if axis is not None:
            gradient, terms = jax.lax.pmean((gradient, terms), axis)
        metrics = {**terms._asdict(), "gradient_norm": optax.tree.norm(gradient)}
        # Frozen parts get no update: what stands for their gradient is not used.
        updates, opt_state = optimiser.update(
            {**state.params, **gradient}, state.opt_state, state.params
        )
        new = state._replace(
            step=state.step + 1,
            params={
                **state.params,
                **optax.apply_updates(trained, {part: updates[part] for part in trainable}),
            },
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        finite = jnp.isfinite(metrics["total"]) & jnp.isfinite(metrics["gradient_norm"])
        return jax.tree.map(lambda after, before: jnp.where(finite, after, before), new, state), (
            metrics
        )

    return train_step
