"""Data parallelism: one per-device function, mapped over all devices of all hosts.

Each device gets an equal share of the batch and the whole state; gradients are averaged, so that
the result is that of one device on the whole batch. A batch that the devices do not divide is
filled up with examples of weight 0. Two ways of mapping the same function: `pmap`, the default, and
`shard_map` under `jit`. With one device there is nothing to map, and both are `jit`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from umss_jax.accelerators import preferred_device
from umss_jax.config import ModelConfig
from umss_jax.device import compile_at_first_call
from umss_jax.errors import DeviceError
from umss_jax.train.config import LossConfig, Parallel
from umss_jax.train.objectives import Objective, Padded, objective_for
from umss_jax.train.step import Scalars, TrainState, step_body

AXIS = "data"

_Tree = TypeVar("_Tree")


class Devices:
    """The devices that a batch is divided over, and how it comes to lie on them.

    They are those given, in their order; by default the one that JAX prefers.
    """

    def __init__(
        self, devices: Sequence[jax.Device] | None = None, method: Parallel = Parallel.PMAP
    ) -> None:
        self._devices = list(devices or [preferred_device()])
        hosts = [one.process_index for one in self._devices]
        self._local_count = hosts.count(jax.process_index())
        self._before = hosts.index(jax.process_index()) if self._local_count else 0
        self._method = Parallel(method)
        self._mesh = Mesh(np.asarray(self._devices), (AXIS,))
        self._replicated: Sharding = NamedSharding(self._mesh, PartitionSpec())
        self._divided: Sharding = NamedSharding(self._mesh, PartitionSpec(AXIS))
        if self.count == 1:
            self._replicated = self._divided = SingleDeviceSharding(self._devices[0])

    @property
    def count(self) -> int:
        """Of all hosts."""
        return len(self._devices)

    @property
    def axis(self) -> str | None:
        """Name of the mapped axis; None where there is one device."""
        return AXIS if self.count > 1 else None

    def whole(self, examples: int) -> int:
        """Examples in a batch of so many after it is filled up."""
        return -(-examples // self.count) * self.count

    def rows(self, examples: int, size: int | None = None) -> range:
        """Which of a batch's examples this host brings to :meth:`put`; at least one.

        ``size`` as there. Hosts are in the order of their numbers.
        """
        share = self.whole(size or examples) // self.count
        first = min(self._before * share, examples - 1)
        return range(first, max(first + 1, min(first + self._local_count * share, examples)))

    def put(self, batch: Any, examples: int, size: int | None = None, fill: bool = False) -> Any:
        """This host's rows of a batch on its devices, as mapped functions take them.

        Args:
            batch: NumPy, the examples that :meth:`rows` names.
            examples: of the batch, over all hosts.
            size: fills up to what a batch of this size is filled up to, so that nothing is compiled
                for a shorter one.
            fill: :class:`~umss_jax.train.objectives.Padded` even where nothing is missing.
        """
        whole = self.whole(size or examples)
        share = whole // self.count
        if fill or whole != examples:
            numbers = self._before * share + np.arange(self._local_count * share)
            weights = np.where(numbers < examples, whole / examples, 0).astype(np.float32)
            batch = Padded(jax.tree.map(lambda x: _filled(x, len(weights)), batch), weights)
        return jax.tree.map(lambda x: self._put(x, share), batch)

    def place(self, tree: _Tree) -> _Tree:
        """The same on every device; copied, since a step may donate it.

        What each host gives must be equal.
        """

        def put(leaf: Any) -> jax.Array:
            if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                data = put(jax.random.key_data(leaf))
                return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
            copied = np.array(jax.device_get(leaf))
            return jax.make_array_from_process_local_data(self._replicated, copied)

        placed: _Tree = jax.tree.map(put, tree)
        return placed

    def mapped(self, function: Callable[..., Any], donate: bool = False) -> Callable[..., Any]:
        """A function of a tree of :meth:`place`, a batch of :meth:`put`, and another of the first.

        On several devices it runs with their share of the batch on each, under the name of
        :attr:`axis`, and its results must be equal on all. All calls need the shapes of the first.
        ``donate`` gives up the first argument.
        """
        donated = (0,) if donate else ()
        if self.count == 1:
            return compile_at_first_call(jax.jit(function, donate_argnums=donated))
        if self._method is Parallel.PMAP:
            return jax.pmap(
                function,
                AXIS,
                in_axes=(None, 0, None),
                out_axes=None,
                devices=None if jax.process_count() > 1 else self._devices,
                donate_argnums=donated,
            )
        # check_vma would insert a second sum over devices into the gradients.
        mapped = jax.shard_map(
            function,
            mesh=self._mesh,
            in_specs=(PartitionSpec(), PartitionSpec(AXIS), PartitionSpec()),
            out_specs=PartitionSpec(),
            check_vma=False,
        )
        return jax.jit(mapped, donate_argnums=donated)

    def _put(self, leaf: Any, share: int) -> jax.Array:
        rows = np.asarray(leaf)
        if self.count > 1 and self._method is Parallel.PMAP:
            rows = rows.reshape(self._local_count, share, *rows.shape[1:])
        return jax.make_array_from_process_local_data(self._divided, rows)


def _filled(leaf: Any, rows: int) -> np.ndarray:
    """Rows with the last one repeated: real sound, of which no term can be no number."""
    array = np.asarray(leaf)
    return array[np.minimum(np.arange(rows), len(array) - 1)]


class ParallelStep:
    """The step of :func:`umss_jax.train.step.make_train_step` on every device of every host.

    ``devices`` are all of them by default, and of several hosts always all; ``rate`` as for
    :func:`umss_jax.train.step.step_body`.
    """

    def __init__(
        self,
        optimiser: optax.GradientTransformation,
        trainable: tuple[str, ...],
        model: ModelConfig = ModelConfig(),
        loss: LossConfig = LossConfig(),
        method: Parallel = Parallel.PMAP,
        devices: Sequence[jax.Device] | None = None,
        rate: optax.ScalarOrSchedule | None = None,
    ) -> None:
        self.devices = Devices(devices or jax.devices(), method)
        axis = self.devices.axis
        self.objective: Objective = objective_for(trainable, model, loss, axis)
        """Of one device's share."""
        body = step_body(self.objective, optimiser, trainable, axis, rate)
        self._step = self.devices.mapped(body, donate=True)

    def __call__(self, state: TrainState, batch: Any, key: jax.Array) -> tuple[TrainState, Scalars]:
        """One step; all calls need the shapes of the first.

        Args:
            state: from :meth:`Devices.place` or the step before; not to be used again.
            batch: from :meth:`Devices.put`.
            key: of the run, from :meth:`Devices.place`.
        """
        result: tuple[TrainState, Scalars] = self._step(state, batch, key)
        return result


def start_hosts() -> None:
    """Joins the processes of a run over several hosts, before JAX is used otherwise.

    Where a cluster's scheduler is known to JAX it needs ``UMSS_JAX_HOSTS=auto``; elsewhere
    ``UMSS_JAX_HOSTS=<address:port of the first>,<number of processes>,<number of this one>``.
    Without the variable there is one process.

    Raises:
        DeviceError: the variable cannot be read.
    """
    text = os.environ.get("UMSS_JAX_HOSTS", "")
    if not text:
        return
    if text == "auto":
        jax.distributed.initialize()
        return
    try:
        address, count, number = text.split(",")
        jax.distributed.initialize(address, int(count), int(number))
    except ValueError as error:
        raise DeviceError(
            f"UMSS_JAX_HOSTS is {text!r}", "write ADDRESS:PORT,PROCESSES,NUMBER or auto"
        ) from error
