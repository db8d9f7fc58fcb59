"""One jitted training step: pure, with what trains and which losses count as data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import optax

from umss_jax.config import LossConfig, ModelConfig, OptimiserConfig
from umss_jax.losses import LossTerms, full_loss
from umss_jax.model import PARTS, draw_uniform, forward

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


def make_optimiser(
    trainable: tuple[str, ...], config: OptimiserConfig = OptimiserConfig()
) -> optax.GradientTransformation:
    """Adam whose gradient includes the L2 penalty (not decoupled), for the trainable parts alone.

    Frozen parts get no update and keep no moments. Adam's ε is added outside the root, as in
    PyTorch.

    Args:
        trainable: names from :data:`umss_jax.model.PARTS`.
        config: learning rate and schedule, penalty, clipping (by the global norm of the F0
            networks and of the others apart).

    Raises:
        ValueError: an unknown part.
    """
    unknown = set(trainable) - set(PARTS)
    if unknown:
        raise ValueError(f"no part named {', '.join(sorted(unknown))}: choose from {PARTS}")

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
    """Constant by default; with ``total_steps`` a linear rise over ``warmup_steps``, then a cosine.

    Args:
        config: rate and schedule.
        factor: multiplies every rate.
    """
    peak = config.learning_rate * factor
    if not config.total_steps:
        return peak
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
    params = jax.tree.map(partial(jax.numpy.array, copy=True), variables["params"])
    return TrainState(
        step=jax.numpy.zeros((), jax.numpy.int32),
        params=params,
        batch_stats=jax.tree.map(
            partial(jax.numpy.array, copy=True), variables.get("batch_stats", {})
        ),
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
) -> tuple[jax.Array, LossTerms]:
    """L_full of a batch.

    Frozen parts are constants of the loss, so that nothing before the first trainable part has a
    backward pass.
    """
    params = {
        part: tree if part in trainable else jax.lax.stop_gradient(tree)
        for part, tree in params.items()
    }
    uniform = batch.uniform
    if uniform is None:
        uniform = draw_uniform(rng, batch.mixture, model)
    output = forward(
        {"params": params, "batch_stats": batch_stats},
        batch.mixture,
        uniform,
        model,
        salience=batch.salience,
        f0_hz_250=batch.f0_hz_250,
    )
    terms = full_loss(
        output.mixture, output.mixture_hat, output.salience, output.assigned, output.binary, loss
    )
    return terms.total, terms


def make_train_step(
    optimiser: optax.GradientTransformation,
    trainable: tuple[str, ...],
    model: ModelConfig = ModelConfig(),
    loss: LossConfig = LossConfig(),
) -> Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]:
    """The jitted step ``train_step(state, batch, rng) -> (state, metrics)``.

    It is pure; the given state's buffers are donated, so use the returned one. The noise of step n
    is drawn from ``rng`` folded with n: the same key serves a whole run.

    Metrics: ``total, rec, l1, l2, l3`` (unweighted terms) and ``gradient_norm``, scalars.
    """

    def train_step(state: TrainState, batch: Batch, rng: jax.Array) -> tuple[TrainState, Metrics]:
        gradient_of = jax.grad(batch_loss, has_aux=True)
        key = jax.random.fold_in(rng, state.step)
        gradient, terms = gradient_of(
            state.params, state.batch_stats, batch, key, trainable, model, loss
        )
        updates, opt_state = optimiser.update(gradient, state.opt_state, state.params)
        metrics = {**terms._asdict(), "gradient_norm": optax.tree.norm(gradient)}
        return state._replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            opt_state=opt_state,
        ), metrics

    return jax.jit(train_step, donate_argnums=0)
