"""The checkpoints of a phase: the two latest and the best, each with the hash of every file.

Orbax writes a checkpoint into a temporary folder that it renames at the end. Then ``sha256.json``
is written into it, last, with everything flushed to the disk: what does not agree with its hashes
when a run is resumed is moved aside, before orbax reads any of it, and the one before is taken.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from umss_jax.errors import OutputError, UmssError
from umss_jax.train.checkpoint_hashes import MANIFEST, problem_of, seal
from umss_jax.train.run_folder import steps_kept
from umss_jax.train.step import TrainState

# Orbax tells of every file that it writes, and of what goes wrong twice: it raises that as well.
logging.getLogger("absl").setLevel(logging.CRITICAL)
log = logging.getLogger("umss_jax")

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
    """The checkpoints of one phase, in a folder of their own that is made where missing.

    Those that are damaged are moved to ``damaged/`` beside the folders of the phases. Of several
    hosts one ``writes``; all call the same methods.

    Raises:
        CheckpointError: there are some, and none is sound.
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: Path, writes: bool = True) -> None:
        self._folder, self._writes = folder, writes
        self.had_damage = False
        """Whether any were moved aside, so that steps are to be done again."""
        if writes:
            self._remove_unfinished()
            self.had_damage = self._set_damaged_aside()
        if jax.process_count() > 1:  # the others wait for that, and are told
            told = multihost_utils.broadcast_one_to_all(np.asarray(self.had_damage))
            self.had_damage = bool(told)
        with self._writing():
            self._manager = self._opened()

    def save(self, state: TrainState, progress: PhaseProgress, loss: float | None = None) -> None:
        """Writes a checkpoint of the state's step unless there is one.

        ``loss`` is the validation loss of this very state, None where it was not validated.

        Raises:
            OutputError: it cannot be written; those before are as they were.
        """
        step = int(jax.device_get(state.step))
        if step in self._manager.all_steps():
            return
        with self._writing():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(_flat(state)),
                    progress=ocp.args.JsonSave(progress._asdict()),
                ),
                metrics={"loss": _NOT_VALIDATED if loss is None else float(loss)},
            )
            self._manager.wait_until_finished()
            if self._writes:
                seal(self._folder / str(step))

    def latest(self, fresh: TrainState) -> tuple[TrainState, PhaseProgress]:
        """The latest checkpoint, or where there is none ``fresh``, the state before the first step.

        Raises:
            CheckpointError: none can be restored, or what is sound does not fit.
        """
        first_error: CheckpointError | None = None
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                found = self._restored(step, fresh)
            except CheckpointError as error:
                if (self._folder / str(step) / MANIFEST).is_file():
                    raise  # nothing of it is damaged: it does not fit
                log.warning("%s; the one before is taken", error.message)
                first_error = first_error or error
                continue
            if first_error and self._writes:
                self._set_aside([later for later in self._manager.all_steps() if later > step])
                self._manager.reload()
            return found
        if first_error:
            raise first_error
        return fresh, PhaseProgress()

    def best(self, fresh: TrainState, loss: float) -> TrainState | None:
        """The state that had a validation loss, if there is a checkpoint of it."""
        step = self._manager.best_step()
        if step is None or self._manager.metrics(step)["loss"] != loss:
            return None
        try:
            return self._restored(step, fresh)[0]
        except CheckpointError:
            return None

    def close(self) -> None:
        """Ends orbax's threads."""
        self._manager.close()

    def _opened(self) -> ocp.CheckpointManager:
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(2),
                # The best is the highest unless reversed.
                checkpoint_managers.BestN(get_metric_fn=_loss, reverse=True, n=1),
            ]
        )
        return ocp.CheckpointManager(
            self._folder.absolute(),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                best_fn=_loss,
                best_mode="min",
                # A full disk is to be said where it is met, and the hashes need the whole.
                enable_async_checkpointing=False,
            ),
            item_names=("state", "progress"),
        )

    def _restored(self, step: int, fresh: TrainState) -> tuple[TrainState, PhaseProgress]:
        wanted = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
            for name, leaf in _flat(fresh).items()
        }
        try:
            with _one_complaint():
                restored = self._manager.restore(
                    step,
                    args=ocp.args.Composite(
                        state=ocp.args.StandardRestore(wanted), progress=ocp.args.JsonRestore()
                    ),
                )
            leaves = [np.asarray(restored.state[name]) for name in wanted]
            progress = _progress(restored.progress)
        except Exception as error:  # orbax and what is below it raise anything
            raise CheckpointError(
                f"checkpoint {step} in {self._folder} cannot be restored ({_reason(error)})",
                f"delete {self._folder} to begin this phase again",
            ) from error
        return jax.tree.unflatten(jax.tree.structure(fresh), leaves), progress

    def _remove_unfinished(self) -> None:
        """What a kill left of orbax's temporary folders; orbax would do it beside the training."""
        for folder in self._folder.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _set_damaged_aside(self) -> bool:
        """Whether there were any."""
        steps = steps_kept(self._folder)
        sealed = [step for step in steps if (self._folder / str(step) / MANIFEST).is_file()]
        problems = {}
        for step in steps:
            # Of an older version none has hashes, and none after those that have.
            is_old = not sealed or step < max(sealed)
            problem = problem_of(self._folder / str(step), is_old)
            if problem:
                problems[step] = problem
        named = "; ".join(f"checkpoint {step}: {problem}" for step, problem in problems.items())
        if steps and len(problems) == len(steps):
            raise CheckpointError(
                f"no checkpoint in {self._folder} is sound ({named})",
                "put them back from a copy, or delete the folder to begin this phase again",
            )
        if problems:
            others = [step for step in steps if step not in problems]
            log.warning("%s: %s; resuming from %d", self._folder, named, max(others))
            self._set_aside(list(problems))
        return bool(problems)

    def _set_aside(self, steps: list[int]) -> None:
        aside = self._folder.parent.parent / "damaged"
        for step in steps:
            target = aside / f"{self._folder.name}_{step}"
            with self._writing():
                aside.mkdir(exist_ok=True)
                if target.is_dir():
                    shutil.rmtree(target)
                os.replace(self._folder / str(step), target)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """What orbax and what is below it say of a disk is of many types."""
        try:
            with _one_complaint():
                yield
        except UmssError:
            raise
        except Exception as error:
            raise OutputError(
                f"{self._folder} cannot be written ({_reason(error)})",
                "make room; the same command then resumes",
            ) from error


@contextlib.contextmanager
def _one_complaint() -> Iterator[None]:
    """Where orbax fails, what tensorstore still does for its event loop is not reported as well.

    That comes from a thread of tensorstore, so after a failure it is kept quiet for good.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            before(unraisable)

    sys.unraisablehook = hook
    yield
    sys.unraisablehook = before


def _reason(error: Exception) -> str:
    """What an exception says, shortened: tensorstore's adds its whole configuration."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    code = re.search(r"os_error_code='(\d+)'", text)
    if code:
        return os.strerror(int(code[1]))
    return text.splitlines()[0].split(" [tensorstore_spec")[0][:300]


def _progress(tree: Any) -> PhaseProgress:
    """Raises a ValueError where it is something else."""
    known = PhaseProgress()._asdict()
    wrong = not isinstance(tree, dict) or {*tree} != {*known}
    if wrong or any(type(tree[name]) not in (int, type(value)) for name, value in known.items()):
        raise ValueError("its progress is damaged")
    return PhaseProgress(**tree)


def _loss(metrics: Any) -> float:
    return float(metrics["loss"])


def _flat(state: TrainState) -> dict[str, Any]:
    """Leaves by their path: independent of how optax names its own containers."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(state))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
