"""Checkpoints of a phase of training: the latest and the best, written whole or not at all.

Orbax writes them on a thread of its own into a temporary folder that it renames at the end, so
that a run that is killed while saving resumes from the one before.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from umss_jax.errors import OutputError, UmssError
from umss_jax.train.step import TrainState

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
    """The checkpoints of one phase.

    Args:
        folder: of this phase alone; made where missing.
    """

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

        Args:
            state: copied to the host at once.
            progress: goes with it.
            loss: validation loss of this very state; None where it was not validated.
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
        """The latest checkpoint, or where there is none the state before the first step.

        Args:
            fresh: that state.

        Raises:
            CheckpointError: the checkpoint does not fit or is damaged.
        """
        step = self._manager.latest_step()
        return (fresh, PhaseProgress()) if step is None else self._restored(fresh, step)

    def _restored(self, like: TrainState, step: int) -> tuple[TrainState, PhaseProgress]:
        """A checkpoint as NumPy arrays; ``like`` has the same structure."""
        wanted = {
            name: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype)
            for name, leaf in _flat(like).items()
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
        state = jax.tree.unflatten(jax.tree.structure(like), leaves)
        return state, PhaseProgress(**restored.progress)

    def wait(self) -> None:
        """Returns when everything is written."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then ends orbax's threads."""
        self._manager.wait_until_finished()
        self._manager.close()


def _loss(metrics: Any) -> float:
    return float(metrics["loss"])


def _flat(state: TrainState) -> dict[str, Any]:
    """Leaves by their path: independent of how optax names its own containers."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(state))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
