"""A training run, from the recordings to the weights: phase by phase, resumable at any moment.

Everything random is a function of seed, phase and step, so that a run that was killed goes on as
if it had not been. A validation follows each epoch; the loss that counts there is L_rec, or where
a phase leaves it out the sum of the others (reference: ``train.py``, ``valid``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax import model
from umss_jax.config import Assigner, ModelConfig
from umss_jax.data.mixes import Example, Examples, RandomMixes, open_sets, stack
from umss_jax.data.prefetch import Prefetched
from umss_jax.errors import UmssError, UsageError
from umss_jax.networks.registry import resolve_assigner
from umss_jax.train.checkpoints import Checkpoints, Progress
from umss_jax.train.config import LossConfig, OptimiserConfig, TrainConfig
from umss_jax.train.f0_cache import AnalysisCache
from umss_jax.train.progress import Bar, Board
from umss_jax.train.run_folder import RunFolder
from umss_jax.train.run_weights import WEIGHTS, initial_variables, keep_phase, keep_weights, merged
from umss_jax.train.sharding import ParallelStep
from umss_jax.train.step import (
    Batch,
    TrainState,
    batch_loss,
    init_state,
    learning_rate,
    make_optimiser,
)
from umss_jax.train.strategies import SCHEDULES, Phase, cached, weighted

_PHASE_STEPS = 10_000_000  # apart in the stream of examples, so that each phase draws its own


class NotFiniteError(UmssError):
    """A loss or a gradient was NaN or infinite; the state before it was kept."""


class RunResult(NamedTuple):
    """How a run ended."""

    steps: int
    """Of all phases."""
    best_loss: float
    """Of the last phase."""
    weights: Path


def train(config: TrainConfig, folder: Path, quiet: bool = False) -> RunResult:
    """Trains, or goes on where a run of the same folder and settings stopped.

    Args:
        config: the run.
        folder: of this run; see :mod:`umss_jax.train.run_folder`.
        quiet: no progress bars.

    Raises:
        UsageError: settings that do not fit each other, this machine or the run in the folder.
        DatasetError: recordings are missing or broken.
        WeightsError: initial weights are missing or damaged.
        NotFiniteError: a loss or gradient stopped being a number.
    """
    run = RunFolder(folder, config, writes=jax.process_index() == 0)
    with run.going():
        return _train(config, run, quiet)


def _train(config: TrainConfig, run: RunFolder, quiet: bool) -> RunResult:
    """The phases, each from where the one before ended."""
    schedule = SCHEDULES[config.strategy]
    with_sources = any(phase.with_sources for phase in schedule)
    mixes, excerpts = open_sets(config.data, config.seed, with_sources, config.model.audio)
    variables, model_config = initial_variables(config)
    board = Board(run.path / "tensorboard" if config.tensorboard and run.writes else None)
    steps_before, best_loss = 0, math.inf
    for number, phase in enumerate(schedule):
        epochs = config.epochs[number] if config.epochs else phase.epochs or config.max_epochs
        one = _PhaseRun(config, model_config, run, board, number, phase, epochs, variables)
        try:
            state, progress = one.train(mixes, excerpts, steps_before, quiet)
        finally:
            one.close()
        variables = merged(variables, state)
        if run.writes and len(schedule) > 1:
            keep_phase(run.path, number, phase.name)
        steps_before += int(state.step)
        best_loss = progress.best_loss
    board.close()
    return RunResult(steps_before, best_loss, run.path / WEIGHTS)


class _PhaseRun:
    """One phase: its step, its checkpoints, its batches."""

    def __init__(
        self,
        config: TrainConfig,
        model_config: ModelConfig,
        run: RunFolder,
        board: Board,
        number: int,
        phase: Phase,
        epochs: int,
        variables: dict[str, Any],
    ) -> None:
        self.config, self.model, self.run, self.board = config, model_config, run, board
        self.number, self.phase, self.epochs, self.variables = number, phase, epochs, variables
        self._is_unet = "unet" in phase.step.trainable
        self.strategy = cached(phase.step) if config.cache_salience else phase.step
        self.loss = weighted(phase.step.loss, config.loss)
        self.epoch_steps = config.epoch_examples // config.batch
        self.optimiser_config = _optimiser_config(config, self.epoch_steps, epochs)
        self.optimiser = make_optimiser(self.strategy.trainable, self.optimiser_config)
        self.step = ParallelStep(
            self.optimiser, self.strategy.trainable, model_config, self.loss, config.parallel
        )
        if config.batch % self.step.device_count:
            raise UsageError(
                f"a batch of {config.batch} cannot be divided by {self.step.device_count} devices",
                "set batch to a multiple of that",
            )
        # Where the strategy takes F0 as known it says by whom; else the model's own is cached.
        known = phase.step.start == "f0"
        wanted = config.f0_assigner if known else Assigner.AUTO
        assigner = resolve_assigner(wanted, variables, config.weights)
        self.analysis = AnalysisCache(variables, model_config, assigner, config.cache_salience)
        self.checkpoints = Checkpoints(run.path / "checkpoints" / f"{number}_{phase.name}")
        self.key = jax.random.fold_in(jax.random.key(config.seed), number)

    def train(
        self, mixes: RandomMixes, excerpts: list[Example], steps_before: int, quiet: bool
    ) -> tuple[TrainState, Progress]:
        """From the latest checkpoint, if there is one, to the end of the phase."""
        state, progress = self._start()
        if self._over(progress):
            return state, progress
        self.run.forget_after(self.number, int(state.step))
        validation = list(self._validation_batches(excerpts))
        state = self.step.place(state)
        done, last = int(state.step), self.epochs * self.epoch_steps
        batches = Prefetched(self._batches(mixes, done))
        title = f"{self.phase.name} {self.number + 1}/{len(SCHEDULES[self.config.strategy])}"
        try:
            with Bar(title, last, done, self.config.batch, quiet) as bar:
                for step in range(done, last):
                    examples, batch = next(batches)
                    started = time.perf_counter()
                    state, metrics = self.step(state, batch, self.key)
                    values = {name: float(value) for name, value in metrics.items()}
                    self._refuse_not_finite(values, examples, state, progress)
                    self._log_step(step + 1, values, steps_before, time.perf_counter() - started)
                    bar.step(values)
                    if (step + 1) % self.epoch_steps == 0:
                        loss, progress = self._validate(state, progress, validation, steps_before)
                        bar.validated(loss, progress.best_loss)
                        if self._over(progress):
                            break
                    elif self.config.checkpoint_steps and not (
                        (step + 1) % self.config.checkpoint_steps
                    ):
                        self.checkpoints.save(state, progress)
        finally:
            batches.close()
        self.checkpoints.wait()
        return jax.device_get(state), progress

    def close(self) -> None:
        """Waits for checkpoints that are being written."""
        self.checkpoints.close()

    def _start(self) -> tuple[TrainState, Progress]:
        """The latest checkpoint, or the state before the first step."""
        synthesis = ("unet",) if self._is_unet else ("encoder", "decoder")
        needed = {
            "mixture": model.PARTS,
            "salience": ("assignment", *synthesis),
            "f0": synthesis,
        }[self.strategy.start]
        used = {
            collection: {part: tree for part, tree in trees.items() if part in needed}
            for collection, trees in self.variables.items()
        }
        fresh = init_state(used, self.optimiser)
        latest = self.checkpoints.latest_step()
        return (fresh, Progress()) if latest is None else self.checkpoints.restore(fresh, latest)

    def _over(self, progress: Progress) -> bool:
        """Whether all epochs are done, or the last ones brought nothing."""
        patience = self.config.patience
        stale = patience and progress.epoch - progress.best_epoch >= patience
        return progress.epoch >= self.epochs or bool(stale)

    def _batches(self, mixes: RandomMixes, done: int) -> Iterator[tuple[Examples, Batch]]:
        """This host's share of each batch from a step on."""
        hosts, host = jax.process_count(), jax.process_index()
        first = self.number * _PHASE_STEPS
        for step in range(done, self.epochs * self.epoch_steps):
            examples = mixes.batch(first + step, self.config.batch, hosts, host)
            yield examples, self._batch(examples)

    def _batch(self, examples: Examples) -> Batch:
        return self.analysis.batch(examples, self.strategy.start, self.phase.with_sources)

    def _validation_batches(self, excerpts: list[Example]) -> Iterator[tuple[int, Batch]]:
        """Number of the first excerpt, and a batch of them; every host does all."""
        for first in range(0, len(excerpts), self.config.batch):
            yield first, self._batch(stack(excerpts[first : first + self.config.batch]))

    def _validate(
        self,
        state: TrainState,
        progress: Progress,
        validation: list[tuple[int, Batch]],
        steps_before: int,
    ) -> tuple[float, Progress]:
        """Losses over the validation set; saves, and keeps the weights where they are the best."""
        host = jax.tree.map(np.asarray, jax.device_get(state))
        sums: dict[str, float] = {}
        for first, batch in validation:
            terms = _validation_terms(
                host.params, host.batch_stats, batch, self.key, first, self.model, self.loss
            )
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(batch.mixture)
        count = sum(len(batch.mixture) for _, batch in validation)
        means = {name: value / count for name, value in sums.items()}
        loss = means["rec"] if self.loss.rec_weight else means["total"]
        epoch, step = progress.epoch + 1, int(host.step)
        progress = progress._replace(epoch=epoch)
        if loss < progress.best_loss:
            progress = progress._replace(best_loss=loss, best_epoch=epoch)
            if self.run.writes:
                about = f"{self.config.strategy}, {self.phase.name}, step {step}"
                best = merged(self.variables, host)
                keep_weights(self.run.path, best, about, self.config.weights, loss)
        self.checkpoints.save(host, progress, loss)
        self.run.log({"kind": "valid", **self._where(epoch, step), **means})
        self.run.set_state(
            "running", phase=self.phase.name, epoch=epoch, step=step, best_loss=progress.best_loss
        )
        self.board.scalars("valid", means, steps_before + step)
        self._show_example(host, validation[0][1], steps_before + step)
        return loss, progress

    def _show_example(self, state: TrainState, batch: Batch, step: int) -> None:
        if not self.board.is_on or self._is_unet:
            return
        one = jax.tree.map(lambda leaf: leaf[:1], batch)
        output = _output(state.params, state.batch_stats, one, self.key, self.model)
        self.board.example(
            output, None if one.sources is None else one.sources[0], self.model, step
        )

    def _log_step(
        self, step: int, values: dict[str, float], steps_before: int, seconds: float
    ) -> None:
        rate = learning_rate(self.optimiser_config)
        now = float(rate(step - 1)) if callable(rate) else float(rate)
        epoch = (step - 1) // self.epoch_steps + 1
        details = {"learning_rate": now, "seconds": round(seconds, 4)}
        self.run.log({"kind": "train", **self._where(epoch, step), **values, **details})
        self.board.scalars("train", {**values, "learning_rate": now}, steps_before + step)

    def _where(self, epoch: int, step: int) -> dict[str, Any]:
        return {"phase": self.number, "name": self.phase.name, "epoch": epoch, "step": step}

    def _refuse_not_finite(
        self,
        values: dict[str, float],
        examples: Examples,
        state: TrainState,
        progress: Progress,
    ) -> None:
        """Stops at a loss or gradient that is no number; the state is still the one before."""
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if not wrong:
            return
        self.checkpoints.save(state, progress)
        self.checkpoints.wait()
        # The terms say more than their sum.
        terms = [name for name in wrong if name != "total"] or wrong
        raise NotFiniteError(
            f"step {int(state.step) + 1} of {self.phase.name}: {', '.join(terms)} not finite; "
            f"batch: {'; '.join(examples.names)}",
            "begin another run from these weights with a lower optimiser.learning_rate or with "
            "optimiser.clip_norm",
        )


@partial(jax.jit, static_argnames=("config", "loss"))
def _validation_terms(
    params: dict[str, Any],
    batch_stats: dict[str, Any],
    batch: Batch,
    key: jax.Array,
    first: jax.Array,
    config: ModelConfig,
    loss: LossConfig,
) -> dict[str, jax.Array]:
    """Loss terms of a batch; the noise of an excerpt is always the same."""
    _, terms = batch_loss(params, batch_stats, batch, key, (), config, loss, first)
    return terms._asdict()


@partial(jax.jit, static_argnames="config")
def _output(
    params: dict[str, Any],
    batch_stats: dict[str, Any],
    batch: Batch,
    key: jax.Array,
    config: ModelConfig,
) -> model.ModelOutput:
    return model.forward(
        {"params": params, "batch_stats": batch_stats},
        batch.mixture,
        model.draw_uniform(key, jnp.asarray(batch.mixture), config),
        config,
        salience=batch.salience,
        f0_hz_250=batch.f0_hz_250,
    )


def _optimiser_config(config: TrainConfig, epoch_steps: int, epochs: int) -> OptimiserConfig:
    """The rates of a phase in steps: a decay by epochs, or one cosine over the phase."""
    optimiser = config.optimiser
    if config.cosine:
        return replace(optimiser, total_steps=optimiser.total_steps or max(2, epochs * epoch_steps))
    return replace(
        optimiser, decay_steps=optimiser.decay_steps or config.decay_epochs * epoch_steps
    )
