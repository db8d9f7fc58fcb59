"""The one loop of training: steps, validations and checkpoints, with what differs as data."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import jax
import numpy as np

from umss_jax.errors import NotFiniteError
from umss_jax.interruption import check, checked
from umss_jax.model import Variables
from umss_jax.progress import progress_bar
from umss_jax.train.objectives import LossInput, Metrics, Objective
from umss_jax.train.phase_files import PhaseFiles, PhaseProgress
from umss_jax.train.step import Step, TrainState

_PATIENCE_S = 0.1  # between looks at whether to stop, where a thread waits for the other
_SHOWN = ("total", "rec", "l1", "l2", "l3")


class NamedBatch(NamedTuple):
    """A batch as the step takes it."""

    batch: Any
    names: tuple[str, ...] = ()
    """Of its examples, for messages."""


@dataclass(frozen=True)
class Validation:
    """What follows every interval of steps, and the last step."""

    interval_steps: int
    objective: Objective
    batches: Callable[[], Iterator[tuple[int, Any]]]
    """Number of the first example, and a batch of them; called once, before the first step."""
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
    batches: Callable[[int], Iterator[NamedBatch]]
    """All batches after so many steps, without end; runs on a thread of its own."""
    key: jax.Array
    """Of everything random in the phase."""
    log: Callable[[int, int, dict[str, float], float], object]
    """``log(epoch, step, metrics, seconds)`` after every step; both numbers count from 1."""
    remedy: str
    """What to do where a loss stops being finite."""
    place: Callable[[TrainState], TrainState] = lambda state: jax.device_put(
        jax.tree.map(np.array, jax.device_get(state))
    )
    """Puts a state where the step takes it; copied, since the step may donate it."""
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
            any, holds the state before that step.
        CheckpointError: no checkpoint is sound, or the latest sound one does not fit.
    """
    files, validation = loop.files, loop.validation
    state, progress = fresh, PhaseProgress()
    with ExitStack() as stack:
        if files:
            stack.enter_context(closing(files.checkpoints))
            state, progress = files.resumed(fresh)
        done = int(state.step)
        if _is_over(loop, done, progress):
            return state, progress
        if files:
            files.folder.forget_after(files.number, done)
        held_out = list(checked(validation.batches())) if validation else []
        state = loop.place(state)
        coming = islice(loop.batches(done), loop.steps - done)
        batches = stack.enter_context(closing(Prefetched(coming)))
        total, passed, title = loop.steps * loop.batch, done * loop.batch, loop.title or loop.name
        shown = progress_bar(title, total, "ex", loop.quiet, passed, stays=True)
        bar, validated = stack.enter_context(shown), ""
        while not _is_over(loop, done, progress):
            check()
            batch, names = next(batches)
            started = time.perf_counter()
            state, metrics = loop.step(state, batch, loop.key)
            values = {name: float(value) for name, value in metrics.items()}
            if not all(map(math.isfinite, values.values())):
                if files:
                    files.checkpoints.save(state, progress)
                raise _not_finite(loop, done + 1, values, names)
            done += 1
            loop.log(progress.epoch + 1, done, values, time.perf_counter() - started)
            terms = " ".join(f"{name} {values[name]:.4g}" for name in _SHOWN if values.get(name))
            bar.note(terms + validated)
            bar.advance(loop.batch)
            is_due = (validation and done % validation.interval_steps == 0) or done == loop.steps
            if files and validation and is_due:
                loss, progress = _validate(loop.key, validation, files, state, progress, held_out)
                validated = f" | valid {loss:.4g} best {progress.best_loss:.4g}"
            elif files and loop.checkpoint_steps and done % loop.checkpoint_steps == 0:
                files.checkpoints.save(state, progress)
        return state, progress


def _is_over(loop: Loop, done: int, progress: PhaseProgress) -> bool:
    """Whether all steps are done, or the last validations brought nothing."""
    patience = loop.validation.patience if loop.validation else 0
    return done >= loop.steps or 0 < patience <= progress.epoch - progress.best_epoch


def _validate(
    key: jax.Array,
    validation: Validation,
    files: PhaseFiles,
    state: TrainState,
    progress: PhaseProgress,
    batches: list[tuple[int, Any]],
) -> tuple[float, PhaseProgress]:
    """Loss over the validation set; saves, and keeps the weights where they are the best."""
    host = jax.tree.map(np.asarray, jax.device_get(state))
    sums: dict[str, float] = {}
    count = 0
    for first, batch in checked(batches):
        examples = len(jax.tree.leaves(batch)[0])
        terms = _validation_terms(validation.objective, host.variables, batch, key, first)
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + float(value) * examples
        count += examples
    means = {name: total / count for name, total in sums.items()}
    loss = means[validation.term]
    progress = progress._replace(epoch=progress.epoch + 1)
    if loss < progress.best_loss:
        progress = progress._replace(best_loss=loss, best_epoch=progress.epoch)
        files.keep(host, loss)
    files.checkpoints.save(host, progress, loss)
    files.log_validation(host, progress, means)
    files.show(host, batches[0][1], key)
    return loss, progress


@partial(jax.jit, static_argnames="objective")
def _validation_terms(
    objective: Objective, variables: Variables, batch: Any, key: jax.Array, first: jax.Array
) -> Metrics:
    return objective(LossInput(variables, batch, key, first, train=False)).terms


def _not_finite(
    loop: Loop, step: int, values: dict[str, float], names: tuple[str, ...]
) -> NotFiniteError:
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    # The terms say more than their sum.
    terms = [name for name in wrong if name != "total"] or wrong
    batch = f"; batch: {'; '.join(names)}" if names else ""
    message = f"step {step} of {loop.name}: {', '.join(terms)} not finite{batch}"
    return NotFiniteError(message, loop.remedy)


class Prefetched:
    """Items made on a thread of their own, two ahead: batches while the devices compute.

    What making them raises is raised again where they are taken.
    """

    def __init__(self, items: Iterator[Any]) -> None:
        self._queue: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(2)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(items,), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        item, error = self._get()
        if error is not None:
            self._queue.put((None, error))  # so that it ends again when asked again
            raise error
        return item

    def _get(self) -> tuple[Any, BaseException | None]:
        while True:
            check()
            try:
                return self._queue.get(timeout=_PATIENCE_S)
            except queue.Empty:
                continue

    def close(self) -> None:
        """Ends the thread, whatever is left."""
        self._stopped.set()
        self._thread.join()

    def _fill(self, items: Iterator[Any]) -> None:
        try:
            for item in items:
                if not self._put((item, None)):
                    return
            self._put((None, StopIteration()))
        except BaseException as error:
            self._put((None, error))

    def _put(self, entry: tuple[Any, BaseException | None]) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(entry, timeout=_PATIENCE_S)
                return True
            except queue.Full:
                continue
        return False
