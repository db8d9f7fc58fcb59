"""The one loop of training: steps, validations and checkpoints, with what differs as data.

While a step runs the next batch is brought to the devices and the next step is sent; what a step
says of itself is read up to an interval later (:mod:`umss_jax.train.pending`), and checkpoints are
written on a thread of their own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import jax

from umss_jax.errors import NotFiniteError
from umss_jax.interruption import check
from umss_jax.progress import Progress, progress_bar
from umss_jax.train.objectives import Objective
from umss_jax.train.pending import Pending, StepDone
from umss_jax.train.phase_files import PhaseFiles, PhaseProgress
from umss_jax.train.prefetching import Prefetched
from umss_jax.train.sharding import Devices
from umss_jax.train.step import Step, TrainState, last_good
from umss_jax.train.validating import HeldOut

_SHOWN = ("total", "rec", "l1", "l2", "l3")


class NamedBatch(NamedTuple):
    """This host's rows of a batch, NumPy; on the devices once the loop has brought it there."""

    batch: Any
    names: tuple[str, ...] = ()
    """Of its examples, for messages."""


@dataclass(frozen=True)
class Validation:
    """What follows every interval of steps, and the last step."""

    interval_steps: int
    objective: Objective
    """Of one device's share."""
    examples: int
    """Of the validation set."""
    batches: Callable[[], Iterator[Any]]
    """This host's rows of each batch of ``batch`` examples, NumPy; called once, before the first
    step."""
    batch: int
    term: str
    """The term of the loss that decides which weights are the best."""
    patience: int = 0
    """The phase ends after so many intervals without a better loss; 0 = never."""


@dataclass(frozen=True)
class Loop:
    """One phase of training."""

    name: str
    steps: int
    batch: int
    """Examples a step."""
    step: Step
    """Of what lies on the devices."""
    batches: Callable[[int], Iterator[NamedBatch]]
    """All batches after so many steps, without end; runs on a thread of its own."""
    key: jax.Array
    """Of everything random in the phase."""
    log: Callable[[int, int, dict[str, float], float], object]
    """``log(epoch, step, metrics, seconds)`` for every step; both numbers count from 1."""
    remedy: str
    """What to do where a loss stops being finite."""
    devices: Devices = field(default_factory=Devices)
    validation: Validation | None = None
    files: PhaseFiles | None = None
    """What keeps checkpoints, validations and the best weights; None: nothing does."""
    checkpoint_steps: int = 0
    """Between checkpoints besides those of the validations; 0 = only those."""
    title: str = ""
    """Of the progress bar; empty: the name."""
    quiet: bool = False
    """No progress is shown."""


def run_loop(loop: Loop, fresh: TrainState) -> tuple[TrainState, PhaseProgress]:
    """Trains from the latest checkpoint, or from the beginning, to the end of a phase.

    Returns:
        The state after the last step, and how the validations went.

    Raises:
        NotFiniteError: a loss or a gradient stopped being finite; a checkpoint, where there are
            any, holds the state before that step. Up to an interval may have passed since.
        CheckpointError: no checkpoint is sound, or the latest sound one does not fit.
        OutputError: something cannot be written, up to an interval ago.
    """
    files, validation = loop.files, loop.validation
    state, progress = fresh, PhaseProgress()
    with ExitStack() as stack:
        if files:
            stack.enter_context(files.opened())
            state, progress = files.resumed(fresh)
        done = int(state.step)
        if _is_over(loop, done, progress):
            return state, progress
        if files:
            files.folder.forget_after(files.number, done)
        held_out = None
        if files and validation:
            asked = validation.objective, validation.examples, validation.batch
            held_out = HeldOut(loop.devices, *asked, validation.batches())
        state, key = loop.devices.place((state, loop.key))
        batches = stack.enter_context(closing(Prefetched(_brought(loop, done))))
        total, passed, title = loop.steps * loop.batch, done * loop.batch, loop.title or loop.name
        shown = progress_bar(title, total, "ex", loop.quiet, passed, stays=True)
        course = _Course(loop, stack.enter_context(shown))
        while not _is_over(loop, done, progress):
            check()
            batch, names = next(batches)
            sent_s = time.perf_counter()
            state, metrics = loop.step(state, batch, key)
            done += 1
            course.pending.add(done, metrics, sent_s, names)
            is_last = done == loop.steps
            is_due = is_last or (validation and done % validation.interval_steps == 0)
            is_kept = loop.checkpoint_steps and done % loop.checkpoint_steps == 0
            try:
                course.tell(progress, wait=bool(is_due or (files and is_kept)))
            except NotFiniteError:
                if files:
                    files.save(last_good(state), progress)
                raise
            if files and held_out and validation and is_due:
                means = held_out.means(state, key)
                progress = _judged(validation, files, (done, state), progress, means)
                files.show(state, held_out.first, loop.key)
                loss, best = means[validation.term], progress.best_loss
                course.validated = f" | valid {loss:.4g} best {best:.4g}"
            elif files and is_kept:
                files.save(state, progress)
        return state, progress


def _brought(loop: Loop, done: int) -> Iterator[NamedBatch]:
    """The batches after so many steps, on the devices."""
    for batch, names in islice(loop.batches(done), loop.steps - done):
        yield NamedBatch(loop.devices.put(batch, loop.batch), names)


class _Course:
    """How the steps go, for the rows and the progress bar."""

    def __init__(self, loop: Loop, bar: Progress) -> None:
        self.pending, self.validated = Pending(), ""
        self._loop, self._bar = loop, bar

    def tell(self, progress: PhaseProgress, wait: bool) -> None:
        """Logs what steps are over, if it is time to, with ``wait`` all of them.

        Raises:
            NotFiniteError: one of them was not finite.
            OutputError: what was written in the background could not be.
        """
        if not (wait or self.pending.is_due):
            return
        loop = self._loop
        if loop.files:
            loop.files.writing.check()
        for one in self.pending.fetch(wait):
            if not one.is_finite:
                raise _not_finite(loop, one)
            loop.log(progress.epoch + 1, one.number, one.values, one.seconds)
            values = one.values
            terms = " ".join(f"{name} {values[name]:.4g}" for name in _SHOWN if values.get(name))
            self._bar.note(terms + self.validated)
            self._bar.advance(loop.batch)


def _is_over(loop: Loop, done: int, progress: PhaseProgress) -> bool:
    """Whether all steps are done, or the last validations brought nothing."""
    patience = loop.validation.patience if loop.validation else 0
    return done >= loop.steps or 0 < patience <= progress.epoch - progress.best_epoch


def _judged(
    validation: Validation,
    files: PhaseFiles,
    now: tuple[int, TrainState],
    progress: PhaseProgress,
    means: dict[str, float],
) -> PhaseProgress:
    """Saves after a validation, and keeps the weights where they are the best."""
    loss = means[validation.term]
    progress = progress._replace(epoch=progress.epoch + 1)
    is_best = loss < progress.best_loss
    if is_best:
        progress = progress._replace(best_loss=loss, best_epoch=progress.epoch)
    step, state = now
    files.save(state, progress, loss, is_best)
    files.log_validation(step, progress, means)
    return progress


def _not_finite(loop: Loop, step: StepDone) -> NotFiniteError:
    wrong = [name for name, value in step.values.items() if not math.isfinite(value)]
    # The terms say more than their sum.
    terms = [name for name in wrong if name != "total"] or wrong
    batch = f"; batch: {'; '.join(step.names)}" if step.names else ""
    message = f"step {step.number} of {loop.name}: {', '.join(terms)} not finite{batch}"
    return NotFiniteError(message, loop.remedy)
