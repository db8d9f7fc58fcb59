"""Several devices and several processes do what one device does on the whole batch."""

import os
import socket
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
from comparison import relative_error
from places import HELPERS

from umss_jax.errors import DeviceError
from umss_jax.train.config import Parallel
from umss_jax.train.objectives import Batch
from umss_jax.train.sharding import ParallelStep, start_hosts
from umss_jax.train.step import TrainState

SCRIPT = HELPERS / "parallel_steps.py"


def start(out, specifications, **environment):
    cache = str(jax.config.jax_compilation_cache_dir)
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(out), *specifications],
        env={**os.environ, "JAX_CACHE": cache, "JAX_PLATFORMS": "cpu", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    _, error = process.communicate(timeout=600)
    assert process.returncode == 0, error


# The code of such a small model takes much longer to compile than to run.
FLAGS = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"


def on_four_devices(out, *runs):
    """What one process with four forced devices gives, of which each run takes some."""
    finish(start(out, ["pmap:1", *runs], XLA_FLAGS=FLAGS))
    return dict(np.load(out))


def check_equal(run, results, reference):
    totals, moved = (reference[f"pmap:1 {quantity}"] for quantity in ("totals", "moved"))
    assert relative_error(results[f"{run} totals"], totals) < 1e-4, run
    # Movement, not parameters: a gradient twice too large would hide in the parameters.
    assert relative_error(results[f"{run} moved"], moved) < 1e-4, run
    assert np.linalg.norm(moved) > 0.01


def test_two_devices_equal_one(tmp_path):
    results = on_four_devices(tmp_path / "out.npz", "pmap:2")
    check_equal("pmap:2", results, results)


@pytest.mark.slow
def test_however_mapped_several_devices_equal_one(tmp_path):
    runs = ["pmap:4", "shard_map:2", "shard_map:4"]
    results = on_four_devices(tmp_path / "out.npz", *runs)
    for run in runs:
        check_equal(run, results, results)


@pytest.mark.slow
@pytest.mark.parametrize("method", list(Parallel))
def test_two_processes_equal_one_device(tmp_path, method):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outs = [tmp_path / f"{number}.npz" for number in range(2)]
    hosts = [f"127.0.0.1:{port},2,{number}" for number in range(2)]
    run = f"{method}:all"
    processes = [
        start(out, [run], UMSS_JAX_HOSTS=host) for out, host in zip(outs, hosts, strict=True)
    ]
    for process in processes:
        finish(process)
    reference = on_four_devices(tmp_path / "one.npz")
    for out in outs:
        check_equal(run, np.load(out), reference)


def test_a_placed_state_is_a_copy():
    """The step donates it, and the caller's must outlive that."""
    params = {"decoder": {"kernel": np.ones(3, np.float32)}}
    given = TrainState(np.int32(0), params, {}, optax.EmptyState())
    placed = ParallelStep(optax.sgd(1.0), ("decoder",)).place(given)
    params["decoder"]["kernel"][:] = 2
    np.testing.assert_array_equal(placed.params["decoder"]["kernel"], 1)


def test_a_share_must_be_divisible():
    step = ParallelStep(optax.sgd(1.0), ("decoder",), devices=jax.devices() * 2)
    batch = Batch(mixture=np.zeros((3, 256), np.float32))
    with pytest.raises(DeviceError, match="a batch of 3 cannot be divided by 2 devices"):
        step(None, batch, None)


def test_hosts_that_cannot_be_read(monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOSTS", "somewhere")
    with pytest.raises(DeviceError, match="ADDRESS:PORT,PROCESSES,NUMBER"):
        start_hosts()
    monkeypatch.setenv("UMSS_JAX_HOSTS", "")
    start_hosts()
