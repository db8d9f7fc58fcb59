"""What a phase writes into the folder of its run: rows, checkpoints, state, its best weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import optax

from umss_jax.train.checkpoints import Checkpoints, PhaseProgress
from umss_jax.train.config import PretrainConfig, TrainConfig
from umss_jax.train.run_folder import RunFolder
from umss_jax.train.run_weights import keep_weights, merged
from umss_jax.train.step import TrainState
from umss_jax.train.tensorboard import Board


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

    def close(self) -> None:
        """Waits for checkpoints that are being written."""
        self.checkpoints.close()

    def begin(self, done: int) -> None:
        """Drops the rows of steps that are about to be done again."""
        self.folder.forget_after(self.number, done)

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
            about = f"{self.kind}, {self.name}, step {int(state.step)}"
            best = merged(self.variables, state)
            keep_weights(
                self.folder.path, best, self.config.model, about, self.config.weights, loss
            )

    def _log(self, kind: str, epoch: int, step: int, values: Mapping[str, float]) -> None:
        where = {"phase": self.number, "name": self.name, "epoch": epoch, "step": step}
        self.folder.log({"kind": kind, **where, **values})
