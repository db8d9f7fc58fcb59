"""One training step: pure, with the parts that train and the loss that counts as data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from umss_jax.config import ModelConfig
from umss_jax.train.config import LossConfig
from umss_jax.train.objectives import Loss, LossInput, Metrics, Objective, objective_for


class TrainState(NamedTuple):
    """Everything that a step changes, and the frozen parts beside it."""

    step: jax.Array
    """Steps done, int32, []."""
    params: dict[str, Any]
    batch_stats: dict[str, Any]
    opt_state: optax.OptState

    @property
    def variables(self) -> dict[str, Any]:
        """Parameters and running statistics, as the model takes them."""
        return {"params": self.params, "batch_stats": self.batch_stats}


Step = Callable[[TrainState, Any, jax.Array], tuple[TrainState, Metrics]]
"""``(state, batch, key) -> (state, metrics)``; the key is that of the whole phase."""


def init_state(variables: dict[str, Any], optimiser: optax.GradientTransformation) -> TrainState:
    """State at step 0 from loaded or fresh variables."""
    # Copies: the step donates its state, and the caller's arrays must outlive that.
    params, batch_stats = jax.tree.map(
        partial(jnp.array, copy=True), (variables["params"], variables.get("batch_stats", {}))
    )
    return TrainState(jnp.zeros((), jnp.int32), params, batch_stats, optimiser.init(params))


def make_train_step(
    optimiser: optax.GradientTransformation,
    trainable: tuple[str, ...],
    model: ModelConfig = ModelConfig(),
    loss: LossConfig = LossConfig(),
) -> Step:
    """The jitted step of one device on a :class:`Batch`.

    The state is donated: use the returned one. The metrics are ``total, rec, l1, l2, l3``
    (unweighted terms) and ``gradient_norm``. The arguments are those of :func:`step_body` and
    :func:`umss_jax.train.objectives.objective_for`.
    """
    objective = objective_for(trainable, model, loss)
    return jax.jit(step_body(objective, optimiser, trainable), donate_argnums=0)


def step_body(
    objective: Objective,
    optimiser: optax.GradientTransformation,
    trainable: tuple[str, ...],
    axis: str | None = None,
) -> Step:
    """One training step as a pure function: of a whole batch, or of one device's share of it.

    Where the loss or the gradient is not finite, the state comes back as it was. To the terms of
    the objective the metrics add ``gradient_norm``.

    Args:
        objective: its ``total`` is minimised.
        optimiser: from :func:`umss_jax.train.optimiser.make_optimiser`, for the same parts.
        trainable: parts that train; nothing before the first of them has a backward pass.
        axis: name of the mapped axis over which the batch is divided into equal shares; gradients
            and metrics are averaged over it.
    """

    def step(state: TrainState, batch: Any, key: jax.Array) -> tuple[TrainState, Metrics]:
        share = len(jax.tree.leaves(batch)[0])
        first = 0 if axis is None else jax.lax.axis_index(axis) * share

        def loss_of(trained: dict[str, Any]) -> tuple[jax.Array, Loss]:
            variables = {"params": {**state.params, **trained}, "batch_stats": state.batch_stats}
            now = jax.random.fold_in(key, state.step)
            loss = objective(LossInput(variables, batch, now, first, train=True))
            return loss.terms["total"], loss

        trained = {part: state.params[part] for part in trainable}
        gradient, (terms, batch_stats) = jax.grad(loss_of, has_aux=True)(trained)
        if axis is not None:
            gradient, terms = jax.lax.pmean((gradient, terms), axis)
        metrics = {**terms, "gradient_norm": optax.tree.norm(gradient)}
        # Frozen parts get no update: what stands for their gradient is not used.
        updates, opt_state = optimiser.update(
            {**state.params, **gradient}, state.opt_state, state.params
        )
        updated = optax.apply_updates(trained, {part: updates[part] for part in trainable})
        new = TrainState(state.step + 1, {**state.params, **updated}, batch_stats, opt_state)
        finite = jnp.isfinite(metrics["total"]) & jnp.isfinite(metrics["gradient_norm"])
        kept = jax.tree.map(lambda after, before: jnp.where(finite, after, before), new, state)
        return kept, metrics

    return step
