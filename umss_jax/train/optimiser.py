"""Adam as the reference uses it, with rates by part and by step."""

from __future__ import annotations

from typing import Any

import optax

from umss_jax.model import ALL_PARTS, F0_PARTS
from umss_jax.train.config import OptimiserConfig


def make_optimiser(
    trainable: tuple[str, ...], config: OptimiserConfig = OptimiserConfig()
) -> optax.GradientTransformation:
    """Adam whose gradient includes the L2 penalty (not decoupled), for the trainable parts alone.

    Frozen parts get no update and keep no moments. Adam's ε is added outside the root, as in
    PyTorch.

    The F0 networks and the other parts are clipped each by their own global norm.

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

    # These names are part of the paths in checkpoints.
    def labels(params: dict[str, Any]) -> dict[str, str]:
        f0_or_synthesis = {part: "f0" if part in F0_PARTS else "synthesis" for part in trainable}
        return {part: f0_or_synthesis.get(part, "frozen") for part in params}

    return optax.multi_transform(
        {
            "synthesis": adam(1.0),
            "f0": adam(config.f0_learning_rate_factor),
            "frozen": optax.set_to_zero(),
        },
        labels,
    )


def learning_rate(config: OptimiserConfig, factor: float = 1.0) -> optax.ScalarOrSchedule:
    """The rate of the F0 networks or of the other parts: a number, or a function of the step.

    It is constant by default. With ``decay_steps`` it is multiplied by ``decay_factor`` after
    every so many steps. With ``total_steps`` it instead rises linearly over ``warmup_steps`` and
    then falls as a cosine. ``factor`` multiplies every rate.
    """
    peak = config.learning_rate * factor
    if config.total_steps:
        return optax.warmup_cosine_decay_schedule(
            init_value=0.0,
            peak_value=peak,
            warmup_steps=config.warmup_steps,
            decay_steps=config.total_steps,
            end_value=peak * config.final_fraction,
        )
    if config.decay_steps:
        steps, factor = config.decay_steps, config.decay_factor
        return optax.exponential_decay(peak, steps, factor, staircase=True)
    return peak
