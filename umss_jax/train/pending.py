"""Steps that were sent to the devices, and what became of them.

The loop does not wait for a step before it sends the next one: that would leave the devices idle.
What the steps say of themselves stays on the devices until half a second's worth of it is fetched
in one go.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import jax
import numpy as np

from umss_jax.train.step import Scalars

INTERVAL_S = 0.5
"""Between two fetches; a step that takes longer is fetched when the next one was sent, and of
several hosts every one is."""


class StepDone(NamedTuple):
    """A step that is over."""

    number: int
    """From 1."""
    values: dict[str, float]
    seconds: float
    names: tuple[str, ...]
    """Of the examples of its batch."""

    @property
    def is_finite(self) -> bool:
        """Whether training may go on from it."""
        return all(map(math.isfinite, self.values.values()))


class _Sent(NamedTuple):
    number: int
    metrics: Scalars
    sent_s: float
    names: tuple[str, ...]


class Pending:
    """Steps whose metrics were not fetched yet, in order."""

    def __init__(self) -> None:
        self._sent: list[_Sent] = []
        self._over_s: list[float] = []  # when each of the first of them ended
        self._last_over_s = 0.0
        self._fetched_s = time.perf_counter()

    def add(self, number: int, metrics: Scalars, sent_s: float, names: tuple[str, ...]) -> None:
        """One more step was sent at a time of :func:`time.perf_counter`.

        Waits until those before it are over: two steps at once are enough to keep devices busy, and
        more would pile up batches on them.
        """
        self._wait(len(self._sent))
        self._sent.append(_Sent(number, metrics, sent_s, names))

    @property
    def is_due(self) -> bool:
        """Whether it is time to fetch what is over."""
        # Several hosts must learn of a step at the same moment, whatever their clocks say.
        interval_s = INTERVAL_S if jax.process_count() == 1 else 0.0
        return bool(self._over_s) and time.perf_counter() - self._fetched_s >= interval_s

    def fetch(self, wait: bool = False) -> list[StepDone]:
        """Those that are over, in one transfer; with ``wait`` all of them."""
        if wait:
            self._wait(len(self._sent))
        over = self._sent[: len(self._over_s)]
        values: list[np.ndarray] = jax.device_get([one.metrics.array for one in over])
        done = []
        for one, row, over_s in zip(over, values, self._over_s, strict=True):
            by_name = dict(zip(one.metrics.names, map(float, row), strict=True))
            seconds = over_s - max(one.sent_s, self._last_over_s)
            done.append(StepDone(one.number, by_name, seconds, one.names))
            self._last_over_s = over_s
        self._sent = self._sent[len(over) :]
        self._over_s = []
        self._fetched_s = time.perf_counter()
        return done

    def _wait(self, count: int) -> None:
        """Until the first so many are over."""
        for one in self._sent[len(self._over_s) : count]:
            jax.block_until_ready(one.metrics.array)
            self._over_s.append(time.perf_counter())
