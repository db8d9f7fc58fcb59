"""What a phase writes into the folder of its run: rows, checkpoints, state, its best weights.

Orbax writes checkpoints, the latest and the best, on a thread of its own into a temporary folder
that it renames at the end: a run that is killed while saving resumes from the one before.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from umss_jax.errors import OutputError, UmssError
from umss_jax.train.config import PretrainConfig, TrainConfig
from umss_jax.train.run_folder import RunFolder
from umss_jax.train.run_weights import WEIGHTS, merged
from umss_jax.train.step import TrainState
from umss_jax.train.tensorboard import Board
from umss_jax.weights import store

logging.getLogger("absl").setLevel(logging.ERROR)  # orbax tells of every file it writes

_NOT_VALIDATED = 1e30  # JSON has no infinity; such a checkpoint is never the best


class PhaseProgress(NamedTuple):
    """Where a phase stands, apart from its state."""

    epoch: int = 0
    """Whole epochs done."""
    best_loss: float = _NOT_VALIDATED
    best_epoch: int = 0


class CheckpointError(UmssError):
    """A checkpoint is damaged or of another run."""


class Checkpoints:
    """The checkpoints of one phase, in a folder of their own that is made where missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(1),
                # The best is the highest unless reversed.
                checkpoint_managers.BestN(get_metric_fn=_loss, reverse=True, n=1),
            ]
        )
        try:
            self._manager = ocp.CheckpointManager(
                folder.absolute(),
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=policy,
                    best_fn=_loss,
                    best_mode="min",
                    cleanup_tmp_directories=True,
                    enable_async_checkpointing=True,
                ),
                item_names=("state", "progress"),
            )
        except OSError as error:
            raise OutputError(f"{folder} cannot be written ({error})", "make room") from error

    def save(self, state: TrainState, progress: PhaseProgress, loss: float | None = None) -> None:
        """Writes a checkpoint of the state's step unless there is one; returns before it is done.

        The state is copied to the host at once. ``loss`` is the validation loss of this very
        state, None where it was not validated.
        """
        step = int(jax.device_get(state.step))
        if step in self._manager.all_steps():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(_flat(state)),
                progress=ocp.args.JsonSave(progress._asdict()),
            ),
            metrics={"loss": _NOT_VALIDATED if loss is None else float(loss)},
        )

    def latest(self, fresh: TrainState) -> tuple[TrainState, PhaseProgress]:
        """The latest checkpoint, or where there is none ``fresh``, the state before the first step.

        Raises:
            CheckpointError: the checkpoint does not fit or is damaged.
        """
        step = self._manager.latest_step()
        if step is None:
            return fresh, PhaseProgress()
        wanted = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
            for name, leaf in _flat(fresh).items()
        }
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(wanted), progress=ocp.args.JsonRestore()
                ),
            )
            leaves = [np.asarray(restored.state[name]) for name in wanted]
        except (ValueError, KeyError, OSError, TypeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(
                f"checkpoint {step} in {self._folder} cannot be restored ({reason})",
                "delete it to resume from the one before, or the folder to begin again",
            ) from error
        state = jax.tree.unflatten(jax.tree.structure(fresh), leaves)
        return state, PhaseProgress(**restored.progress)

    def close(self) -> None:
        """Waits, then ends orbax's threads."""
        self._manager.wait_until_finished()
        self._manager.close()


@dataclass(frozen=True)
class PhaseFiles:
    """One phase of a run on disk."""

    folder: RunFolder
    board: Board
    config: TrainConfig | PretrainConfig
    kind: str
    """Of the training, for the metadata of the weights."""
    number: int
    name: str
    variables: Mapping[str, Any]
    """All parts as they are before the phase."""
    steps_before: int = 0
    """Of the phases before."""
    rate: optax.ScalarOrSchedule | None = None
    """Learning rate, which goes into the rows; None: it does not."""

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """Those of this phase."""
        return Checkpoints(self.folder.path / "checkpoints" / f"{self.number}_{self.name}")

    def log_step(self, epoch: int, step: int, values: Mapping[str, float], seconds: float) -> None:
        """The row of a step."""
        if self.rate is not None:
            now = self.rate(step - 1) if callable(self.rate) else self.rate
            values = {**values, "learning_rate": float(now)}
        self._log("train", epoch, step, {**values, "seconds": round(seconds, 4)})
        self.board.scalars("train", values, self.steps_before + step)

    def log_validation(
        self, state: TrainState, progress: PhaseProgress, means: Mapping[str, float]
    ) -> None:
        """The row of a validation, and where the run stands."""
        epoch, step, best = progress.epoch, int(state.step), progress.best_loss
        self._log("valid", epoch, step, means)
        self.folder.set_state("running", phase=self.name, epoch=epoch, step=step, best_loss=best)
        self.board.scalars("valid", means, self.steps_before + step)

    def show(self, state: TrainState, batch: Any, key: jax.Array) -> None:
        """What the model makes of the first example of a batch, for TensorBoard."""
        step = self.steps_before + int(state.step)
        self.board.show(state.variables, batch, key, self.config.model, step)

    def keep(self, state: TrainState, loss: float) -> None:
        """Keeps all parts as the best weights so far."""
        if self.folder.writes:
            about = {
                "origin": f"trained here: {self.kind}, {self.name}, step {int(state.step)}",
                "initial_weights": self.config.weights,
                "validation_loss": loss,
            }
            best = merged(self.variables, state)
            store.save(self.folder.path / WEIGHTS, best, self.config.model, about)

    def _log(self, kind: str, epoch: int, step: int, values: Mapping[str, float]) -> None:
        where = {"phase": self.number, "name": self.name, "epoch": epoch, "step": step}
        self.folder.log({"kind": kind, **where, **values})


def _loss(metrics: Any) -> float:
    return float(metrics["loss"])


def _flat(state: TrainState) -> dict[str, Any]:
    """Leaves by their path: independent of how optax names its own containers."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(state))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
