"""Supervised training of the F0 networks: first the salience, then the assignment of what it gives.

Targets as in Cuesta, McFee, Gómez (ISMIR 2020) and Cuesta, Gómez (TISMIR 2022): the F0 bin blurred
by a Gaussian of one bin, binary cross-entropy; the salience's target is the largest of the voices'.
A run is resumed like one of :mod:`umss_jax.train.run`, from its folder, at any moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax import model
from umss_jax.data.drawn_saliences import BlendedSaliences, DrawnSaliences
from umss_jax.data.pitched_mixes import (
    PitchedExample,
    PitchedMixes,
    PitchedVoice,
    SalienceExample,
    SalienceMixes,
    open_pitched,
)
from umss_jax.data.sung_scores import open_scores
from umss_jax.device import compile_at_first_call
from umss_jax.pitch.targets import cross_entropies, mixture_target, pitch_targets
from umss_jax.train.config import PretrainConfig
from umss_jax.train.inputs import Inputs, check_inputs
from umss_jax.train.loop import Loop, NamedBatch, Validation, run_loop
from umss_jax.train.losses import weighted_mean
from umss_jax.train.objectives import Loss, LossInput
from umss_jax.train.optimiser import make_optimiser
from umss_jax.train.phase_files import PhaseFiles, PhaseProgress
from umss_jax.train.run_folder import RunFolder, RunResult
from umss_jax.train.run_weights import (
    WEIGHTS,
    keep_phase,
    merged,
    phase_weights,
    starting_weights,
)
from umss_jax.train.step import TrainState, init_state, step_body
from umss_jax.train.tensorboard import Board
from umss_jax.trees import parts, select_parts
from umss_jax.weights import store

PHASES = model.F0_PARTS
_PHASE_EXAMPLES = 100_000_000  # apart in the stream of examples
_VALIDATION_SEED = 7

_Mixes = PitchedMixes | SalienceMixes | BlendedSaliences
"""What the salience network learns from, or the assignment network."""


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

    The assignment network learns from what the best salience network of the run hears. Arguments
    and errors as :func:`umss_jax.train.run.train`; recordings need F0.
    """
    files = RunFolder(folder, config)
    steps, best_loss = 0, math.inf
    sets = {"train": config.train, "validation": config.validation}
    with files.going():
        inputs = Inputs(sets, config.weights, with_f0=True, voices=config.model.voices)
        check_inputs(files, inputs._replace(drawn=config.drawn.folder))
        pieces = open_pitched(config.train, config.model.audio, config.model.voices)
        held_out = open_pitched(config.validation, config.model.audio, config.model.voices)
        run = _Run(config, files, pieces, held_out, quiet)
        variables = _initial(config)
        for number, part in enumerate(PHASES):
            if not config.steps[number]:
                continue
            state, progress = _train_part(run, number, variables)
            keep_phase(folder, number, part)
            kept = phase_weights(folder, number, part)
            # Nothing is kept where no validation had a finite loss.
            variables = store.load(kept).variables if kept.is_file() else merged(variables, state)
            steps, best_loss = steps + config.steps[number], progress.best_loss
    return RunResult(steps, best_loss, folder / WEIGHTS)


def _initial(config: PretrainConfig) -> dict[str, Any]:
    """Both networks: those of ``config.weights``, or initialised from the seed."""
    known: dict[str, Any] = {}
    if config.weights:
        known = starting_weights(config.weights, config.model).variables
    missing = tuple(part for part in PHASES if part not in parts(known))
    initialise = partial(model.init_variables, config=config.model, parts=missing)
    fresh = jax.jit(initialise)(jax.random.key(config.seed))
    own = select_parts(known, [part for part in PHASES if part not in missing])
    return {
        name: jax.tree.map(np.asarray, {**fresh[name], **own.get(name, {})})
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
    step = jax.jit(step_body(objective, optimiser, (part,)), donate_argnums=0)
    mixes, unaltered = _mixes(run, number, variables)
    first = 0 if part == "salience" or config.distinct_mixes else _PHASE_EXAMPLES
    files = PhaseFiles(run.folder, Board(None), config, "pretraining", number, part, variables)

    def log(epoch: int, step: int, values: dict[str, float], seconds: float) -> None:
        files.log_step(epoch, step, {"total": values["total"]}, seconds)

    loop = Loop(
        name=part,
        steps=steps,
        batch=batch,
        step=compile_at_first_call(step),
        batches=partial(_batches, mixes, batch, first),
        key=jax.random.key(config.seed),
        log=log,
        remedy="lower optimiser.learning_rate",
        validation=Validation(
            interval_steps=config.validation_steps,
            objective=objective,
            examples=config.validation_examples,
            batch=batch,
            batches=partial(_held_out, unaltered, batch, config.validation_examples),
            term="total",
        ),
        files=files,
        quiet=run.quiet,
    )
    return run_loop(loop, init_state(select_parts(variables, (part,)), optimiser))


def _mixes(run: _Run, number: int, variables: dict[str, Any]) -> tuple[_Mixes, _Mixes]:
    """Examples to train on, and unaltered ones of the held-out pieces."""
    config, aligned = run.config, PHASES[number] == "assignment"
    audio = config.model.audio
    frames = round(config.crop_s[number] * audio.sample_rate_hz / audio.hop_samples)
    samples = frames * audio.hop_samples
    mixes_of = partial(PitchedMixes, samples=samples, audio=audio, grid=config.model.hcqt)
    mixes = mixes_of(run.pieces, config.seed, config=config.augmentation, aligned=aligned)
    unaltered = mixes_of(run.held_out, _VALIDATION_SEED, config=None)
    if not aligned:
        return mixes, unaltered

    @jax.jit
    def hear(mixture: np.ndarray) -> jax.Array:
        features = model.features(jnp.asarray(mixture), config.model)
        return model.estimate_salience(variables, features, config.model)

    heard_of = partial(SalienceMixes, hear=hear, grid=config.model.hcqt)
    distinct, transposed = config.distinct_mixes, config.transposed_bins
    heard = heard_of(mixes, seed=config.seed, distinct=distinct, transposed_bins=transposed)
    held_out = heard_of(unaltered, seed=_VALIDATION_SEED)
    if not config.drawn.folder:
        return heard, held_out
    grid = config.model.hcqt
    frames = samples * grid.sample_rate_hz // (audio.sample_rate_hz * grid.hop_samples)
    drawn = DrawnSaliences(
        open_scores(Path(config.drawn.folder)), config.seed, frames, config.drawn, grid=grid
    )
    return BlendedSaliences(drawn, heard, config.drawn.share, config.seed), held_out


def _batches(mixes: _Mixes, batch: int, first: int, done: int) -> Iterator[NamedBatch]:
    """All batches after so many steps, without end; ``first`` is the phase's first example."""
    for step in count(done):
        yield NamedBatch(mixes.batch(first + step * batch, batch))


def _held_out(unaltered: _Mixes, batch: int, examples: int) -> Iterator[Any]:
    """All examples, a batch at a time."""
    for first in range(0, examples, batch):
        yield unaltered.batch(first, min(batch, examples - first))


def _salience_loss(given: LossInput, config: PretrainConfig) -> Loss:
    """Cross-entropy of the salience, the mean over bins and frames.

    In training it counts in the middle of a crop, in evaluation in full length.
    """
    example: PitchedExample = given.batch
    targets = pitch_targets(jnp.asarray(example.f0_hz_cqt), config.blur_bins, config.model.hcqt)
    features = model.features(jnp.asarray(example.mixture), config.model)
    if given.train and config.window_frames:
        first = max(0, (targets.shape[-1] - config.window_frames) // 2)
        window = slice(first, first + config.window_frames)
        features = jax.tree.map(lambda x: x[..., window], features)
        targets = targets[..., window]
    salience = model.estimate_salience(given.variables, features, config.model)
    entropies = cross_entropies(salience, mixture_target(targets))
    value = weighted_mean(entropies, given.weights)
    return Loss({"total": value}, given.variables["batch_stats"])


def _assignment_loss(given: LossInput, config: PretrainConfig) -> Loss:
    """Cross-entropy of the voices' saliences, the mean over voices, bins and frames."""
    example: SalienceExample = given.batch
    targets = pitch_targets(jnp.asarray(example.f0_hz_cqt), config.blur_bins, config.model.hcqt)
    assigned = model.assign(given.variables, jnp.asarray(example.salience), config.model)
    value = weighted_mean(cross_entropies(assigned, targets), given.weights)
    return Loss({"total": value}, given.variables["batch_stats"])


_OBJECTIVES: dict[str, Callable[..., Loss]] = {
    "salience": _salience_loss,
    "assignment": _assignment_loss,
}
