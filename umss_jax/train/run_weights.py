"""The weights of a training run: what it begins with, and the best that it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from umss_jax import model
from umss_jax.config import ModelConfig
from umss_jax.errors import UsageError
from umss_jax.train.config import TrainConfig
from umss_jax.train.run_folder import WEIGHTS
from umss_jax.train.step import TrainState
from umss_jax.train.strategies import SCHEDULES
from umss_jax.trees import flatten, parts, select_parts, tree_problems
from umss_jax.weights import store
from umss_jax.weights.combine import fitting_parts, load_weights
from umss_jax.weights.recognise import expected_shapes
from umss_jax.weights.store import StoredWeights


def initial_variables(config: TrainConfig) -> dict[str, Any]:
    """All parts of a strategy: those of ``config.weights``, the others sampled from the seed.

    These are the four of the model, or the F0 networks and a U-Net, as NumPy arrays.

    Raises:
        UnknownModelError, WeightsError: there are no such weights, or they are damaged.
        UsageError: encoder or decoder have other sizes than the configuration says, or the U-Net
            another condition.
    """
    trained = {part for phase in SCHEDULES[config.strategy] for part in phase.step.trainable}
    refiner = (model.REFINER,) if model.REFINER in trained else ()
    wanted = (*model.F0_PARTS, *model.voice_model(trained).parts, *refiner)
    known: dict[str, Any] = {}
    if config.weights:
        loaded = starting_weights(config.weights, config.model)
        there = [part for part in wanted if part in parts(loaded.variables)]
        known = select_parts(loaded.variables, there)
        if "unet" in there and loaded.config.unet.condition != config.model.unet.condition:
            raise UsageError(
                f"the U-Net in weights {config.weights} is conditioned otherwise",
                f"set model.unet.condition={loaded.config.unet.condition}",
            )
    missing = tuple(part for part in wanted if part not in parts(known))
    # In one compilation: operation by operation it takes ten times longer.
    sample = jax.jit(partial(model.init_variables, config=config.model, parts=missing))
    sampled = sample(jax.random.key(config.seed))
    complete = {name: {**sampled[name], **known.get(name, {})} for name in sampled}
    shapes = {name: np.shape(leaf) for name, leaf in flatten(complete).items()}
    problems = tree_problems(shapes, expected_shapes(config.model, wanted))
    if problems:
        raise UsageError(
            f"weights {config.weights} have other sizes than the model ({problems[0]})",
            "set model.encoder and model.decoder to theirs",
        )
    return jax.tree.map(np.asarray, complete)


def starting_weights(weights: str, config: ModelConfig) -> StoredWeights:
    """What weights bring for a model: all but an assignment network of other voices.

    Raises:
        UnknownModelError, WeightsError: there are no such weights, or they are damaged.
    """
    loaded = load_weights(weights, config)
    known = fitting_parts(loaded.variables, loaded.config.voices, config.voices)
    return loaded._replace(variables=known)


def merged(variables: Mapping[str, Any], state: TrainState) -> dict[str, Any]:
    """All parts, those of the state as it has them; NumPy."""
    result: dict[str, Any] = jax.tree.map(
        np.asarray, {name: {**trees, **state.variables[name]} for name, trees in variables.items()}
    )
    return result


def keep_phase(folder: Path, number: int, name: str) -> None:
    """Keeps the best weights of a phase that has ended, as ``phases/<number>_<name>``.

    They stay as they are when the run is resumed: the next phase begins to write its own to
    ``weights.safetensors`` only after this has been done. Phases are numbered from 0.

    Raises:
        OutputError: they cannot be written.
    """
    kept = phase_weights(folder, number, name)
    best = folder / WEIGHTS
    if kept.is_file() or not best.is_file():
        return
    store.copy(best, kept)


def phase_weights(folder: Path, number: int, name: str) -> Path:
    """Where the weights of a phase are kept."""
    return folder / "phases" / f"{number}_{name}.safetensors"
