"""What a phase writes into the folder of its run: rows, checkpoints, state, its best weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import optax

from umss_jax.train.config import PretrainConfig, TrainConfig
from umss_jax.train.loop import Validated
from umss_jax.train.run_folder import RunFolder
from umss_jax.train.run_weights import keep_weights, merged
from umss_jax.train.tensorboard import Board


class RunResult(NamedTuple):
    """How a run ended."""

    steps: int
    """Of all phases."""
    best_loss: float
    """Of the last phase."""
    weights: Path


@dataclass(frozen=True)
class PhaseRecord:
    """One phase of a run on disk."""

    folder: RunFolder
    board: Board
    config: TrainConfig | PretrainConfig
    kind: str
    """Of the training, for the metadata of the weights."""
    number: int
    name: str
    epoch_steps: int
    """Between validations."""
    variables: Mapping[str, Any]
    """All parts as they are before the phase."""
    steps_before: int = 0
    """Of the phases before."""
    rate: optax.ScalarOrSchedule | None = None
    """Learning rate, which goes into the rows; None: it does not."""

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder.path / "checkpoints" / f"{self.number}_{self.name}"

    def begin(self, done: int) -> None:
        """Drops the rows of steps that are about to be done again."""
        self.folder.forget_after(self.number, done)

    def log_step(self, step: int, values: Mapping[str, float], seconds: float) -> None:
        """The row of a step."""
        if self.rate is not None:
            now = self.rate(step - 1) if callable(self.rate) else self.rate
            values = {**values, "learning_rate": float(now)}
        row = {**self._where(step), **values, "seconds": round(seconds, 4)}
        self.folder.log({"kind": "train", **row})
        self.board.scalars("train", values, self.steps_before + step)

    def log_validation(self, found: Validated) -> None:
        """The row of a validation, and where the run stands."""
        step, progress = int(found.state.step), found.progress
        self.folder.log({"kind": "valid", **self._where(step), **found.means})
        self.folder.set_state(
            "running",
            phase=self.name,
            epoch=progress.epoch,
            step=step,
            best_loss=progress.best_loss,
        )
        self.board.scalars("valid", found.means, self.steps_before + step)

    def keep(self, found: Validated) -> None:
        """The best weights so far, with all parts."""
        if self.folder.writes:
            about = f"{self.kind}, {self.name}, step {int(found.state.step)}"
            best = merged(self.variables, found.state)
            keep_weights(self.folder.path, best, about, self.config.weights, found.loss)

    def _where(self, step: int) -> dict[str, Any]:
        epoch = (step - 1) // self.epoch_steps + 1
        return {"phase": self.number, "name": self.name, "epoch": epoch, "step": step}
