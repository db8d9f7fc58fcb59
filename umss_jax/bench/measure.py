"""Measuring: time, spread, memory and arithmetic of training steps, separation and stages.

Figures are whole-call wall-clock times after a warm-up; peak memory is the largest resident size
of the process, so that it means something only where one process measures one thing (the command
starts a fresh one for each). Nothing here judges: floors and ratios are put beside the figures.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax import model
from umss_jax.bench.machine import commit, peak_memory_bytes
from umss_jax.bench.stages import STAGES, cqt_frames, direct, random_f0_hz, voices_shape
from umss_jax.config import ModelConfig
from umss_jax.device import compile_ahead
from umss_jax.inference import ModelEngine
from umss_jax.interruption import check
from umss_jax.train.objectives import Batch, parts_used
from umss_jax.train.optimiser import make_optimiser
from umss_jax.train.step import init_state, make_train_step
from umss_jax.train.strategies import STRATEGIES, Strategy

SEPARATION = "separation"
Row = dict[str, Any]
"""One measurement; see :func:`row`."""


class Timing(NamedTuple):
    """Of one call."""

    compile_s: float
    """Tracing and compiling; where both are part of the first call, that less the median."""
    step_s: float
    """Median."""
    step_s_spread: tuple[float, float]
    """Shortest and longest."""
    processor_s: float
    """Median of the processor time of all threads: much less than cores · ``step_s`` says that
    the machine had other work, or that the stage left cores idle."""


def measure(call: Callable[[], Any], repeats: int, budget_s: float = 15.0) -> Timing:
    """Times a call that compiles the first time.

    Args:
        call: returns arrays, which are waited for.
        repeats: counted calls, after one for compilation and one to warm up.
        budget_s: no further call is begun once the calls after the first have taken this long; if
            there was time for none after the one to warm up, that one counts.
    """

    def timed() -> tuple[float, float]:
        check()
        started, processor = time.perf_counter(), time.process_time()
        jax.block_until_ready(call())
        return time.perf_counter() - started, time.process_time() - processor

    first, _ = timed()
    calls: list[tuple[float, float]] = []
    while len(calls) <= repeats and sum(wall for wall, _ in calls) < budget_s:
        calls.append(timed())
    counted = np.array(calls[1:] or calls)
    wall, processor = np.median(counted, axis=0)
    spread = float(counted[:, 0].min()), float(counted[:, 0].max())
    return Timing(max(first - float(wall), 0.0), float(wall), spread, float(processor))


def measure_strategy(
    name: str, batch: int, seconds: float, repeats: int, config: ModelConfig = ModelConfig()
) -> Row:
    """One training strategy, or ``separation``, from random weights; see :func:`row`."""
    noise = jax.random.normal(jax.random.key(2), (batch, _samples(seconds, config)))
    mixture = noise / jnp.max(jnp.abs(noise), axis=1, keepdims=True)
    if name == SEPARATION:
        measured = _measure_separation(mixture, repeats, config)
    else:
        measured = _measure_training(STRATEGIES[name], mixture, repeats, config)
    return row(name, "", batch, seconds, *measured)


_Measured = tuple[Timing, float, float]
"""Time; products as the code runs them, and with every convolution done directly."""


def _measure_separation(mixture: jax.Array, repeats: int, config: ModelConfig) -> _Measured:
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
    return timing, products_of(config), products_of(direct(config))


def _measure_training(
    strategy: Strategy, mixture: jax.Array, repeats: int, config: ModelConfig
) -> _Measured:
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
    return timing, products, products_direct


def measure_stage(
    name: str, batch: int, seconds: float, repeats: int, config: ModelConfig = ModelConfig()
) -> list[Row]:
    """One stage, forward and with the gradient: two rows (one where there is no gradient)."""
    stage = STAGES[name](batch, _samples(seconds, config), config)
    rows = []
    for suffix, function in stage.functions():
        program, compile_s = _compiled(jax.jit(function), *stage.arguments)
        timing = measure(lambda p=program: p(*stage.arguments), repeats)  # type: ignore[misc]
        timing = timing._replace(compile_s=compile_s)
        products = count_products(function, *stage.arguments)
        rows.append(row("", f"{name}{suffix}", batch, seconds, timing, products, products))
    return rows


def row(
    strategy: str,
    stage: str,
    batch: int,
    seconds: float,
    timing: Timing,
    products: float,
    products_direct: float,
) -> Row:
    """One JSON object; the ceilings are filled in by whoever measured them.

    ``gflop_per_example`` counts matrix products and convolutions as the code runs them, and is
    what the floor is made of; ``gflop_direct_per_example`` counts them with every convolution done
    directly.
    """
    gflop = products / batch / 1e9
    device = jax.devices()[0]
    return {
        "strategy": strategy,
        "stage": stage,
        "batch": batch,
        "seconds": seconds,
        "step_s": timing.step_s,
        "step_s_spread": list(timing.step_s_spread),
        "processor_s": timing.processor_s,
        "examples_per_second": batch / timing.step_s,
        "gflop_per_example": gflop,
        "gflop_direct_per_example": products_direct / batch / 1e9,
        "achieved_gflops": gflop * batch / timing.step_s,
        "ceiling_gflops": None,
        "ceiling_copy_gib_s": None,
        "peak_memory_bytes": peak_memory_bytes(),
        "compile_s": timing.compile_s,
        "device": f"{device.platform}: {device.device_kind} × {jax.local_device_count()}",
        "commit": commit(),
    }


def _compiled(jitted: Any, *arguments: Any) -> tuple[Callable[..., Any], float]:
    """The program, and the time that tracing and compiling it took."""
    started = time.perf_counter()
    program = compile_ahead(jitted, *arguments)
    return program, time.perf_counter() - started


def count_products(function: Callable[..., Any], *arguments: Any) -> float:
    """Floating-point operations of the matrix products and convolutions of one call.

    XLA's own cost analysis counts the body of a loop once; here every operation counts as often as
    it runs. What is counted is the algorithm that runs, not the textbook form of it: transforms
    that stand for long convolutions cost no products.

    Args:
        function: traceable by JAX; nothing is computed.
        *arguments: arrays or shapes.

    Returns:
        Two for each multiply-add; of the branches of a condition the largest counts.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr: Any) -> float:
    return sum(map(_count_equation, jaxpr.eqns))


def _count_equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    written = sum(math.prod(getattr(v.aval, "shape", ())) for v in equation.outvars)
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
        return 2.0 * written * depth
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        outputs = kernel[params["dimension_numbers"].rhs_spec[0]]
        # Groups need no correction: the kernel holds the inputs of one group only.
        return 2.0 * written * math.prod(kernel) / outputs
    if name == "scan":
        return params["length"] * _count(params["jaxpr"].jaxpr)
    if name == "cond":
        return max(_count(branch.jaxpr) for branch in params["branches"])
    # What an equation calls: jit, custom derivatives, checkpoints, loops.
    inner = [getattr(value, "jaxpr", value) for value in params.values()]
    return sum(_count(jaxpr) for jaxpr in inner if hasattr(jaxpr, "eqns"))


def product_ceiling_gflops(repeats: int = 5) -> float:
    """Best float32 rate of plain matrix products, over several shapes."""
    best = 0.0
    for rows, depth, columns in ((2048, 2048, 2048), (4000, 512, 1536), (434, 360, 11_008)):
        keys = jax.random.split(jax.random.key(0))
        a = jax.random.normal(keys[0], (rows, depth))
        b = jax.random.normal(keys[1], (depth, columns))
        product = jax.jit(lambda a, b: jnp.dot(a, b, precision="highest"))
        timing = measure(lambda p=product, a=a, b=b: p(a, b), repeats)  # type: ignore[misc]
        best = max(best, 2e-9 * rows * depth * columns / timing.step_s_spread[0])
    return best


def copy_ceiling_gib_s(repeats: int = 5) -> float:
    """Best rate of reading and writing memory, by adding 1 to 256 MiB of float32 in place."""
    array = jnp.zeros(1 << 26)
    add_in_place = jax.jit(lambda x: x + 1.0, donate_argnums=0)

    def add() -> jax.Array:
        nonlocal array
        array = add_in_place(array)
        return array

    return 2 * array.nbytes / 2**30 / measure(add, repeats).step_s_spread[0]


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
