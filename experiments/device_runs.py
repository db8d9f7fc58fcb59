"""Twenty steps as a run does them: loop, checkpoints, F0 of each batch; for the device check.

    python -m experiments.device_runs FOLDER STEPS [--small]

trains, or resumes, on synthetic voices, and prints how it went. Only what a bare machine has is
needed, so there are no recordings, no validation and no weights to load or store.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import jax
import numpy as np

from experiments.device_programs import Found, about_device
from experiments.device_setting import Setting, known_f0, seeded_variables, sung
from umss_jax import model
from umss_jax.config import Assigner
from umss_jax.train.config import TrainConfig
from umss_jax.train.f0_cache import AnalysisCache
from umss_jax.train.loop import Loop, NamedBatch, run_loop
from umss_jax.train.objectives import Batch, parts_used
from umss_jax.train.optimiser import make_optimiser
from umss_jax.train.phase_files import PhaseFiles
from umss_jax.train.run_folder import RunFolder
from umss_jax.train.sharding import ParallelStep
from umss_jax.train.step import init_state
from umss_jax.train.strategies import STRATEGIES
from umss_jax.train.tensorboard import Board
from umss_jax.trees import select_parts

_CHECKPOINT_STEPS = 5


def _examples(setting: Setting) -> int:
    return 2 if setting.small else 15


def _loop(
    setting: Setting,
    steps: int,
    batches: Callable[[int], Iterator[NamedBatch]],
    log: Callable[[int, int, dict[str, float], float], object],
    files: PhaseFiles | None = None,
) -> tuple[Found, float]:
    """Runs UMSS to the end; the hash of what was learnt, and the seconds between first and last."""
    chosen, config = STRATEGIES["umss"], setting.model
    variables = seeded_variables(config, model.PARTS)
    optimiser = make_optimiser(chosen.trainable)
    step = ParallelStep(optimiser, chosen.trainable, config, setting.loss(chosen))
    ended: list[float] = []

    def timed_log(epoch: int, number: int, values: dict[str, float], seconds: float) -> None:
        ended.append(time.perf_counter())
        log(epoch, number, values, seconds)

    loop = Loop(
        name="synthesis",
        steps=steps,
        batch=_examples(setting),
        step=step,
        batches=batches,
        key=jax.random.key(0),
        log=timed_log,
        remedy="",
        devices=step.devices,
        files=files,
        checkpoint_steps=_CHECKPOINT_STEPS,
        quiet=True,
    )
    used = select_parts(variables, parts_used(chosen.start, chosen.trainable))
    state, _ = run_loop(loop, init_state(used, optimiser))
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(jax.device_get(state.params)):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    spent_s = ended[-1] - ended[0] if len(ended) > 1 else float("nan")
    return {"sha256": digest.hexdigest(), "steps_here": len(ended)}, spent_s


def _mixtures(setting: Setting, step: int) -> np.ndarray:
    return sung(_examples(setting), setting.samples, seed=step)


def run_here(setting: Setting, folder: Path, steps: int) -> Found:
    """Trains or resumes in a folder."""
    config = TrainConfig(strategy="umss", model=setting.model, tensorboard=False)
    runs = RunFolder(folder, config)
    files = PhaseFiles(runs, Board(None), config, "umss", 0, "synthesis", {})

    def batches(done: int) -> Iterator[NamedBatch]:
        f0_hz = known_f0(_examples(setting), setting.samples)
        for number in count(done):
            yield NamedBatch(Batch(_mixtures(setting, number), f0_hz))  # type: ignore[arg-type]

    with runs.going():
        found, spent_s = _loop(setting, steps, batches, files.log_step, files)
    steps_after_first = max(1, found["steps_here"] - 1)
    return {**found, "steps_per_second": steps_after_first / spent_s}


def real_steps(setting: Setting, is_cached: bool) -> Iterator[Found]:
    """Seconds a step where F0 is found by the rule for every batch, or is known already."""
    steps = 2 if setting.compile_only else 20
    config = setting.model
    variables = seeded_variables(config, model.PARTS)
    at_once = 1 if jax.default_backend() == "cpu" else 8
    cache = AnalysisCache(variables, config, Assigner.HEURISTIC, is_cached, at_once)

    class Mixes:
        """What the cache asks of a batch."""

        def __init__(self, number: int) -> None:
            self.mixture, self.sources = _mixtures(setting, number), None

    def batches(done: int) -> Iterator[NamedBatch]:
        for number in count(done):
            yield NamedBatch(cache.batch(Mixes(number), "f0"))  # type: ignore[arg-type]

    if is_cached and not setting.compile_only:
        started = time.perf_counter()
        for number in range(steps):
            cache.batch(Mixes(number), "f0")  # type: ignore[arg-type]
        yield {"analysis_s_per_step": (time.perf_counter() - started) / steps}
    seconds: list[float] = []
    _, spent_s = _loop(setting, steps, batches, lambda *row: seconds.append(row[3]))
    yield {"wall_s_per_step": spent_s / max(1, steps - 1), "device_s_per_step": seconds[-1]}


def main() -> None:
    """See above."""
    folder, steps, *small = sys.argv[1:]
    setting = Setting(bool(small), Path(folder).parent)
    os.environ.setdefault("UMSS_JAX_HOME", str(Path(folder).parent / "kept"))
    print(json.dumps(run_here(setting, Path(folder), int(steps)) | about_device()))


if __name__ == "__main__":
    main()
