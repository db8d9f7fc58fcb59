"""What a phase writes into the folder of its run: rows, checkpoints, state, its best weights."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from umss_jax.errors import UmssError
from umss_jax.train.background import Background
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

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """While the phase goes on; at the end all is written."""
        with contextlib.closing(self.checkpoints), self.writing:
            yield

    @cached_property
    def writing(self) -> Background:
        """Writes checkpoints and weights."""
        # Orbax lets several hosts wait for each other, which must not come between their steps.
        return Background(beside=jax.process_count() == 1)

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
        self._log("train", epoch, step, {**values, "seconds": round(seconds, 4)})
        self.board.scalars("train", values, self.steps_before + step)

    def log_validation(
        self, step: int, progress: PhaseProgress, means: Mapping[str, float]
    ) -> None:
        """The row of a validation, and where the run stands."""
        epoch, best = progress.epoch, progress.best_loss
        self._log("valid", epoch, step, means)
        self.folder.set_state("running", phase=self.name, epoch=epoch, step=step, best_loss=best)
        self.board.scalars("valid", means, self.steps_before + step)

    def show(self, state: TrainState, batch: Any, key: jax.Array) -> None:
        """What the model makes of the first example of a batch, for TensorBoard."""
        if self.board.is_on:
            now = jax.device_get(state)
            step = self.steps_before + int(now.step)
            self.board.show(now.variables, batch, key, self.config.model, step)

    def save(
        self,
        state: TrainState,
        progress: PhaseProgress,
        loss: float | None = None,
        is_best: bool = False,
    ) -> None:
        """Begins to write a checkpoint, and before it all parts as the best weights if they are.

        ``loss`` is the validation loss of this very state, None where it was not validated. The
        state may be given away at once.

        Raises:
            OutputError: what was begun before could not be written.
        """
        self.writing.wait()
        # Copies: on a CPU the arrays would be the device's own, which the next step overwrites.
        host = jax.tree.map(np.array, jax.device_get(state))
        self.writing.do(self._write, host, progress, loss, is_best)

    def _write(
        self, state: TrainState, progress: PhaseProgress, loss: float | None, is_best: bool
    ) -> None:
        if is_best and loss is not None and self.folder.writes:
            self._store(self.folder.path / WEIGHTS, state, loss)
        self.checkpoints.save(state, progress, loss)

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
