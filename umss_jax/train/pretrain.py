"""Supervised training of the F0 networks: first the salience, then the assignment of what it gives.

Targets as in Cuesta, McFee, Gómez (ISMIR 2020) and Cuesta, Gómez (TISMIR 2022): the F0 bin blurred
by a Gaussian of one bin, binary cross-entropy; the salience's target is the largest of the voices'.
A run is resumed like one of :mod:`umss_jax.train.run`, from its folder, at any moment.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax import model
from umss_jax.api import load_weights
from umss_jax.data.pitched_mixes import PitchedExample, PitchedMixes, PitchedVoice, open_pitched
from umss_jax.data.salience_mixes import HeardExample, HeardMixes
from umss_jax.device import compile_at_first_call
from umss_jax.pitch.targets import binary_cross_entropy, mixture_target, pitch_targets
from umss_jax.train.checkpoints import PhaseProgress
from umss_jax.train.config import PretrainConfig
from umss_jax.train.loop import Loop, NamedBatch, Validation, run_loop
from umss_jax.train.objectives import Loss
from umss_jax.train.optimiser import make_optimiser
from umss_jax.train.phase import PhaseRecord, RunResult
from umss_jax.train.run_folder import RunFolder
from umss_jax.train.run_weights import WEIGHTS, keep_phase, merged, phase_weights
from umss_jax.train.step import TrainState, init_state, update_step
from umss_jax.train.tensorboard import Board
from umss_jax.weights import store
from umss_jax.weights.tree import parts, select_parts

PHASES = ("salience", "assignment")
_PHASE_EXAMPLES = 100_000_000  # apart in the stream of examples
_VALIDATION_SEED = 7


@dataclass(frozen=True)
class _Run:
    """What the training of both networks shares."""

    config: PretrainConfig
    folder: RunFolder
    pieces: list[tuple[PitchedVoice, ...]]
    held_out: list[tuple[PitchedVoice, ...]]
    quiet: bool


def pretrain(config: PretrainConfig, folder: Path, quiet: bool = False) -> RunResult:
    """Trains the F0 networks, or resumes a run of the same folder and settings where it stopped.

    Args:
        config: the run.
        folder: of this run; see :mod:`umss_jax.train.run_folder`.
        quiet: no progress bars.

    Raises:
        UsageError: settings that do not fit the run in the folder.
        DatasetError: recordings or their F0 are missing or broken.
        WeightsError: initial weights are missing or damaged.
        NotFiniteError: a loss or gradient stopped being finite.
    """
    run_folder = RunFolder(folder, config)
    with run_folder.going():
        return _pretrain(config, run_folder, quiet)


def _pretrain(config: PretrainConfig, folder: RunFolder, quiet: bool) -> RunResult:
    """Both networks, the second from the best weights of the first."""
    pieces, held_out = open_pitched(config.train), open_pitched(config.validation)
    run = _Run(config, folder, pieces, held_out, quiet)
    variables = _initial(config)
    steps, best_loss = 0, math.inf
    for number, part in enumerate(PHASES):
        if not config.steps[number]:
            continue
        state, progress = _train_part(run, number, variables)
        keep_phase(folder.path, number, part)
        kept = phase_weights(folder.path, number, part)
        # Nothing is kept where no validation loss was ever finite.
        variables = store.load(kept)[0] if kept.is_file() else merged(variables, state)
        steps, best_loss = steps + config.steps[number], progress.best_loss
    return RunResult(steps, best_loss, folder.path / WEIGHTS)


def _initial(config: PretrainConfig) -> dict[str, Any]:
    """Both networks: those of ``config.weights``, or initialised from the seed."""
    known: dict[str, Any] = load_weights(config.weights)[0] if config.weights else {}
    missing = tuple(part for part in PHASES if part not in parts(known))
    initialise = partial(model.init_variables, config=config.model, parts=missing)
    fresh = jax.jit(initialise)(jax.random.key(config.seed))
    return {
        name: jax.tree.map(
            np.asarray,
            {
                **fresh[name],
                **{part: tree for part, tree in known.get(name, {}).items() if part in PHASES},
            },
        )
        for name in ("params", "batch_stats")
    }


def _train_part(
    run: _Run, number: int, variables: dict[str, Any]
) -> tuple[TrainState, PhaseProgress]:
    """One network, from its latest checkpoint if there is one."""
    config, part = run.config, PHASES[number]
    steps, batch = config.steps[number], config.batch[number]
    warmup = min(config.optimiser.warmup_steps, steps // 5)
    optimiser = make_optimiser(
        (part,), replace(config.optimiser, warmup_steps=warmup, total_steps=max(2, steps))
    )
    objective = partial(_OBJECTIVES[part], config=config)
    step = jax.jit(update_step(objective, optimiser, (part,)), donate_argnums=0)
    examples = _examples(run, number, variables)
    record = PhaseRecord(
        folder=run.folder,
        board=Board(None),
        config=config,
        kind="pretraining",
        number=number,
        name=part,
        epoch_steps=config.validation_steps,
        variables=variables,
    )

    def log(step: int, values: dict[str, float], seconds: float) -> None:
        record.log_step(step, {"total": values["total"]}, seconds)

    loop = Loop(
        name=part,
        steps=steps,
        batch=batch,
        step=compile_at_first_call(step),
        batches=examples.from_step,
        key=jax.random.key(config.seed),
        begin=record.begin,
        log=log,
        remedy="lower optimiser.learning_rate",
        validation=Validation(
            interval_steps=config.validation_steps,
            objective=objective,
            batches=examples.held_out,
            term="total",
            keep=record.keep,
            log=record.log_validation,
        ),
        checkpoints=record.checkpoints,
        quiet=run.quiet,
    )
    return run_loop(loop, init_state(select_parts(variables, (part,)), optimiser))


@dataclass(frozen=True)
class _Examples:
    """The batches that a network learns from."""

    mixes: PitchedMixes | HeardMixes
    unaltered: PitchedMixes | HeardMixes
    """Of the held-out pieces."""
    first: int
    """Number of the first example of the phase."""
    batch: int
    held_out_count: int

    def from_step(self, done: int) -> Iterator[NamedBatch]:
        """All batches after so many steps, without end."""
        for step in itertools.count(done):
            yield NamedBatch(self.mixes.batch(self.first + step * self.batch, self.batch))

    def held_out(self) -> Iterator[tuple[int, PitchedExample | HeardExample]]:
        """Number of the first example, and a batch."""
        for first in range(0, self.held_out_count, self.batch):
            yield first, self.unaltered.batch(first, min(self.batch, self.held_out_count - first))


def _examples(run: _Run, number: int, variables: dict[str, Any]) -> _Examples:
    """Mixes for the salience network; for the assignment network what that hears in mixes."""
    config, aligned = run.config, PHASES[number] == "assignment"
    audio = config.model.audio
    samples = round(config.crop_s[number] * audio.sample_rate_hz / audio.hop_samples)
    samples *= audio.hop_samples
    mixes = PitchedMixes(run.pieces, config.seed, samples, config.augmentation, aligned)
    unaltered = PitchedMixes(run.held_out, _VALIDATION_SEED, samples, None)
    rest = config.batch[number], config.validation_examples
    if not aligned:
        return _Examples(mixes, unaltered, 0, *rest)

    @jax.jit
    def hear(mixture: np.ndarray) -> jax.Array:
        features = model.features(jnp.asarray(mixture), config.model)
        return model.estimate_salience(variables, features, config.model)

    heard = HeardMixes(mixes, hear, config.seed, config.distinct_mixes, config.transposed_bins)
    first = 0 if config.distinct_mixes else _PHASE_EXAMPLES
    return _Examples(heard, HeardMixes(unaltered, hear, _VALIDATION_SEED), first, *rest)


def _salience_loss(
    variables: model.Variables,
    example: PitchedExample,
    key: jax.Array,
    first_example: int | jax.Array,
    train: bool,
    *,
    config: PretrainConfig,
) -> Loss:
    """Cross-entropy of the salience, an :data:`Objective`: the mean over bins and frames.

    In training it counts in the middle of a crop, in evaluation in full length.
    """
    targets = pitch_targets(jnp.asarray(example.f0_hz_344), config.blur_bins, config.model.hcqt)
    features = model.features(jnp.asarray(example.mixture), config.model)
    if train and config.window_frames:
        first = max(0, (targets.shape[-1] - config.window_frames) // 2)
        window = slice(first, first + config.window_frames)
        features = jax.tree.map(lambda x: x[..., window], features)
        targets = targets[..., window]
    salience = model.estimate_salience(variables, features, config.model)
    value = binary_cross_entropy(salience, mixture_target(targets))
    return Loss({"total": value}, variables["batch_stats"])


def _assignment_loss(
    variables: model.Variables,
    example: HeardExample,
    key: jax.Array,
    first_example: int | jax.Array,
    train: bool,
    *,
    config: PretrainConfig,
) -> Loss:
    """Cross-entropy of the voices' saliences, an :data:`Objective`: the mean over all of them."""
    targets = pitch_targets(jnp.asarray(example.f0_hz_344), config.blur_bins, config.model.hcqt)
    assigned = model.assign(variables, jnp.asarray(example.salience), config.model)
    return Loss({"total": binary_cross_entropy(assigned, targets)}, variables["batch_stats"])


_OBJECTIVES: dict[str, Callable[..., Loss]] = {
    "salience": _salience_loss,
    "assignment": _assignment_loss,
}
