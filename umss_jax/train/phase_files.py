"""What a phase writes into the folder of its run: rows, checkpoints, state, its best weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import optax

from umss_jax.errors import UmssError
from umss_jax.train.checkpoints import Checkpoints, PhaseProgress
from umss_jax.train.config import PretrainConfig, TrainConfig
from umss_jax.train.run_folder import RunFolder
from umss_jax.train.run_weights import WEIGHTS, merged, phase_weights
from umss_jax.train.step import TrainState
from umss_jax.train.tensorboard import Board
from umss_jax.weights import store

__all__ = ["PhaseFiles", "PhaseProgress"]

log = logging.getLogger("umss_jax")


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
        folder = self.folder.path / "checkpoints" / f"{self.number}_{self.name}"
        return Checkpoints(folder, self.folder.writes)

    @property
    def has_ended(self) -> bool:
        """Whether the next phase has begun on what this one left, so that it stays as it is."""
        return self.number + 1 < self.folder.phases_begun and not self.checkpoints.had_damage

    def resumed(self, fresh: TrainState) -> tuple[TrainState, PhaseProgress]:
        """The latest sound checkpoint, or ``fresh`` where there is none; mends the best weights.

        Raises:
            CheckpointError: no checkpoint is sound or fits.
            OutputError: the weights cannot be written.
        """
        state, progress = self.checkpoints.latest(fresh)
        if progress.best_epoch and self.folder.writes:
            self._mend_best(fresh, progress.best_loss)
        return state, progress

    def _mend_best(self, fresh: TrainState, loss: float) -> None:
        """Writes the best weights again from the checkpoint of their step where they are damaged.

        Tensors and metadata are two files: a kill between them leaves two that disagree.
        """
        kept = phase_weights(self.folder.path, self.number, self.name)
        path = kept if kept.is_file() else self.folder.path / WEIGHTS
        try:
            store.load(path)
        except UmssError as error:
            best = self.checkpoints.best(fresh, loss)
            if best is None:
                log.warning("%s; the next that are better replace them", error.message)
                return
            log.warning("%s; written again from checkpoint %d", error.message, int(best.step))
            self._store(path, best, loss)

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
            self._store(self.folder.path / WEIGHTS, state, loss)

    def _store(self, path: Path, state: TrainState, loss: float) -> None:
        about = {
            "origin": f"trained here: {self.kind}, {self.name}, step {int(state.step)}",
            "initial_weights": self.config.weights,
            "validation_loss": loss,
        }
        store.save(path, merged(self.variables, state), self.config.model, about)

    def _log(self, kind: str, epoch: int, step: int, values: Mapping[str, float]) -> None:
        where = {"phase": self.number, "name": self.name, "epoch": epoch, "step": step}
        self.folder.log({"kind": kind, **where, **values})
