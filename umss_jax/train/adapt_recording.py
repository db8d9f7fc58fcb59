"""A model adapted to the recording that it is about to separate, and kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from umss_jax.config import Assigner
from umss_jax.errors import UsageError
from umss_jax.train.config import AdaptationConfig
from umss_jax.weights import store

if TYPE_CHECKING:
    from umss_jax.audio.recording import Recording
    from umss_jax.inference import ModelEngine


def check_adaptation(
    config: AdaptationConfig, assigner: Assigner, name: str, recordings: int, overwrite: bool
) -> None:
    """Refuses before the adaptation what would be noticed only after it.

    Args:
        config: What is asked for; 0 steps is no adaptation.
        assigner: As asked for.
        name: Under which the adapted model is kept; none if empty.
        recordings: Number of them.
        overwrite: A model of that name may be replaced.

    Raises:
        UsageError: Options that need or exclude each other, or the name is taken.
    """
    if config.train_assignment and not config.steps:
        raise UsageError("--adapt-assignment needs --adapt", "add --adapt 200")
    if config.train_assignment and assigner is Assigner.HEURISTIC:
        raise UsageError(
            "--adapt-assignment has nothing to train with --assigner heuristic", "drop one of them"
        )
    if not name:
        return
    if not config.steps:
        raise UsageError("--save-adapted needs --adapt", "add --adapt 200")
    if recordings > 1:
        raise UsageError(
            f"--save-adapted keeps one model, here are {recordings} recordings",
            "give one at a time",
        )
    store.refuse_starter(name)
    if store.store_path(name).exists() and not overwrite:
        raise UsageError(f"{store.store_path(name)} exists", "use --overwrite or another name")


def adapt_to_recording(
    engine: ModelEngine,
    recording: Recording,
    config: AdaptationConfig,
    progress: Callable[[float], None] | None = None,
) -> ModelEngine:
    """The engine after unsupervised training on one recording.

    Arguments and errors as :func:`umss_jax.train.adapt.adapt`.

    Raises:
        UsageError: The assignment is to be trained of a model that has no network for it.
    """
    from umss_jax.train.adapt import adapt, training_segments

    if config.train_assignment and engine.assigner == Assigner.HEURISTIC:
        raise UsageError(
            f"--adapt-assignment has nothing to train in model {engine.name}", "drop it"
        )
    segments = training_segments(recording, config, engine.config.audio)
    return adapt(engine, segments, config, progress).engine


def keep_adapted(engine: ModelEngine, name: str, recording: Recording, steps: int) -> Path:
    """Stores an adapted model with all its networks; returns the path of its tensors."""
    about = {
        "origin": f"{engine.name}, adapted to {recording.path.name} in {steps} steps",
        "initial_weights": engine.provenance.get("weights", {}),
    }
    return store.save(name, engine.variables, engine.config, about)
