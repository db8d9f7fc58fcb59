"""The loss over examples that are held out, divided over all devices as training batches are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from umss_jax.interruption import checked
from umss_jax.train.objectives import LossInput, Objective, unpadded
from umss_jax.train.sharding import Devices
from umss_jax.train.step import Scalars, TrainState


class _Begin(NamedTuple):
    """What differs from batch to batch besides its examples."""

    key: jax.Array
    first: Any
    """Number of the first example."""


class HeldOut:
    """A validation set in batches of one size, of which the last is filled up.

    Args:
        devices: that the batches are divided over.
        objective: of one device's share.
        examples: of the set.
        batch: of a batch, at most; a smaller set is one batch.
        batches: this host's rows of each, NumPy; all are taken at once.
    """

    def __init__(
        self,
        devices: Devices,
        objective: Objective,
        examples: int,
        batch: int,
        batches: Iterator[Any],
    ) -> None:
        self._devices, self._size = devices, min(batch, examples)
        counts = [min(batch, examples - first) for first in range(0, examples, batch)]
        # Of one structure, or another program would be compiled for the last one.
        self._fills = any(devices.whole(self._size) != count for count in counts)
        self._batches = list(zip(counts, checked(batches), strict=True))
        self._terms = devices.mapped(_terms_of(objective, devices.axis))

    @property
    def first(self) -> Any:
        """This host's rows of the first batch, NumPy."""
        return self._batches[0][1]

    def means(self, state: TrainState, key: jax.Array) -> dict[str, float]:
        """Mean of every term over the set; state and key lie on the devices."""
        found: list[Scalars] = []
        first = 0
        for count, rows in checked(self._batches):
            begin = _Begin(key, self._devices.place(np.int32(first)))
            batch = self._devices.put(rows, count, self._size, self._fills)
            # Two on the devices at a time.
            jax.block_until_ready(found[-2:-1])
            found.append(self._terms((state.params, state.batch_stats), batch, begin))
            first += count
        rows_of_terms = jax.device_get([terms.array for terms in found])
        sums: dict[str, float] = {}
        for (count, _), row in zip(self._batches, rows_of_terms, strict=True):
            for name, value in zip(found[0].names, row, strict=True):
                sums[name] = sums.get(name, 0.0) + float(value) * count
        return {name: total / first for name, total in sums.items()}


def _terms_of(objective: Objective, axis: str | None) -> Any:
    """The function that devices run on their share of a batch."""

    def terms(variables: tuple[Any, Any], batch: Any, begin: _Begin) -> Scalars:
        examples, weights = unpadded(batch)
        first = begin.first
        if axis is not None:
            first = first + jax.lax.axis_index(axis) * len(jax.tree.leaves(batch)[0])
        named = {"params": variables[0], "batch_stats": variables[1]}
        given = LossInput(named, examples, begin.key, first, train=False, weights=weights)
        found = objective(given).terms
        return Scalars.of(found if axis is None else jax.lax.pmean(found, axis))

    return terms
