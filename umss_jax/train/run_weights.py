"""The weights of a training run: what it begins with, and the best that it keeps."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from umss_jax import model
from umss_jax.api import load_weights
from umss_jax.config import ModelConfig
from umss_jax.errors import UsageError
from umss_jax.files import make_whole
from umss_jax.networks.registry import config_for
from umss_jax.train.config import TrainConfig
from umss_jax.train.step import TrainState
from umss_jax.train.strategies import SCHEDULES
from umss_jax.trees import flatten, parts, select_parts, tree_problems
from umss_jax.weights import store

WEIGHTS = "weights.safetensors"
"""In the folder of a run; its side-car lies beside it."""

_ARCHITECTURE = "umss-2024"


def initial_variables(config: TrainConfig) -> tuple[dict[str, Any], ModelConfig]:
    """All parts of a strategy: those of ``config.weights``, the others drawn from the seed.

    These are the four of the model, or the F0 networks and a U-Net.

    Returns:
        NumPy variables, and the configuration with the networks of the weights.

    Raises:
        UnknownModelError, WeightsError: there are no such weights, or they are damaged.
        UsageError: encoder or decoder have other sizes than the configuration says, or the U-Net
            another condition.
    """
    nothing: dict[str, Any] = {"params": {}, "batch_stats": {}}
    variables = load_weights(config.weights)[0] if config.weights else nothing
    trained = {part for phase in SCHEDULES[config.strategy] for part in phase.step.trainable}
    wanted = model.UNET_PARTS if "unet" in trained else model.PARTS
    variables = select_parts(variables, [part for part in wanted if part in parts(variables)])
    model_config = config_for(variables, config.model)
    if model_config.unet != config.model.unet:
        raise UsageError(
            f"the U-Net in weights {config.weights} is conditioned otherwise",
            f"set model.unet.condition={model_config.unet.condition}",
        )
    key = jax.random.key(config.seed)
    drawn_parts = tuple(part for part in wanted if part not in parts(variables))
    # In one compilation: operation by operation it takes ten times longer.
    initialise = partial(model.init_variables, config=model_config)
    draw = jax.jit(partial(initialise, parts=drawn_parts))
    drawn = draw(key)
    complete = {
        collection: {**drawn[collection], **variables.get(collection, {})} for collection in drawn
    }
    expected = jax.eval_shape(partial(initialise, parts=wanted), key)
    problems = tree_problems(_shapes(complete), _shapes(expected))
    if problems:
        raise UsageError(
            f"weights {config.weights} have other sizes than the model ({problems[0]})",
            "set model.encoder and model.decoder to theirs",
        )
    # Thresholds of drawn F0 networks, too, are those of their kind.
    f0_networks = select_parts(complete, ["salience", "assignment"])
    return jax.tree.map(np.asarray, complete), config_for(f0_networks, model_config)


def merged(variables: Mapping[str, Any], state: TrainState) -> dict[str, Any]:
    """All parts, those of the state as it has them; NumPy."""
    changed = {"params": state.params, "batch_stats": state.batch_stats}
    result: dict[str, Any] = jax.tree.map(
        np.asarray, {name: {**trees, **changed[name]} for name, trees in variables.items()}
    )
    return result


def keep_weights(
    folder: Path, variables: Mapping[str, Any], about: str, initial: str, loss: float
) -> None:
    """Stores all parts as other commands take them.

    Args:
        folder: of the run.
        variables: all parts.
        about: strategy, phase and step.
        initial: name of the weights that the run began with.
        loss: of the validation.

    Raises:
        OutputError: they cannot be written.
    """
    metadata: dict[str, Any] = {
        "origin": f"trained here: {about}",
        "initial_weights": initial,
        "validation_loss": loss,
    }
    expected = store.architecture_shapes(_ARCHITECTURE)
    if expected is not None and not tree_problems(_shapes(variables), expected):
        metadata["architecture"] = _ARCHITECTURE
    store.save(folder / WEIGHTS, variables, metadata)


def keep_phase(folder: Path, number: int, name: str) -> None:
    """Keeps the best weights of a phase that has ended, as ``phases/<number>_<name>``.

    They stay as they are when the run is resumed: the next phase begins to write its own to
    ``weights.safetensors`` only after this has been done.

    Args:
        folder: of the run.
        number: of the phase, from 0.
        name: of the phase.

    Raises:
        OutputError: they cannot be written.
    """
    kept = phase_weights(folder, number, name)
    best = folder / WEIGHTS
    if kept.is_file() or not best.is_file():
        return
    for source, target in (
        (store.side_car_path(best), store.side_car_path(kept)),
        (best, kept),
    ):
        make_whole(target, partial(shutil.copyfile, source))


def phase_weights(folder: Path, number: int, name: str) -> Path:
    """Where the weights of a phase are kept."""
    return folder / "phases" / f"{number}_{name}.safetensors"


def _shapes(variables: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: np.shape(leaf) for name, leaf in flatten(variables).items()}
