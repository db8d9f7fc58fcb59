"""Data parallelism: one per-device step, mapped over all devices of all hosts.

Each device gets an equal share of the batch and the whole state; gradients are averaged, so that
the result is that of one device on the whole batch. Two ways of mapping the same step: `pmap`, the
default, and `shard_map` under `jit`. With one device there is nothing to map, and both are `jit`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from umss_jax.config import ModelConfig
from umss_jax.device import compile_at_first_call
from umss_jax.errors import DeviceError
from umss_jax.train.config import LossConfig, Parallel
from umss_jax.train.objectives import Batch, Metrics, objective_for
from umss_jax.train.step import TrainState, make_train_step, step_body

_AXIS = "data"


class ParallelStep:
    """The step of :func:`umss_jax.train.step.make_train_step` on every device of every host.

    ``devices`` are all of them by default, and of several hosts always all.
    """

    def __init__(
        self,
        optimiser: optax.GradientTransformation,
        trainable: tuple[str, ...],
        model: ModelConfig = ModelConfig(),
        loss: LossConfig = LossConfig(),
        method: Parallel = Parallel.PMAP,
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        self._devices = list(devices if devices is not None else jax.devices())
        hosts = [one.process_index for one in self._devices]
        self._local_count = hosts.count(jax.process_index())
        self._method = Parallel(method)
        self._mesh = Mesh(np.asarray(self._devices), (_AXIS,))
        self._step: Callable[..., tuple[TrainState, Metrics]]
        if len(self._devices) == 1:
            self._step = compile_at_first_call(make_train_step(optimiser, trainable, model, loss))
            return
        body = step_body(objective_for(trainable, model, loss, _AXIS), optimiser, trainable, _AXIS)
        if self._method is Parallel.PMAP:
            self._step = jax.pmap(
                body,
                _AXIS,
                in_axes=(None, 0, None),
                out_axes=None,
                devices=None if jax.process_count() > 1 else self._devices,
            )
        else:
            # check_vma would insert a second sum over devices into the gradients.
            mapped = jax.shard_map(
                body,
                mesh=self._mesh,
                in_specs=(PartitionSpec(), PartitionSpec(_AXIS), PartitionSpec()),
                out_specs=PartitionSpec(),
                check_vma=False,
            )
            self._step = jax.jit(mapped, donate_argnums=0)

    @property
    def device_count(self) -> int:
        """Of all hosts; a batch must be a multiple of it."""
        return len(self._devices)

    def place(self, state: TrainState) -> TrainState:
        """The state where the step wants it; copied, since the step may donate it."""
        host_state = jax.tree.map(np.array, jax.device_get(state))
        if len(self._devices) == 1:
            placed: TrainState = jax.device_put(host_state, self._devices[0])
            return placed
        if self._method is Parallel.PMAP:
            return host_state
        return self._put(host_state, PartitionSpec())

    def __call__(
        self, state: TrainState, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, Metrics]:
        """One step; all calls need the shapes of the first.

        Args:
            state: from :meth:`place` or the step before; not to be used again.
            batch: this host's share of the batch, NumPy; hosts are in the order of their numbers.
            rng: key of the run, the same on all hosts.

        Raises:
            DeviceError: the share is not a multiple of this host's devices.
        """
        if len(self._devices) == 1:
            return self._step(state, batch, rng)
        share, count = len(batch.mixture), self._local_count
        if share % count:
            raise DeviceError(
                f"a batch of {share} cannot be divided by {count} devices",
                f"choose a multiple of {count}",
            )
        if self._method is Parallel.PMAP:
            divided = jax.tree.map(
                lambda leaf: np.asarray(leaf).reshape(count, share // count, *leaf.shape[1:]), batch
            )
            return self._step(state, divided, rng)
        return self._step(state, self._put(batch, PartitionSpec(_AXIS)), rng)

    def _put(self, tree: Any, spec: PartitionSpec) -> Any:
        sharding = NamedSharding(self._mesh, spec)
        return jax.tree.map(
            lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree
        )


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
