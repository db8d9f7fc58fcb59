"""One training step: pure, with the parts that train and the loss that counts as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from umss_jax.config import ModelConfig
from umss_jax.train.config import LossConfig
from umss_jax.train.objectives import Loss, LossInput, Objective, objective_for, unpadded


class TrainState(NamedTuple):
    """Everything that a step changes, and the frozen parts beside it."""

    step: jax.Array
    """Steps done, int32, []; after a step that was not finite −1 − steps: nothing changes then."""
    params: dict[str, Any]
    batch_stats: dict[str, Any]
    opt_state: optax.OptState

    @property
    def variables(self) -> dict[str, Any]:
        """Parameters and running statistics, as the model takes them."""
        return {"params": self.params, "batch_stats": self.batch_stats}


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Scalars(Mapping[str, jax.Array]):
    """Scalars by name in one array, so that one transfer brings all of them."""

    names: tuple[str, ...] = field(metadata={"static": True})
    array: jax.Array
    """[..., names], float32."""

    def __getitem__(self, name: str) -> jax.Array:
        return self.array[..., self.names.index(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, scalars: Mapping[str, jax.Array]) -> Scalars:
        """Those of a mapping, in its order."""
        numbers = [jnp.asarray(scalar, jnp.float32) for scalar in scalars.values()]
        return cls(tuple(scalars), jnp.stack(numbers))


Step = Callable[[TrainState, Any, jax.Array], tuple[TrainState, Scalars]]
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
    rate: optax.ScalarOrSchedule | None = None,
) -> Step:
    """One training step as a pure function: of a whole batch, or of one device's share of it.

    Where the loss or the gradient is not finite, the state comes back as it was but for the sign of
    its step, and so it does from every step after that: whoever learns of it later
    (:func:`last_good`) has the state before that step. To the terms of the objective the metrics
    add ``gradient_norm``, and ``learning_rate`` where that is given.

    Args:
        objective: its ``total`` is minimised.
        optimiser: from :func:`umss_jax.train.optimiser.make_optimiser`, for the same parts.
        trainable: parts that train; nothing before the first of them has a backward pass.
        axis: name of the mapped axis over which the batch is divided into equal shares; gradients
            and metrics are averaged over it.
        rate: a learning rate, for the metrics.
    """

    def step(state: TrainState, batch: Any, key: jax.Array) -> tuple[TrainState, Scalars]:
        share = len(jax.tree.leaves(batch)[0])
        first = 0 if axis is None else jax.lax.axis_index(axis) * share
        examples, weights = unpadded(batch)

        def loss_of(trained: dict[str, Any]) -> tuple[jax.Array, Loss]:
            variables = {"params": {**state.params, **trained}, "batch_stats": state.batch_stats}
            now = jax.random.fold_in(key, state.step)
            given = LossInput(variables, examples, now, first, train=True, weights=weights)
            loss = objective(given)
            return loss.terms["total"], loss

        trained = {part: state.params[part] for part in trainable}
        gradient, (terms, batch_stats) = jax.grad(loss_of, has_aux=True)(trained)
        if axis is not None:
            gradient, terms = jax.lax.pmean((gradient, terms), axis)
        metrics = {**terms, "gradient_norm": optax.tree.norm(gradient)}
        if rate is not None:
            metrics["learning_rate"] = rate(state.step) if callable(rate) else rate
        # Frozen parts get no update: what stands for their gradient is not used.
        updates, opt_state = optimiser.update(
            {**state.params, **gradient}, state.opt_state, state.params
        )
        updated = optax.apply_updates(trained, {part: updates[part] for part in trainable})
        new = TrainState(state.step + 1, {**state.params, **updated}, batch_stats, opt_state)
        shown = Scalars.of(metrics)
        good = jnp.all(jnp.isfinite(shown.array)) & (state.step >= 0)
        kept = jax.tree.map(lambda after, before: jnp.where(good, after, before), new, state)
        stopped = jnp.where(state.step < 0, state.step, -1 - state.step)
        return kept._replace(step=jnp.where(good, new.step, stopped)), shown

    return step


def last_good(state: TrainState) -> TrainState:
    """The state after the last step that was finite, wherever training went on from there."""
    step = np.asarray(jax.device_get(state.step))
    return state if step >= 0 else state._replace(step=jnp.asarray(-1 - step, jnp.int32))
