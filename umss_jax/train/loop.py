"""The one loop of training: steps, validations and checkpoints, with what differs as data."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from umss_jax.data.mixes import Prefetched
from umss_jax.errors import NotFiniteError
from umss_jax.model import Variables
from umss_jax.train.checkpoints import Checkpoints, PhaseProgress
from umss_jax.train.objectives import Metrics, Objective
from umss_jax.train.step import Step, TrainState

_SHOWN = ("total", "rec", "l1", "l2", "l3")


class NamedBatch(NamedTuple):
    """A batch as the step takes it."""

    batch: Any
    names: tuple[str, ...] = ()
    """Of its examples, for messages."""


class Validated(NamedTuple):
    """What a validation found."""

    state: TrainState
    """On the host."""
    progress: PhaseProgress
    """This validation included."""
    means: dict[str, float]
    """Terms of the loss over the validation set."""
    loss: float
    """The term that counts."""
    first_batch: Any
    """Of the validation set."""


@dataclass(frozen=True)
class Validation:
    """What follows every interval of steps, and the last step."""

    interval_steps: int
    objective: Objective
    batches: Callable[[], Iterator[tuple[int, Any]]]
    """Number of the first example, and a batch of them; made once, before the first step."""
    term: str
    """The term of the loss that decides which weights are the best."""
    keep: Callable[[Validated], object]
    """Called where the loss is the lowest so far."""
    log: Callable[[Validated], object]
    """Called every time, after ``keep``."""
    patience: int = 0
    """The loop ends after so many intervals without a better loss; 0 = never."""


@dataclass(frozen=True)
class Loop:
    """One phase of training."""

    name: str
    steps: int
    """Of the whole phase."""
    batch: int
    """Examples a step."""
    step: Step
    batches: Callable[[int], Iterator[NamedBatch]]
    """All batches after so many steps, without end; runs on a thread of its own."""
    key: jax.Array
    """Of everything random in the phase."""
    log: Callable[[int, dict[str, float], float], object]
    """Called after every step: steps done, metrics, seconds that the step took."""
    remedy: str
    """What to do where a loss stops being finite."""
    place: Callable[[TrainState], TrainState] = lambda state: jax.device_put(
        jax.tree.map(np.array, jax.device_get(state))
    )
    """Puts a state where the step takes it; copied, since the step may donate it."""
    begin: Callable[[int], object] = lambda done: None
    """Called with the number of steps done before the first of this call."""
    validation: Validation | None = None
    checkpoints: Path | None = None
    """Folder of the checkpoints of this phase; None: nothing is written."""
    checkpoint_steps: int = 0
    """Between checkpoints besides those of the validations; 0 = only those."""
    title: str = ""
    """Of the progress bar; empty: the name."""
    quiet: bool = False
    """No progress bar."""


def run_loop(loop: Loop, fresh: TrainState) -> tuple[TrainState, PhaseProgress]:
    """Trains from the latest checkpoint, or from the beginning, to the end of a phase.

    Args:
        loop: the phase.
        fresh: state before its first step.

    Returns:
        The state after the last step, and how the validations went.

    Raises:
        NotFiniteError: a loss or a gradient stopped being finite; where there are checkpoints, one
            holds the state before that step.
        CheckpointError: the latest checkpoint does not fit or is damaged.
    """
    with ExitStack() as open_until_the_end:
        opened = open_until_the_end.enter_context
        checkpoints = loop.checkpoints and opened(closing(Checkpoints(loop.checkpoints)))
        state, progress = checkpoints.latest(fresh) if checkpoints else (fresh, PhaseProgress())
        done = int(state.step)
        if _is_over(loop, done, progress):
            return state, progress
        loop.begin(done)
        validation = loop.validation
        held_out = list(validation.batches()) if validation else []
        state = loop.place(state)
        coming = itertools.islice(loop.batches(done), loop.steps - done)
        batches = opened(closing(Prefetched(coming)))
        bar = opened(_bar(loop, done))
        best = ""
        while not _is_over(loop, done, progress):
            batch, names = next(batches)
            started = time.perf_counter()
            state, metrics = loop.step(state, batch, loop.key)
            values = {name: float(value) for name, value in metrics.items()}
            if not all(map(math.isfinite, values.values())):
                if checkpoints:
                    checkpoints.save(state, progress)
                raise _not_finite(loop, done + 1, values, names)
            done += 1
            loop.log(done, values, time.perf_counter() - started)
            terms = " ".join(f"{name} {values[name]:.4g}" for name in _SHOWN if values.get(name))
            bar.set_postfix_str(terms + best, refresh=False)
            bar.update(loop.batch)
            if validation and (done % validation.interval_steps == 0 or done == loop.steps):
                found = _validated(validation, loop.key, state, progress, held_out)
                progress = found.progress
                if checkpoints:
                    checkpoints.save(found.state, progress, found.loss)
                validation.log(found)
                best = f" | valid {found.loss:.4g} best {progress.best_loss:.4g}"
            elif checkpoints and loop.checkpoint_steps and done % loop.checkpoint_steps == 0:
                checkpoints.save(state, progress)
        return state, progress


def _is_over(loop: Loop, done: int, progress: PhaseProgress) -> bool:
    """Whether all steps are done, or the last validations brought nothing."""
    patience = loop.validation.patience if loop.validation else 0
    stale = patience and progress.epoch - progress.best_epoch >= patience
    return done >= loop.steps or bool(stale)


def _validated(
    validation: Validation,
    key: jax.Array,
    state: TrainState,
    progress: PhaseProgress,
    batches: list[tuple[int, Any]],
) -> Validated:
    """Mean losses over the validation set; the state is kept where it is the best so far."""
    host = jax.tree.map(np.asarray, jax.device_get(state))
    variables = {"params": host.params, "batch_stats": host.batch_stats}
    sums: dict[str, float] = {}
    count = 0
    for first, batch in batches:
        examples = len(jax.tree.leaves(batch)[0])
        count += examples
        terms = _validation_terms(validation.objective, variables, batch, key, first)
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + float(value) * examples
    means = {name: total / count for name, total in sums.items()}
    loss = means[validation.term]
    progress = progress._replace(epoch=progress.epoch + 1)
    is_best = loss < progress.best_loss
    if is_best:
        progress = progress._replace(best_loss=loss, best_epoch=progress.epoch)
    found = Validated(host, progress, means, loss, batches[0][1])
    if is_best:
        validation.keep(found)
    return found


@partial(jax.jit, static_argnames="objective")
def _validation_terms(
    objective: Objective, variables: Variables, batch: Any, key: jax.Array, first: jax.Array
) -> Metrics:
    """Loss terms of a batch; what is random in an excerpt is always the same."""
    return objective(variables, batch, key, first, False).terms


def _not_finite(
    loop: Loop, step: int, values: Mapping[str, float], names: tuple[str, ...]
) -> NotFiniteError:
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    # The terms say more than their sum.
    terms = [name for name in wrong if name != "total"] or wrong
    batch = f"; batch: {'; '.join(names)}" if names else ""
    message = f"step {step} of {loop.name}: {', '.join(terms)} not finite{batch}"
    return NotFiniteError(message, loop.remedy)


def _bar(loop: Loop, done: int) -> tqdm:
    """Progress in examples."""
    return tqdm(
        total=loop.steps * loop.batch,
        initial=done * loop.batch,
        desc=loop.title or loop.name,
        unit="ex",
        unit_scale=True,
        disable=loop.quiet,
    )
