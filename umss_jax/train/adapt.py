"""Adaptation: training a model on one recording itself, unsupervised, before separating it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.audio.resampling import read_16k
from umss_jax.audio.segments import SegmentPlan, cut_segments
from umss_jax.config import AudioConfig
from umss_jax.device import compile_ahead
from umss_jax.errors import AudioError
from umss_jax.train.config import AdaptationConfig, LossConfig, OptimiserConfig
from umss_jax.train.step import Batch, init_state, make_optimiser, make_train_step

if TYPE_CHECKING:
    from umss_jax.audio.recording import Recording
    from umss_jax.inference import ModelEngine

_SILENT_SHARE = 1e-3  # of the recording's peak (−60 dB): nothing to learn from


class Adapted(NamedTuple):
    """An adapted model and how its losses went."""

    engine: ModelEngine
    history: dict[str, np.ndarray]
    """Per step: ``total, rec, l1, l2, l3, gradient_norm``, each [steps]."""


def adapt(
    engine: ModelEngine,
    mixtures_16k: np.ndarray,
    config: AdaptationConfig = AdaptationConfig(),
    progress: Callable[[int], None] | None = None,
) -> Adapted:
    """Trains encoder and decoder (and, if asked, the assignment) on segments of one recording.

    The F0 networks run once per segment beforehand: with the assignment frozen only F0 is kept,
    else the salience, from which each step goes on. No stems are involved.

    Args:
        engine: model with all its parts; encoder and decoder may be freshly drawn.
        mixtures_16k: [N, samples] at 16 kHz from :func:`training_segments`, each of peak 1.
        config: steps, batch, learning rates, seed.
        progress: called with 1 after each step.

    Returns:
        The engine with its new weights, and the course of the losses.

    Raises:
        AudioError: the losses stopped being finite.
    """
    trainable = ("encoder", "decoder") + (("assignment",) if config.train_assignment else ())
    optimiser = make_optimiser(
        trainable,
        OptimiserConfig(
            learning_rate=config.learning_rate,
            f0_learning_rate_factor=config.f0_learning_rate_factor,
            warmup_steps=config.warmup_steps,
            # A run shorter than the warm-up ends before the full rate is reached.
            total_steps=max(config.warmup_steps + 1, config.steps),
            final_fraction=config.final_fraction,
        ),
    )
    loss = (
        LossConfig()
        if config.train_assignment
        else LossConfig(l1_weight=0, l2_weight=0, l3_weight=0)
    )
    train_step = make_train_step(optimiser, trainable, engine.config, loss)
    # The step needs nothing of the networks that its batches come after.
    used = set(trainable)
    state = init_state(
        {
            name: {part: tree for part, tree in parts.items() if part in used}
            for name, parts in engine.variables.items()
        },
        optimiser,
    )
    known = [_analysed(engine, mixture[None], config.train_assignment) for mixture in mixtures_16k]
    order = np.random.default_rng(config.seed)
    rng = jax.random.key(config.seed)
    batch_size = min(config.batch, len(mixtures_16k))
    history: list[dict[str, jax.Array]] = []
    for _ in range(config.steps):
        chosen = order.choice(len(mixtures_16k), batch_size, replace=False)
        stacked = jnp.asarray(np.concatenate([known[i] for i in chosen]))
        batch = Batch(mixture=jnp.asarray(mixtures_16k[chosen]))
        batch = batch._replace(**{"salience" if config.train_assignment else "f0_hz_250": stacked})
        if not history:
            train_step = compile_ahead(train_step, state, batch, rng)
        state, metrics = train_step(state, batch, rng)
        history.append(metrics)
        if progress:
            jax.block_until_ready(metrics["total"])
            progress(1)
    merged = {name: {**parts, **getattr(state, name)} for name, parts in _as_dicts(engine).items()}
    course = {key: np.asarray([float(row[key]) for row in history]) for key in (history or [{}])[0]}
    if not all(np.isfinite(values).all() for values in course.values()):
        raise AudioError(
            "the losses of the adaptation did not stay finite", "try fewer --adapt steps"
        )
    return Adapted(engine.with_variables(merged, adaptation=_record(config)), course)


def training_segments(
    recording: Recording,
    config: AdaptationConfig = AdaptationConfig(),
    audio: AudioConfig = AudioConfig(),
) -> np.ndarray:
    """Segments of a recording to train on, read in one pass and in constant memory.

    Args:
        recording: from :func:`umss_jax.audio.recording.scan`.
        config: distance of the segments, and how many at most.
        audio: of the model that will be adapted.

    Returns:
        [N, samples] float32, the mono mixture at 16 kHz, each scaled to peak 1; N ≥ 1. Silent
        segments are left out.

    Raises:
        AudioError: all of it is silent, or it cannot be read.
    """
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


def _analysed(engine: ModelEngine, mixture_16k: np.ndarray, keep_salience: bool) -> np.ndarray:
    """What the frozen networks say of one segment: salience, or F0 with 0 = unvoiced."""
    return engine.salience(mixture_16k) if keep_salience else engine.f0_hz_250(mixture_16k)


def _as_dicts(engine: ModelEngine) -> dict[str, dict[str, object]]:
    return {name: dict(parts) for name, parts in engine.variables.items()}


def _record(config: AdaptationConfig) -> dict[str, object]:
    """For the manifest."""
    return {
        "steps": config.steps,
        "batch": config.batch,
        "learning_rate": config.learning_rate,
        "seed": config.seed,
        "assignment": config.train_assignment,
    }
