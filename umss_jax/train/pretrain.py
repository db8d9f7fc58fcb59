"""Supervised training of the F0 networks: first the salience, then the assignment of what it gives.

Targets as in Cuesta, McFee, Gómez (ISMIR 2020) and Cuesta, Gómez (TISMIR 2022): the F0 bin blurred
by a Gaussian of one bin, binary cross-entropy; the salience's target is the largest of the voices'.
A run is resumed like one of :mod:`umss_jax.train.run`, from its folder, at any moment.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from umss_jax import model
from umss_jax.config import ModelConfig
from umss_jax.data.mixes import Prefetched
from umss_jax.data.pitched_mixes import PitchedExample, PitchedMixes, PitchedVoice, open_pitched
from umss_jax.data.salience_mixes import HeardExample, HeardMixes
from umss_jax.errors import UmssError
from umss_jax.pitch.targets import binary_cross_entropy, mixture_target, pitch_targets
from umss_jax.train.checkpoints import Checkpoints, Progress
from umss_jax.train.config import PretrainConfig
from umss_jax.train.progress import Bar
from umss_jax.train.run_folder import RunFolder
from umss_jax.train.run_weights import WEIGHTS
from umss_jax.train.step import TrainState, init_state, make_optimiser
from umss_jax.trees import parts
from umss_jax.weights import store

PHASES = ("salience", "assignment")
_PHASE_EXAMPLES = 100_000_000  # apart in the stream of examples
_VALIDATION_SEED = 7


Example = PitchedExample | HeardExample
"""What the salience network learns from, or the assignment network."""
Step = Callable[[TrainState, Example], tuple[TrainState, jax.Array]]
"""``(state, example) -> (state, loss)``."""


class PretrainResult(NamedTuple):
    """How a run ended."""

    steps: int
    best_loss: float
    """Of the last phase."""
    weights: Path


def pretrain(config: PretrainConfig, folder: Path, quiet: bool = False) -> PretrainResult:
    """Trains the F0 networks, or goes on where a run of the same folder and settings stopped.

    Args:
        config: the run.
        folder: of this run; see :mod:`umss_jax.train.run_folder`.
        quiet: no progress bars.

    Raises:
        UsageError: settings that do not fit the run in the folder.
        DatasetError: recordings or their F0 are missing or broken.
        WeightsError: initial weights are missing or damaged.
    """
    run = RunFolder(folder, config)
    with run.going():
        return _pretrain(config, run, quiet)


def _pretrain(config: PretrainConfig, run: RunFolder, quiet: bool) -> PretrainResult:
    pieces = open_pitched(config.train)
    held_out = open_pitched(config.validation)
    variables = _initial(config)
    steps, best_loss = 0, math.inf
    for number, part in enumerate(PHASES):
        if not config.steps[number]:
            continue
        variables, best_loss = _PhaseRun(config, run, number, part, variables).train(
            pieces, held_out, quiet
        )
        steps += config.steps[number]
    return PretrainResult(steps, best_loss, run.path / WEIGHTS)


def _initial(config: PretrainConfig) -> dict[str, Any]:
    """Both networks: those of ``config.weights``, or drawn."""
    key = jax.random.key(config.seed)
    known: dict[str, Any] = {}
    if config.weights:
        from umss_jax.api import load_weights

        known, _ = load_weights(config.weights)
    drawn = tuple(part for part in PHASES if part not in parts(known))
    fresh = jax.jit(partial(model.init_variables, config=config.model, parts=drawn))(key)
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


class _PhaseRun:
    """The training of one network."""

    def __init__(
        self,
        config: PretrainConfig,
        run: RunFolder,
        number: int,
        part: str,
        variables: dict[str, Any],
    ) -> None:
        self.config, self.run, self.number, self.part = config, run, number, part
        self.variables = variables
        self.steps, self.batch = config.steps[number], config.batch[number]
        hop = config.model.audio.hop_samples
        rate = config.model.audio.sample_rate_hz
        self.samples = round(config.crop_s[number] * rate / hop) * hop
        warmup = min(config.optimiser.warmup_steps, self.steps // 5)
        optimiser = replace(config.optimiser, warmup_steps=warmup, total_steps=max(2, self.steps))
        self.optimiser = make_optimiser((part,), optimiser)
        self.checkpoints = Checkpoints(run.path / "checkpoints" / f"{number}_{part}")
        self.loss_of, self.validation_loss_of = self._losses()

    def train(
        self,
        pieces: list[tuple[PitchedVoice, ...]],
        held_out: list[tuple[PitchedVoice, ...]],
        quiet: bool,
    ) -> tuple[dict[str, Any], float]:
        """From the latest checkpoint to the last step; the best variables and their loss."""
        config = self.config
        mixes, altogether = self._examples(pieces, held_out)
        validation = altogether.batch(0, config.validation_examples)
        own = {
            name: {self.part: tree[self.part]} if self.part in tree else {}
            for name, tree in self.variables.items()
        }
        state, progress = init_state(own, self.optimiser), Progress()
        latest = self.checkpoints.latest_step()
        if latest is not None:
            state, progress = self.checkpoints.restore(state, latest)
        done = int(state.step)
        if done < self.steps:
            self.run.forget_after(self.number, done)
        state = jax.device_put(jax.tree.map(np.array, jax.device_get(state)))
        step_fn = _make_step(self.loss_of, self.optimiser)
        batches = Prefetched(self._batches(mixes, done))
        try:
            with Bar(f"{self.part}", self.steps, done, self.batch, quiet) as bar:
                for step in range(done, self.steps):
                    example = next(batches)
                    started = time.perf_counter()
                    state, loss = step_fn(state, example)
                    values = {"total": float(loss)}
                    if not math.isfinite(values["total"]):
                        raise UmssError(
                            f"the loss of step {step + 1} is not finite",
                            "lower optimiser.learning_rate",
                        )
                    seconds = round(time.perf_counter() - started, 4)
                    self.run.log(
                        {"kind": "train", **self._where(step + 1), **values, "seconds": seconds}
                    )
                    bar.step({**dict.fromkeys(("rec", "l1", "l2", "l3"), 0.0), **values})
                    if (step + 1) % config.validation_steps == 0 or step + 1 == self.steps:
                        progress = self._validate(state, progress, validation)
                        bar.validated(progress.best_loss, progress.best_loss)
        finally:
            batches.close()
            self.checkpoints.close()
        return self._best(state), progress.best_loss

    def _losses(self) -> tuple[Callable[..., jax.Array], Callable[..., jax.Array]]:
        """Of a training example, and of a validation example, which counts in full length."""
        config, blur_bins = self.config.model, self.config.blur_bins
        if self.part == "assignment":
            assigned = partial(_assignment_loss, config=config, blur_bins=blur_bins)
            return assigned, jax.jit(assigned)
        loss = partial(_salience_loss, config=config, blur_bins=blur_bins)
        return (
            partial(loss, window_frames=self.config.window_frames),
            jax.jit(partial(loss, window_frames=0)),
        )

    def _examples(
        self, pieces: list[tuple[PitchedVoice, ...]], held_out: list[tuple[PitchedVoice, ...]]
    ) -> tuple[PitchedMixes | HeardMixes, PitchedMixes | HeardMixes]:
        """Examples to train on, and unaltered ones of the held-out pieces."""
        config = self.config
        aligned = self.part == "assignment"
        mixes = PitchedMixes(pieces, config.seed, self.samples, config.augmentation, aligned)
        validation = PitchedMixes(held_out, _VALIDATION_SEED, self.samples, None)
        if self.part == "salience":
            return mixes, validation

        @jax.jit
        def hear(mixture: np.ndarray) -> jax.Array:
            features = model.features(jnp.asarray(mixture), config.model)
            return model.estimate_salience(self.variables, features, config.model)

        heard = HeardMixes(mixes, hear, config.seed, config.distinct_mixes, config.transposed_bins)
        return heard, HeardMixes(validation, hear, _VALIDATION_SEED)

    def _batches(self, mixes: PitchedMixes | HeardMixes, done: int) -> Iterator[Example]:
        first = (
            _PHASE_EXAMPLES if self.part == "assignment" and not self.config.distinct_mixes else 0
        )
        for step in range(done, self.steps):
            yield mixes.batch(first + step * self.batch, self.batch)

    def _validate(
        self,
        state: TrainState,
        progress: Progress,
        validation: Example,
    ) -> Progress:
        """The loss on held-out pieces; saves, and keeps the weights where they are the best."""
        step = int(state.step)
        count, total = len(validation.f0_hz_344), 0.0
        for first in range(0, count, self.batch):
            some = type(validation)(*(array[first : first + self.batch] for array in validation))
            loss = self.validation_loss_of(state.params, state.batch_stats, some)
            total += float(loss) * len(some.f0_hz_344)
        mean = total / count
        progress = progress._replace(epoch=progress.epoch + 1)
        if mean < progress.best_loss:
            progress = progress._replace(best_loss=mean, best_epoch=progress.epoch)
            self._keep(state, step, mean)
        self.checkpoints.save(state, progress, mean)
        self.run.log({"kind": "valid", **self._where(step), "total": mean})
        self.run.set_state(
            "running",
            phase=self.part,
            epoch=progress.epoch,
            step=step,
            best_loss=progress.best_loss,
        )
        return progress

    def _keep(self, state: TrainState, step: int, loss: float) -> None:
        metadata = {
            "origin": f"trained here: pretraining, {self.part}, step {step}",
            "initial_weights": self.config.weights,
            "validation_loss": loss,
        }
        store.save(self.run.path / WEIGHTS, self._merged(state), metadata)

    def _merged(self, state: TrainState) -> dict[str, Any]:
        trained = {"params": state.params, "batch_stats": state.batch_stats}
        return {
            name: jax.tree.map(np.asarray, {**trees, **trained[name]})
            for name, trees in self.variables.items()
        }

    def _best(self, state: TrainState) -> dict[str, Any]:
        """Variables after the phase: the best ones that were kept."""
        kept = self.run.path / "phases" / f"{self.number}_{self.part}.safetensors"
        path = kept if kept.is_file() else self.run.path / WEIGHTS
        if not path.is_file():
            return self._merged(state)
        variables, about = store.load(path)
        if path != kept:
            store.save(kept, variables, about)
        return {name: variables.get(name, {}) for name in ("params", "batch_stats")}

    def _where(self, step: int) -> dict[str, Any]:
        epoch = (step - 1) // self.config.validation_steps + 1
        return {"phase": self.number, "name": self.part, "epoch": epoch, "step": step}


def _salience_loss(
    params: dict[str, Any],
    batch_stats: dict[str, Any],
    example: PitchedExample,
    config: ModelConfig,
    blur_bins: float,
    window_frames: int,
) -> jax.Array:
    """Cross-entropy of the salience, [] (the mean over bins and frames)."""
    targets = pitch_targets(jnp.asarray(example.f0_hz_344), blur_bins, config.hcqt)
    features = model.features(jnp.asarray(example.mixture), config)
    if window_frames:
        first = max(0, (targets.shape[-1] - window_frames) // 2)
        window = slice(first, first + window_frames)
        features = jax.tree.map(lambda x: x[..., window], features)
        targets = targets[..., window]
    variables = {"params": params, "batch_stats": batch_stats}
    salience = model.estimate_salience(variables, features, config)
    return binary_cross_entropy(salience, mixture_target(targets))


def _assignment_loss(
    params: dict[str, Any],
    batch_stats: dict[str, Any],
    example: HeardExample,
    config: ModelConfig,
    blur_bins: float,
) -> jax.Array:
    """Cross-entropy of the voices' saliences, [] (the mean over voices, bins and frames)."""
    targets = pitch_targets(jnp.asarray(example.f0_hz_344), blur_bins, config.hcqt)
    variables = {"params": params, "batch_stats": batch_stats}
    return binary_cross_entropy(
        model.assign(variables, jnp.asarray(example.salience), config), targets
    )


def _make_step(loss_of: Callable[..., jax.Array], optimiser: optax.GradientTransformation) -> Step:
    """The jitted step; the state is donated."""

    @partial(jax.jit, donate_argnums=0)
    def step(state: TrainState, example: Example) -> tuple[TrainState, jax.Array]:
        loss, gradient = jax.value_and_grad(loss_of)(state.params, state.batch_stats, example)
        updates, opt_state = optimiser.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return state._replace(step=state.step + 1, params=params, opt_state=opt_state), loss

    return step
