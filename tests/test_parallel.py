"""Several devices and several processes do what one device does on the whole batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from conftest import relative_error

from umss_jax.config import Parallel
from umss_jax.errors import DeviceError
from umss_jax.parallel import ParallelStep, start_hosts
from umss_jax.training import Batch, TrainState

SCRIPT = Path(__file__).parent / "parallel_steps.py"


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


@pytest.fixture(scope="module")
def on_four_devices(tmp_path_factory):
    """One process with four forced devices, of which each run takes some."""
    out = tmp_path_factory.mktemp("parallel") / "out.npz"
    runs = ["pmap:1", "pmap:2", "pmap:4", "shard_map:2", "shard_map:4"]
    flags = "--xla_force_host_platform_device_count=4"
    finish(start(out, runs, XLA_FLAGS=flags))
    return dict(np.load(out))


def check_equal(run, totals, moved, reference):
    assert relative_error(totals, reference["pmap:1 totals"]) < 1e-4, run
    # Movement, not parameters: a gradient twice too large would hide in the parameters.
    assert relative_error(moved, reference["pmap:1 moved"]) < 1e-4, run


@pytest.mark.parametrize("run", ["pmap:2", "pmap:4", "shard_map:2", "shard_map:4"])
def test_several_devices_equal_one(on_four_devices, run):
    results = on_four_devices
    check_equal(run, results[f"{run} totals"], results[f"{run} moved"], results)
    assert np.linalg.norm(results[f"{run} moved"]) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("method", list(Parallel))
def test_two_processes_equal_one_device(on_four_devices, tmp_path, method):
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
    for out in outs:
        results = np.load(out)
        check_equal(run, results[f"{run} totals"], results[f"{run} moved"], on_four_devices)


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
