"""A training run, from the recordings to the weights: phase by phase, resumable at any moment.

Everything random is a function of seed, phase and step, so that a run that was killed resumes as
if it had not been. A validation follows each epoch; the loss that counts there is L_rec, or where
a phase leaves it out the sum of the others (reference: ``train.py``, ``valid``).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import jax

from umss_jax.accelerators import for_accelerator
from umss_jax.config import Assigner
from umss_jax.data.mixes import Example, Examples, RandomMixes, open_sets, stack
from umss_jax.data.pieces import OpenPiece
from umss_jax.inference import ModelEngine
from umss_jax.networks.parts import resolve_assigner
from umss_jax.train.config import OptimiserConfig, TrainConfig
from umss_jax.train.f0_cache import AnalysisCache
from umss_jax.train.inputs import Inputs, check_inputs
from umss_jax.train.loop import Loop, NamedBatch, Validation, run_loop
from umss_jax.train.objectives import Batch, parts_used
from umss_jax.train.optimiser import learning_rate, make_optimiser
from umss_jax.train.phase_files import PhaseFiles, PhaseProgress
from umss_jax.train.resuming import phase_epochs
from umss_jax.train.run_folder import RunFolder, RunResult
from umss_jax.train.run_weights import WEIGHTS, initial_variables, keep_phase, merged
from umss_jax.train.scored_pieces import scored_pieces
from umss_jax.train.sharding import Devices, ParallelStep
from umss_jax.train.step import TrainState, init_state
from umss_jax.train.strategies import SCHEDULES, Phase, cached, weighted
from umss_jax.train.tensorboard import Board
from umss_jax.trees import select_parts

log = logging.getLogger("umss_jax")

_ANALYSED_AT_ONCE = 8  # examples, on an accelerator
_MUCH_IDLE = 0.2  # of the devices' time
_PHASE_STEPS = 10_000_000  # apart in the stream of examples, so that each phase has its own


@dataclass(frozen=True)
class _Run:
    """What the phases of a run share."""

    config: TrainConfig
    folder: RunFolder
    board: Board
    mixes: RandomMixes
    excerpts: list[Example]
    """Of the validation set."""
    quiet: bool


def train(config: TrainConfig, folder: Path, quiet: bool = False) -> RunResult:
    """Trains, or resumes a run of the same folder and settings where it stopped.

    :mod:`umss_jax.train.run_folder` says what the folder of the run holds. ``quiet`` means no
    progress bars.

    Raises:
        UsageError: settings that do not fit each other, this machine or the run in the folder.
        DatasetError: recordings are missing or broken, or others than the run began with.
        WeightsError: initial weights are missing, damaged or others than the run began with.
        CheckpointError: no checkpoint of a phase is sound.
        NotFiniteError: a loss or gradient stopped being finite.
    """
    files = RunFolder(folder, config, writes=jax.process_index() == 0)
    board_folder = folder / "tensorboard" if config.tensorboard and files.writes else None
    schedule = SCHEDULES[config.strategy]
    with_sources = any(phase.with_sources for phase in schedule)
    steps, best_loss = 0, math.inf
    sets = {"train": config.data.train, "validation": config.data.validation}
    voices, by_score = config.model.voices, config.data.scores
    inputs = Inputs(sets, config.weights, voices=voices, with_scores=by_score)
    with files.going():
        check_inputs(files, inputs)
        variables = initial_variables(config)
        known = _by_scores(config, variables) if by_score else list
        mixes, excerpts = open_sets(
            config.data, config.seed, with_sources, config.model.audio, voices, known
        )
        with closing(Board(board_folder)) as board:
            run = _Run(config, files, board, mixes, excerpts, quiet)
            for number, phase in enumerate(schedule):
                state, progress = _train_phase(run, number, phase, variables, steps)
                variables = merged(variables, state)
                if files.writes and len(schedule) > 1:
                    keep_phase(folder, number, phase.name)
                steps, best_loss = steps + int(state.step), progress.best_loss
    return RunResult(steps, best_loss, folder / WEIGHTS)


def _train_phase(
    run: _Run, number: int, phase: Phase, variables: dict[str, Any], steps_before: int
) -> tuple[TrainState, PhaseProgress]:
    """One phase, from its latest checkpoint if there is one."""
    config, epoch_steps = run.config, run.config.epoch_examples // run.config.batch
    epochs = phase_epochs(config, number)
    optimiser_config = _optimiser_config(config, epoch_steps, epochs)
    strategy = cached(phase.step) if config.cache_salience else phase.step
    trainable, loss = strategy.trainable, weighted(strategy.loss, config.loss)
    optimiser = make_optimiser(trainable, optimiser_config)
    rate = learning_rate(optimiser_config)
    step = ParallelStep(optimiser, trainable, config.model, loss, config.parallel, rate=rate)
    devices = step.devices
    _warn_of_idle(config.batch, devices)
    analysis = _analysis(config, phase, variables, len(devices.rows(config.batch)))

    def batch(examples: Examples) -> Batch:
        return analysis.batch(examples, strategy.start, phase.with_sources)

    about = config.strategy, number, phase.name, variables, steps_before
    files = PhaseFiles(run.folder, run.board, config, *about)
    validation = Validation(
        interval_steps=epoch_steps,
        objective=step.objective,
        examples=len(run.excerpts),
        batch=config.batch,
        batches=partial(_held_out, run, batch, devices),
        term="rec" if loss.rec_weight else "total",
        patience=config.patience,
    )
    loop = Loop(
        name=phase.name,
        title=f"{phase.name} {number + 1}/{len(SCHEDULES[config.strategy])}",
        steps=0 if files.has_ended else epochs * epoch_steps,
        batch=config.batch,
        step=step,
        devices=devices,
        batches=partial(_batches, run, batch, devices, number * _PHASE_STEPS),
        key=jax.random.fold_in(jax.random.key(config.seed), number),
        log=files.log_step,
        remedy="begin another run from these weights with a lower optimiser.learning_rate or with "
        "optimiser.clip_norm",
        validation=validation,
        files=files,
        checkpoint_steps=config.checkpoint_steps,
        quiet=run.quiet,
    )
    used = select_parts(variables, parts_used(strategy.start, trainable))
    state, progress = run_loop(loop, init_state(used, optimiser))
    if int(state.step) > epochs * epoch_steps:
        log.warning(
            "%s: phase %s has done %d steps, more than the %d that are asked for: it stays so",
            *(run.folder.path, phase.name, int(state.step), epochs * epoch_steps),
        )
    return state, progress


def _analysis(
    config: TrainConfig, phase: Phase, variables: dict[str, Any], share: int
) -> AnalysisCache:
    """What is known of an example before the step, by the F0 networks as they are now.

    What comes again is kept: examples of a pool, or all that are asked to be.
    """
    # Where the strategy takes F0 as known it says by whom; else the model's own is cached.
    wanted = config.f0_assigner if phase.step.start == "f0" else Assigner.AUTO
    has_network = "assignment" in variables["params"]
    assigner = resolve_assigner(wanted, has_network, config.model, config.weights)
    keep = config.cache_salience or config.data.pool > 0
    at_once = min(share, _ANALYSED_AT_ONCE) if for_accelerator() else 1
    return AnalysisCache(variables, config.model, assigner, keep, at_once)


def _by_scores(
    config: TrainConfig, variables: dict[str, Any]
) -> Callable[[Sequence[OpenPiece]], list[OpenPiece]]:
    """What gives pieces F0 by their scores, as the F0 networks at the beginning hear them."""
    assigner = resolve_assigner(config.f0_assigner, True, config.model, config.weights)
    engine = ModelEngine("scores", variables, assigner, config=config.model)
    return partial(scored_pieces, engine=engine, keep=config.cache_salience)


def _optimiser_config(config: TrainConfig, epoch_steps: int, epochs: int) -> OptimiserConfig:
    """The rates of a phase in steps: a decay by epochs, or one cosine over the phase."""
    optimiser = config.optimiser
    if config.cosine:
        return replace(optimiser, total_steps=optimiser.total_steps or max(2, epochs * epoch_steps))
    steps = optimiser.decay_steps or config.decay_epochs * epoch_steps
    return replace(optimiser, decay_steps=steps)


def _warn_of_idle(batch: int, devices: Devices) -> None:
    idle = 1 - batch / devices.whole(batch)
    if idle > _MUCH_IDLE:
        log.warning(
            "a batch of %d leaves %d %% of %d devices idle: batch=%d would use all",
            *(batch, round(100 * idle), devices.count, devices.whole(batch)),
        )


def _batches(
    run: _Run, batch: Callable[[Examples], Batch], devices: Devices, first: int, done: int
) -> Iterator[NamedBatch]:
    """This host's share of each batch after so many steps of a phase, without end."""
    rows = devices.rows(run.config.batch)
    for step in count(first + done):
        examples = run.mixes.batch(step, run.config.batch, rows)
        yield NamedBatch(batch(examples), examples.names)


def _held_out(run: _Run, batch: Callable[[Examples], Batch], devices: Devices) -> Iterator[Batch]:
    """This host's share of each batch of excerpts."""
    size = min(run.config.batch, len(run.excerpts))
    for first in range(0, len(run.excerpts), run.config.batch):
        chosen = run.excerpts[first : first + run.config.batch]
        rows = devices.rows(len(chosen), size)
        yield batch(stack([chosen[row] for row in rows]))
