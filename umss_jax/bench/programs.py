"""The programs of the package by name, with the shapes of their arguments: nothing is computed.

They are lowered or compiled for devices that are not at hand, to count their kernels there or to
see that they can be compiled at all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from umss_jax import model
from umss_jax.bench.stages import STAGES, cqt_frames, voices_shape
from umss_jax.config import ModelConfig
from umss_jax.errors import UsageError
from umss_jax.train.objectives import Batch, parts_used
from umss_jax.train.optimiser import make_optimiser
from umss_jax.train.step import init_state, make_train_step
from umss_jax.train.strategies import SCHEDULES, STRATEGIES, Phase

_UNCOMMON = ("w_up", "supervised", "unet", "refine")
_TRAIN, _STAGE = "train", "stage"


class Program(NamedTuple):
    """A function that JAX can trace, and the shapes of its arguments."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def train_phases() -> dict[str, Phase]:
    """One phase for each training step that differs from the others: all of them, by name."""
    phases = {name: Phase(name, strategy) for name, strategy in STRATEGIES.items()}
    return phases | {name: SCHEDULES[name][0] for name in _UNCOMMON}


def program_names() -> tuple[str, ...]:
    """What :func:`program` knows: ``train …``, salience, f0, separation, ``stage …``."""
    stages = (name for name in STAGES if "(" not in name)
    return (
        *(f"{_TRAIN} {name}" for name in train_phases()),
        *_INFERENCE,
        *(f"{_STAGE} {name}" for name in stages),
    )


def program(name: str, batch: int, config: ModelConfig = ModelConfig()) -> Program:
    """A program on so many examples; a stage with its gradient, where it has one.

    Raises:
        UsageError: none has that name.
    """
    kind, _, rest = name.partition(" ")
    if kind == _TRAIN and rest in train_phases():
        return _train(train_phases()[rest], batch, config)
    if kind == _STAGE and rest in STAGES:
        stage = STAGES[rest](batch, config.audio.example_samples, config)
        return Program(dict(stage.functions()).get(" + gradient", stage.forward), stage.arguments)
    if name in _INFERENCE:
        return _INFERENCE[name](batch, config)
    raise UsageError(f"no program is called {name!r}", f"choose from {', '.join(program_names())}")


def _float32(*shape: int) -> Any:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _variables(parts: tuple[str, ...], config: ModelConfig) -> Any:
    return jax.eval_shape(lambda: model.init_variables(jax.random.key(0), config, parts))


def _train(phase: Phase, batch: int, config: ModelConfig) -> Program:
    strategy = phase.step
    optimiser = make_optimiser(strategy.trainable)
    variables = _variables(parts_used(strategy.start, strategy.trainable), config)
    state = jax.eval_shape(partial(init_state, optimiser=optimiser), variables)
    step = make_train_step(optimiser, strategy.trainable, config, strategy.loss)
    samples = config.audio.example_samples
    voices = voices_shape(batch, samples, config)[1]
    key = jax.eval_shape(lambda: jax.random.key(0))
    given = Batch(_float32(batch, samples))
    if strategy.start == "f0":
        given = given._replace(f0_hz_synth=_float32(*voices_shape(batch, samples, config)))
    if strategy.start == "salience":
        shape = (batch, config.hcqt.bins, cqt_frames(samples, config))
        given = given._replace(salience=_float32(*shape))
    if phase.with_sources:
        given = given._replace(sources=_float32(batch, voices, samples))
    return Program(step, (state, given, key))


def _salience(batch: int, config: ModelConfig) -> Program:
    def salience(variables: Any, mixture: jax.Array) -> jax.Array:
        return model.estimate_salience(variables, model.features(mixture, config), config)

    mixture = _float32(batch, config.audio.example_samples)
    return Program(salience, (_variables(("salience",), config), mixture))


def _f0(batch: int, config: ModelConfig) -> Program:
    def f0(variables: Any, mixture: jax.Array) -> Any:
        analysis = model.analyse(variables, mixture, config)
        return analysis.salience, analysis.f0_hz_cqt, analysis.f0_hz_synth

    mixture = _float32(batch, config.audio.example_samples)
    return Program(f0, (_variables(model.F0_PARTS, config), mixture))


def _separation(batch: int, config: ModelConfig) -> Program:
    def separation(variables: Any, mixture: jax.Array, channels: jax.Array, seeds: Any) -> Any:
        analysis = model.analyse(variables, mixture, config)
        separated = model.separate(variables, mixture, channels, analysis, seeds, config)
        return separated.stems, separated.output.f0_hz_synth

    samples = config.audio.example_samples
    seeds = jax.ShapeDtypeStruct((batch,), jnp.uint32)
    shapes = (_float32(batch, samples), _float32(batch, 1, samples), seeds)
    return Program(separation, (_variables(model.PARTS, config), *shapes))


_INFERENCE: dict[str, Callable[[int, ModelConfig], Program]] = {
    "salience": _salience,
    "f0": _f0,
    "separation": _separation,
}
