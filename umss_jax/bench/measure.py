"""Measuring: time, spread, memory and arithmetic of training steps, separation and stages.

Figures are whole-call wall-clock times after a warm-up; peak memory is the largest resident size
of the process, so that it means something only where one process measures one thing (the command
starts a fresh one for each). Nothing here judges: floors and ratios are put beside the figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax import model
from umss_jax.bench.arithmetic import count_products
from umss_jax.bench.rows import ONE_DEVICE, Measured, Row, Setup, program_bytes, row
from umss_jax.bench.stages import STAGES, cqt_frames, direct, random_f0_hz, voices_shape
from umss_jax.bench.timing import measure
from umss_jax.config import Compute, ModelConfig
from umss_jax.device import compile_ahead
from umss_jax.errors import DeviceError
from umss_jax.inference import ModelEngine
from umss_jax.train.objectives import Batch, parts_used
from umss_jax.train.optimiser import make_optimiser
from umss_jax.train.sharding import ParallelStep
from umss_jax.train.step import init_state, make_train_step
from umss_jax.train.strategies import STRATEGIES, Strategy

SEPARATION = "separation"


def measure_strategy(
    name: str,
    batch: int,
    seconds: float,
    repeats: int,
    config: ModelConfig = ModelConfig(),
    setup: Setup = ONE_DEVICE,
) -> Row:
    """One training strategy, or ``separation``, from random weights; see :func:`row`.

    Raises:
        DeviceError: there are not so many devices, or the batch cannot be divided over them.
    """
    config = computing(config, setup.compute)
    noise = jax.random.normal(jax.random.key(2), (batch, _samples(seconds, config)))
    mixture = noise / jnp.max(jnp.abs(noise), axis=1, keepdims=True)
    if name == SEPARATION:
        measured, setup = _measure_separation(mixture, repeats, config), setup._replace(devices=1)
    elif setup.devices > 1:
        measured = _measure_parallel(STRATEGIES[name], mixture, repeats, config, setup)
    else:
        measured = _measure_training(STRATEGIES[name], mixture, repeats, config)
    return row(name, "", batch, seconds, measured, setup)


def computing(config: ModelConfig, compute: Compute) -> ModelConfig:
    """The configuration with all convolutions and dense layers multiplied so."""
    parts = {
        name: replace(getattr(config, name), compute=compute)
        for name in ("conv", "encoder", "decoder")
    }
    return replace(config, **parts)


def _measure_separation(mixture: jax.Array, repeats: int, config: ModelConfig) -> Measured:
    variables = model.init_variables(jax.random.key(0), config)
    engine = ModelEngine(SEPARATION, variables, config=config, batch_segments=len(mixture))
    seeds = np.arange(len(mixture), dtype=np.uint32)
    heard = np.asarray(mixture)

    def products_of(config: ModelConfig) -> float:
        def forward(mixture: jax.Array) -> jax.Array:
            uniform = model.sample_uniform(jax.random.key(0), mixture, config)
            return model.forward(variables, mixture, uniform, config).sources

        return count_products(forward, mixture)

    timing = measure(lambda: engine.separate(heard, heard[:, None], seeds).stems_16k, repeats)
    return Measured(timing, products_of(config), products_of(direct(config)))


def _measure_training(
    strategy: Strategy, mixture: jax.Array, repeats: int, config: ModelConfig
) -> Measured:
    parts = parts_used(strategy.start, strategy.trainable)
    variables = model.init_variables(jax.random.key(0), config, parts)
    optimiser = make_optimiser(strategy.trainable)
    state = init_state(variables, optimiser)
    step = make_train_step(optimiser, strategy.trainable, config, strategy.loss)
    given = _batch(mixture, strategy.start, config)
    rng = jax.random.key(1)
    program, compile_s = _compiled(step, state, given, rng)
    products = count_products(step, state, given, rng)
    textbook = make_train_step(optimiser, strategy.trainable, direct(config), strategy.loss)
    products_direct = count_products(textbook, state, given, rng)

    def train() -> Any:
        nonlocal state
        state, metrics = program(state, given, rng)
        return state, metrics

    timing = measure(train, repeats)._replace(compile_s=compile_s)
    return Measured(timing, products, products_direct, program_bytes(program))


def _measure_parallel(
    strategy: Strategy, mixture: jax.Array, repeats: int, config: ModelConfig, setup: Setup
) -> Measured:
    """The step over several devices, each with its share of the batch."""
    devices = jax.devices()
    if len(devices) < setup.devices:
        raise DeviceError(
            f"JAX finds {len(devices)} of {setup.devices} devices", "name fewer by --devices"
        )
    variables = model.init_variables(
        jax.random.key(0), config, parts_used(strategy.start, strategy.trainable)
    )
    optimiser = make_optimiser(strategy.trainable)
    whole = make_train_step(optimiser, strategy.trainable, config, strategy.loss)
    textbook = make_train_step(optimiser, strategy.trainable, direct(config), strategy.loss)
    given = jax.tree.map(np.asarray, _batch(mixture, strategy.start, config))
    key, fresh = jax.random.key(1), init_state(variables, optimiser)
    products, direct_products = (
        count_products(one, fresh, given, key) for one in (whole, textbook)
    )
    step = ParallelStep(
        optimiser,
        strategy.trainable,
        config,
        strategy.loss,
        setup.parallel,
        devices[: setup.devices],
    )
    state, key = step.devices.place(fresh), step.devices.place(key)
    placed = step.devices.put(given, len(mixture))

    def train() -> Any:
        nonlocal state
        state, metrics = step(state, placed, key)
        return state, metrics

    return Measured(measure(train, repeats), products, direct_products)


def measure_stage(
    name: str,
    batch: int,
    seconds: float,
    repeats: int,
    config: ModelConfig = ModelConfig(),
    setup: Setup = ONE_DEVICE,
) -> Iterator[Row]:
    """One stage, forward and with the gradient: two rows (one where there is no gradient)."""
    config, setup = computing(config, setup.compute), setup._replace(devices=1)
    stage = STAGES[name](batch, _samples(seconds, config), config)
    for suffix, function in stage.functions():
        program, compile_s = _compiled(jax.jit(function), *stage.arguments)
        timing = measure(lambda p=program: p(*stage.arguments), repeats)  # type: ignore[misc]
        timing = timing._replace(compile_s=compile_s)
        products = count_products(function, *stage.arguments)
        measured = Measured(timing, products, products, program_bytes(program))
        yield row("", f"{name}{suffix}", batch, seconds, measured, setup)


def _compiled(jitted: Any, *arguments: Any) -> tuple[Callable[..., Any], float]:
    """The program, and the time that tracing and compiling it took."""
    started = time.perf_counter()
    program = compile_ahead(jitted, *arguments)
    return program, time.perf_counter() - started


def _samples(seconds: float, config: ModelConfig) -> int:
    """Whole frames, at least one."""
    frames = round(seconds * config.audio.sample_rate_hz / config.audio.hop_samples)
    return max(frames, 1) * config.audio.hop_samples


def _batch(mixture: jax.Array, start: str, config: ModelConfig) -> Batch:
    batch, samples = mixture.shape
    if start == "f0":
        return Batch(mixture, f0_hz_synth=random_f0_hz(voices_shape(batch, samples, config)))
    if start == "salience":
        shape = (batch, config.hcqt.bins, cqt_frames(samples, config))
        return Batch(mixture, salience=jax.random.uniform(jax.random.key(3), shape))
    return Batch(mixture)
