"""Adaptation: unsupervised training of a model on one recording itself, before separating it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from umss_jax.audio.recording import Recording, scan
from umss_jax.audio.resampling import read_16k
from umss_jax.audio.segments import SegmentPlan, cut_segments
from umss_jax.config import RULES, Assigner, AudioConfig
from umss_jax.device import compile_at_first_call, own_settings
from umss_jax.errors import AudioError, UsageError
from umss_jax.interruption import checked
from umss_jax.train.config import AdaptationConfig, OptimiserConfig
from umss_jax.train.held_back import keep_best, split
from umss_jax.train.loop import Loop, NamedBatch, run_loop
from umss_jax.train.objectives import Batch, parts_used
from umss_jax.train.optimiser import make_optimiser
from umss_jax.train.run_weights import merged
from umss_jax.train.step import init_state, make_train_step
from umss_jax.train.strategies import STRATEGIES
from umss_jax.trees import select_parts
from umss_jax.weights import store
from umss_jax.words import counted

if TYPE_CHECKING:
    from umss_jax.inference import ModelEngine

_SILENT_SHARE = 1e-3  # of the recording's peak (−60 dB): nothing to learn from


class Adapted(NamedTuple):
    """An adapted model and how its losses went."""

    engine: ModelEngine
    history: dict[str, np.ndarray]
    """Per step: ``total, rec, l1, l2, l3, gradient_norm``, each [steps]."""
    kept: float | None = None
    """What share of the adaptation is kept; see :class:`umss_jax.train.held_back.Kept`."""


@own_settings
def adapt(
    engine: ModelEngine,
    mixtures_16k: np.ndarray,
    config: AdaptationConfig = AdaptationConfig(),
    progress: Callable[[int], None] | None = None,
) -> Adapted:
    """Trains encoder and decoder (and, if asked, the assignment) on segments of one recording.

    The F0 networks run once per segment beforehand: with the assignment frozen only F0 is kept,
    else the salience, from which each step begins. No stems are involved. Of five segments or more
    a fifth is held back; as much of the adaptation is kept as explains these best, or nothing.

    Args:
        engine: model with all its parts; encoder and decoder may be freshly initialised.
        mixtures_16k: [N, samples] at 16 kHz from :func:`training_segments`; each is scaled to peak
            1 where it is not.
        config: steps, batch, learning rates, seed.
        progress: called with 1 after each step.

    Raises:
        AudioError: those are no segments, or some are silent or hold what is not finite.
        NotFiniteError: the losses stopped being finite.
    """
    mixtures_16k = _checked(mixtures_16k, engine.config.audio)
    strategy = STRATEGIES["sf_sft_cached" if config.train_assignment else "sf_sf_cached"]
    optimiser = make_optimiser(strategy.trainable, _optimiser_config(config))
    step = make_train_step(optimiser, strategy.trainable, engine.config, strategy.loss)
    parted = split(len(mixtures_16k))
    segments = _analysed(engine, mixtures_16k[parted.trained], config)
    history: list[dict[str, float]] = []

    def log(epoch: int, step: int, values: dict[str, float], seconds: float) -> None:
        history.append(values)
        if progress:
            progress(1)

    loop = Loop(
        name="adaptation",
        steps=config.steps,
        batch=min(config.batch, len(parted.trained)),
        step=compile_at_first_call(step),
        batches=partial(_batches, segments, config),
        key=jax.random.key(config.seed),
        log=log,
        remedy="try fewer --adapt steps",
        quiet=True,
    )
    used = select_parts(engine.variables, parts_used(strategy.start, strategy.trainable))
    state, _ = run_loop(loop, init_state(used, optimiser))
    held_back = mixtures_16k[parted.held_back]
    known: Any = None
    if not config.train_assignment:
        known = _analysed(engine, held_back, config).f0_hz_synth
    kept = keep_best(engine, merged(engine.variables, state), held_back, known)
    told = ("steps", "batch", "learning_rate", "seed")
    about = {name: getattr(config, name) for name in told} | {"assignment": config.train_assignment}
    adapted = engine.with_variables(kept.variables, adaptation=about | {"kept": kept.share})
    course = {key: np.asarray([row[key] for row in history]) for key in (history or [{}])[0]}
    return Adapted(adapted, course, kept.share)


def _checked(mixtures_16k: Any, audio: AudioConfig) -> np.ndarray:
    """Segments to train on, float32 of peak 1."""
    remedy = "pass what training_segments returns"
    try:
        segments = np.asarray(mixtures_16k)
        if segments.dtype.kind != "f":
            raise ValueError(f"of {segments.dtype}")
    except Exception as error:  # of any library's array
        reason = str(error).split("\n")[0]
        raise AudioError(f"mixtures_16k are no segments ({reason:.80})", remedy) from error
    if segments.ndim != 2 or not segments.size or segments.shape[1] % audio.hop_samples:
        wrong = f"are not [N, {audio.example_samples}]"
        raise AudioError(f"mixtures_16k of shape {segments.shape} {wrong}", remedy)
    peaks = np.abs(segments).max(axis=1, keepdims=True)
    if not np.isfinite(peaks).all() or not peaks.all():
        raise AudioError("mixtures_16k hold silence or what is not finite", remedy)
    return (segments / np.where(np.abs(peaks - 1) < 1e-5, 1.0, peaks)).astype(np.float32)


def _analysed(engine: ModelEngine, mixtures_16k: Any, config: AdaptationConfig) -> Batch:
    """All segments, with what the frozen networks say of each: salience, or F0."""
    name = "salience" if config.train_assignment else "f0_hz_synth"
    analyse = getattr(engine, name)
    if not len(mixtures_16k):
        return Batch(mixtures_16k)
    known: Any = np.concatenate([analyse(mixture[None]) for mixture in checked(mixtures_16k)])
    return Batch(mixtures_16k, **{name: known})


def _optimiser_config(config: AdaptationConfig) -> OptimiserConfig:
    return OptimiserConfig(
        learning_rate=config.learning_rate,
        f0_learning_rate_factor=config.f0_learning_rate_factor,
        warmup_steps=config.warmup_steps,
        # A run shorter than the warm-up ends before the full rate is reached.
        total_steps=max(config.warmup_steps + 1, config.steps),
        final_fraction=config.final_fraction,
    )


def _batches(segments: Batch, config: AdaptationConfig, done: int) -> Iterator[NamedBatch]:
    """Batches of different segments, chosen at random, from the first step on and without end."""
    order = np.random.default_rng(config.seed)
    count = len(segments.mixture)
    while True:
        chosen = order.choice(count, min(config.batch, count), replace=False)
        yield NamedBatch(jax.tree.map(lambda array, chosen=chosen: array[chosen], segments))


def training_segments(
    recording: Recording | str | os.PathLike[str],
    config: AdaptationConfig = AdaptationConfig(),
    audio: AudioConfig = AudioConfig(),
) -> np.ndarray:
    """Segments of a recording to train on, read in one pass and in constant memory.

    Args:
        recording: a file, or what :func:`umss_jax.audio.recording.scan` says of it.
        config: which segments.
        audio: of the model that is to be adapted.

    Returns:
        [N, samples] float32, the mono mixture at 16 kHz, each scaled to peak 1; N ≥ 1. Silent
        segments are left out.

    Raises:
        AudioError: all of it is silent, or it cannot be read.
    """
    if not isinstance(recording, Recording):
        recording = scan(recording)
    step = round(config.segment_step_s * audio.sample_rate_hz)
    plan = SegmentPlan(audio.example_samples, audio.example_samples - step, audio.hop_samples)
    sound = read_16k(recording, audio)
    count = plan.count(sound.samples)
    wanted = {round(i) for i in np.linspace(0, count - 1, min(count, config.max_segments))}
    downmix = np.asarray(recording.downmix, np.float32)
    heard = []
    for index, segment in enumerate(cut_segments(sound.blocks, sound.samples, len(downmix), plan)):
        if index not in wanted:
            continue
        mixture = downmix @ segment
        peak = np.abs(mixture).max()
        if peak > _SILENT_SHARE * recording.peak:
            heard.append(mixture / peak)
    if not heard:
        raise AudioError("nothing to adapt to: the recording is silent", "check the file")
    return np.stack(heard)


def check_adaptation(
    config: AdaptationConfig, assigner: Assigner, name: str, recordings: int, overwrite: bool
) -> None:
    """Refuses before the adaptation what would be noticed only after it.

    The adapted model is kept under the name if there is one; 0 steps is no adaptation.

    Raises:
        UsageError: options that need or exclude each other, or the name is taken.
    """
    if config.train_assignment and not config.steps:
        raise UsageError("--adapt-assignment needs --adapt", "add --adapt 200")
    if config.train_assignment and assigner in RULES:
        raise UsageError(
            f"--adapt-assignment has nothing to train with --assigner {assigner}",
            "drop one of them",
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
    store.refuse_packaged(name)
    if store.store_path(name).exists() and not overwrite:
        raise UsageError(f"{store.store_path(name)} exists", "use --overwrite or another name")


def adapt_to_recording(
    engine: ModelEngine,
    recording: Recording,
    config: AdaptationConfig,
    progress: Callable[[float], None] | None = None,
) -> Adapted:
    """:func:`adapt` on one recording; errors likewise.

    Raises:
        UsageError: the assignment is to be trained of a model that has no network for it.
    """
    if config.train_assignment and engine.assigner in RULES:
        raise UsageError(
            f"--adapt-assignment has nothing to train in model {engine.name}", "drop it"
        )
    segments = training_segments(recording, config, engine.config.audio)
    return adapt(engine, segments, config, progress)


def keep_adapted(engine: ModelEngine, name: str, recording: Recording, steps: int) -> Path:
    """Stores an adapted model with all its networks; returns the path of its tensors."""
    about = {
        "origin": f"{engine.name}, adapted to {recording.path.name} in {counted(steps, 'step')}",
        "initial_weights": engine.provenance.get("weights", {}),
    }
    return store.save(name, engine.variables, engine.config, about)
