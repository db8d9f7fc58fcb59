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
from umss_jax.train.sharding import Devices, start_hosts
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


def check_equal(run, results, reference, one="pmap:1"):
    totals, moved = (reference[f"{one} {quantity}"] for quantity in ("totals", "moved"))
    assert relative_error(results[f"{run} totals"], totals) < 1e-4, run
    # Movement, not parameters: a gradient twice too large would hide in the parameters.
    assert relative_error(results[f"{run} moved"], moved) < 1e-4, run
    assert np.linalg.norm(moved) > 0.01
    assert results[f"{run} compiled later"] == 0, run
    assert results[f"{run} valid"] == pytest.approx(reference[f"{one} valid"], rel=1e-4), run


def test_two_devices_equal_one(tmp_path):
    results = on_four_devices(tmp_path / "out.npz", "pmap:2")
    check_equal("pmap:2", results, results)


@pytest.mark.slow
def test_however_mapped_several_devices_equal_one(tmp_path):
    """Also where batches are filled up: three examples, or a validation of five by two or three."""
    runs = ["pmap:4", "shard_map:2", "shard_map:4"]
    filled, one = ["pmap:2:3:2", "shard_map:4:3:3"], "pmap:1:3:2"
    results = on_four_devices(tmp_path / "out.npz", one, *runs, *filled)
    for run in runs:
        check_equal(run, results, results)
    for run in filled:
        check_equal(run, results, results, one)
    assert results[f"{one} valid"] > 0
    assert relative_error(results[f"{one} moved"], results["pmap:1 moved"]) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("method", list(Parallel))
@pytest.mark.parametrize("examples", [4, 3, 1])
def test_two_processes_equal_one_device(tmp_path, method, examples):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outs = [tmp_path / f"{number}.npz" for number in range(2)]
    hosts = [f"127.0.0.1:{port},2,{number}" for number in range(2)]
    run, one = f"{method}:all:{examples}:3", f"pmap:1:{examples}:3"
    processes = [
        start(out, [run], UMSS_JAX_HOSTS=host) for out, host in zip(outs, hosts, strict=True)
    ]
    for process in processes:
        finish(process)
    reference = on_four_devices(tmp_path / "one.npz", one)
    for out in outs:
        check_equal(run, np.load(out), reference, one)


def test_a_placed_state_is_a_copy():
    """The step donates it, and the caller's must outlive that."""
    params = {"decoder": {"kernel": np.ones(3, np.float32)}}
    given = TrainState(np.int32(0), params, {}, optax.EmptyState())
    placed = Devices().place(given)
    params["decoder"]["kernel"][:] = 2
    np.testing.assert_array_equal(placed.params["decoder"]["kernel"], 1)


class Host(Devices):
    """One of several hosts with two devices each, of which only the arithmetic is asked."""

    def __init__(self, number, hosts=2):
        super().__init__(jax.devices())
        self._devices, self._local_count, self._before = [None] * 2 * hosts, 2, 2 * number

    def _put(self, leaf, share):
        return np.asarray(leaf)


@pytest.mark.parametrize("examples", range(1, 12))
@pytest.mark.parametrize("size", [None, 11])
def test_hosts_bring_every_example_once_and_copies_count_nothing(examples, size):
    values = 10.0 + np.arange(examples)
    means, brought, shapes = [], [], set()
    for number in range(2):
        host = Host(number)
        rows = host.rows(examples, size)
        put = host.put((values[list(rows)],), examples, size, fill=True)
        (there,), weights = put
        shapes.add((*there.shape, *weights.shape))
        brought += there[weights > 0].tolist()
        means.append(np.mean(there * weights))
    assert brought == values.tolist()
    assert np.mean(means) == pytest.approx(values.mean(), rel=1e-6)
    assert shapes == {(Host(0).whole(size or examples) // 2,) * 2}


def test_a_batch_that_the_devices_divide_stays_as_it_is():
    rows = np.arange(8.0)
    put = [Host(number).put((rows[list(Host(number).rows(8))],), 8) for number in range(2)]
    np.testing.assert_array_equal(np.concatenate([one for (one,) in put]), rows)


def test_hosts_that_cannot_be_read(monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOSTS", "somewhere")
    with pytest.raises(DeviceError, match="ADDRESS:PORT,PROCESSES,NUMBER"):
        start_hosts()
    monkeypatch.setenv("UMSS_JAX_HOSTS", "")
    start_hosts()
