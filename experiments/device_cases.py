"""The cases of the device check: each yields what it found, ever more of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.device_programs import (
    Found,
    about_device,
    compiled,
    kernels,
    on_cpu,
    timed,
    with_default_precision,
)
from experiments.device_setting import Setting, known_f0, seeded_variables, sung
from umss_jax import model
from umss_jax.bench.ceilings import PRODUCTS, copy_ceiling_gib_s, product_ceiling_gflops
from umss_jax.bench.measure import count_products
from umss_jax.bench.stages import STAGES
from umss_jax.inference import ModelEngine
from umss_jax.train.objectives import Batch, parts_used
from umss_jax.train.optimiser import make_optimiser
from umss_jax.train.step import TrainState, init_state, make_train_step
from umss_jax.train.strategies import STRATEGIES

_LARGEST = 960
"""Examples that a batch is never larger than."""


def run_case(name: str, setting: Setting) -> Iterator[Found]:
    """What a case of :data:`experiments.device_check.CASES` finds; the last is the most."""
    kind, *details = name.split()
    found = about_device()
    if kind not in _CASES:
        raise ValueError(f"no case is called {name}")
    for more in _CASES[kind](setting, *details):
        found |= more
        yield found


def _ceilings(setting: Setting) -> Iterator[Found]:
    for kind in PRODUCTS:
        yield {f"{kind}_gflops": product_ceiling_gflops(kind)}
    if not setting.compile_only:
        yield {"copy_gib_s": copy_ceiling_gib_s()}


def _parity(setting: Setting) -> Iterator[Found]:
    """Relative errors of every stage and of its gradient against the CPU."""
    expected = dict(np.load(setting.reference)) if setting.reference else {}
    found: Found = {"reference": str(setting.reference) if setting.reference else "this CPU"}
    for name, function, arguments in _stages(setting):
        program, took = compiled(jax.jit(function), *arguments)
        found[name] = took
        if not setting.compile_only:
            values = [np.asarray(leaf) for leaf in jax.tree.leaves(program(*arguments))]
            keys = [f"{name} {number}" for number in range(len(values))]
            if not all(key in expected for key in keys):
                wanted = jax.tree.leaves(on_cpu(jax.jit(function), *arguments))
                expected |= dict(zip(keys, wanted, strict=True))
            pairs = [(value, expected[key]) for key, value in zip(keys, values, strict=True)]
            found[name] |= {"largest_error": max(_error(*pair, np.max) for pair in pairs)}
            found[name] |= {"rms_error": max(_error(*pair, _rms) for pair in pairs)}
        yield found


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def _error(found: np.ndarray, expected: np.ndarray, norm: Any) -> float:
    """Of the difference and of the expected values, one over the other."""
    scale = float(norm(np.abs(expected))) if expected.size else 0.0
    return float(norm(np.abs(found - expected))) / scale if scale else 0.0


def _stages(setting: Setting) -> Iterator[tuple[str, Any, Any]]:
    """Every stage that is no naive form, and its gradient, with arguments drawn on the CPU."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        stages = {
            name: make(1, setting.samples // 4 // 256 * 256 or 256, setting.model)
            for name, make in STAGES.items()
            if "(" not in name and not (setting.small and name in ("salience", "assignment"))
        }
    for name, stage in stages.items():
        arguments = jax.tree.map(np.asarray, jax.device_get(stage.arguments))
        for suffix, function in stage.functions():
            yield f"{name}{suffix}", function, arguments


def make_reference(path: Path, small: bool) -> None:
    """Writes the values of every stage on this machine's CPU, for the case *parity*."""
    values = {}
    for name, function, arguments in _stages(Setting(small, path.parent)):
        for number, leaf in enumerate(jax.tree.leaves(on_cpu(jax.jit(function), *arguments))):
            values[f"{name} {number}"] = leaf
    np.savez(path, **values)


class _Training(NamedTuple):
    """A step and its arguments."""

    step: Any
    state: TrainState
    batch: Batch
    key: jax.Array
    products: float


def _training(setting: Setting, strategy: str, examples: int) -> _Training:
    chosen, config = STRATEGIES[strategy], setting.model
    variables = seeded_variables(config, parts_used(chosen.start, chosen.trainable))
    optimiser = make_optimiser(chosen.trainable)
    step = make_train_step(optimiser, chosen.trainable, config, setting.loss(chosen))
    mixture = jax.device_put(sung(examples, setting.samples))
    batch = Batch(mixture)
    if chosen.start == "f0":
        batch = batch._replace(f0_hz_synth=jax.device_put(known_f0(examples, setting.samples)))
    state, key = init_state(variables, optimiser), jax.random.key(1)
    return _Training(step, state, batch, key, count_products(step, state, batch, key))


def _step(setting: Setting, strategy: str, examples: str, way: str = "") -> Iterator[Found]:
    """Time, memory, share of the ceiling and kernels of a training step."""
    size = min(int(examples), 2) if setting.small else int(examples)
    training = _training(setting, strategy, size)
    given = training.state, training.batch, training.key
    structure = jax.tree.structure(training.state)
    if way == "tf32":
        step: Any = jax.jit(with_default_precision(training.step, *given))
        program, found = compiled(step, *given)
    else:
        program, found = compiled(training.step, *given)
    found |= {"strategy": strategy, "batch": size, "gflop": training.products / 1e9}
    yield found
    if setting.compile_only:
        return
    held = [training.state]

    def call() -> Any:
        leaves = jax.tree.leaves(program(held[0], training.batch, training.key))
        held[0] = jax.tree.unflatten(structure, leaves[: structure.num_leaves])
        return leaves

    found |= timed(call, 1.0 if setting.small else 8.0)
    found["gflops"] = found["gflop"] / found["step_s"]
    found["examples_per_second"] = size / found["step_s"]
    found["loss"] = float(call()[structure.num_leaves :][0].ravel()[0])
    yield found
    yield kernels(call)


def _largest(setting: Setting, strategy: str) -> Iterator[Found]:
    """The largest batch that fits by the memory that the step asks for at 15, and its time."""
    small = 2 if setting.small else 15
    training = _training(setting, strategy, small)
    _, found = compiled(training.step, training.state, training.batch, training.key)
    limit = about_device()["memory_limit_bytes"] or 4 * 2**30
    each = max(1, found.get("program_bytes", 0) / small)
    size = 4 if setting.small else min(_LARGEST, int(0.85 * limit / each) // 15 * 15)
    yield {"estimated_batch": size, "bytes_per_example": each}
    while size:
        try:
            yield from _step(setting, strategy, str(size))
            return
        except Exception as error:  # of the runtime, where memory is short
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            yield {"does_not_fit": size}
            size = size * 3 // 4


def _separation(setting: Setting) -> Iterator[Found]:
    """A minute of segments by the engine, weights on the device."""
    config = setting.model
    engine = ModelEngine("check", seeded_variables(config, model.PARTS), config=config)
    size, total_s = (2, 2.0) if setting.small else (15, 60.0)
    segments = sung(size, setting.samples)
    seeds = np.arange(size, dtype=np.uint32)
    rounds = max(1, round(total_s / (size * setting.seconds)))

    def call() -> Any:
        return [engine.separate(segments, segments[:, None], seeds) for _ in range(rounds)]

    started = time.perf_counter()
    stems = call()[0].stems_16k
    yield {"first_s": time.perf_counter() - started, "is_finite": bool(np.isfinite(stems).all())}
    if not setting.compile_only:
        found = timed(call, 4.0)
        yield {**found, "real_time_factor": found["step_s"] / (rounds * size * setting.seconds)}


def _real(setting: Setting, what: str, way: str) -> Iterator[Found]:
    """Twenty steps as a run does them, F0 found by the rule for each batch, or known."""
    from experiments.device_runs import real_steps

    yield from real_steps(setting, is_cached=way == "cached")


def _run(setting: Setting, way: str) -> Iterator[Found]:
    """Twenty steps of a run, killed on the way and resumed, beside twenty in one go."""
    from experiments.device_runs import run_here

    folder = setting.out.resolve() / "run"
    if setting.compile_only:
        yield run_here(setting, folder / "compiled", 2)
        return
    name = "killed" if way == "killed" else way
    command = [sys.executable, "-m", "experiments.device_runs", str(folder / name), "20"]
    command += ["--small"] * setting.small
    progress = folder / name / "metrics.jsonl"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while True:
            rows = progress.read_text().count("\n") if progress.exists() else 0
            if rows >= 11 or process.poll() is not None:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    yield {"killed_after_steps": rows, "was_killed": process.returncode == -signal.SIGKILL}
    resumed = _json_of(command)
    whole = _json_of([*command[:3], str(folder / "whole"), *command[4:]])
    yield {
        "resumed": resumed,
        "whole": whole,
        "is_equal": resumed["sha256"] == whole["sha256"],
        "steps_per_second": whole["steps_per_second"],
    }


def _json_of(command: list[str]) -> Found:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


_CASES = {
    "ceilings": _ceilings,
    "parity": _parity,
    "step": _step,
    "largest": _largest,
    "separation": _separation,
    "real": _real,
    "run": _run,
}
