"""What another device costs: the same work on each of 1, 2 and 4 forced CPU devices, on one core.

    python -m experiments.weak_scaling [--devices 1 2 4] [--hosts 2] [--steps 20] [--out FILE.json]

All devices share one core, so that n of them need n times as long as one; what they need beyond
that is the cost of dividing a step: launching it on each, averaging gradients, and in several
processes (``--hosts``, joined by ``jax.distributed`` on this machine) bringing them from one to the
other. The model is UMSS with small networks; one example a device. Medians of all steps after the
first three.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("pmap", "shard_map")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints a table, and keeps the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--hosts", type=int, default=2, help="processes; 1: no such rows")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        print(json.dumps(_measure(json.loads(given.child))))
        return 0
    rows = []
    for method in METHODS:
        for devices in given.devices:
            rows.append(_row(given, method, devices, 1))
        if given.hosts > 1:
            rows.append(_row(given, method, 1, given.hosts))
    for row in rows:
        count = row["devices"] * row["hosts"]
        alone = [one for one in rows if one["devices"] * one["hosts"] == 1]
        one_s = min((one["step_s"] for one in alone), default=float("nan"))
        row["overhead_s_per_device"] = row["step_s"] / count - one_s
    print("| method | hosts | devices of each | ms a step | overhead ms a device |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        figures = f"{1e3 * row['step_s']:.1f} | {1e3 * row['overhead_s_per_device']:.2f}"
        print(f"| {row['method']} | {row['hosts']} | {row['devices']} | {figures} |")
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def _row(given: argparse.Namespace, method: str, devices: int, hosts: int) -> dict[str, Any]:
    """One measurement, in processes of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    asked = {"method": method, "devices": devices, "hosts": hosts, "steps": given.steps}
    asked |= {"core": given.core}
    processes = []
    for number in range(hosts):
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": os.pathsep.join(
                filter(None, (str(ROOT), os.environ.get("PYTHONPATH", "")))
            ),
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} "
            "--xla_cpu_multi_thread_eigen=false",
            "UMSS_JAX_HOSTS": f"127.0.0.1:{port},{hosts},{number}" if hosts > 1 else "",
        }
        command = [sys.executable, "-m", "experiments.weak_scaling", "--child", json.dumps(asked)]
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        )
    found = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"{asked}: a process failed")
    return {**asked, **json.loads(found[0].splitlines()[-1])}


def _measure(asked: dict[str, Any]) -> dict[str, Any]:
    """In a process of its own: seconds a step."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {asked["core"]})
    import jax

    from experiments.device_setting import Setting, known_f0, seeded_variables, sung
    from umss_jax.train.config import Parallel
    from umss_jax.train.objectives import Batch
    from umss_jax.train.optimiser import make_optimiser
    from umss_jax.train.sharding import ParallelStep, start_hosts
    from umss_jax.train.step import init_state
    from umss_jax.train.strategies import STRATEGIES

    start_hosts()
    setting, chosen = Setting(True, Path()), STRATEGIES["umss"]
    optimiser = make_optimiser(chosen.trainable)
    variables = seeded_variables(setting.model, chosen.trainable)
    method = Parallel(asked["method"])
    step = ParallelStep(optimiser, chosen.trainable, setting.model, setting.loss(chosen), method)
    examples = step.devices.count
    rows = list(step.devices.rows(examples))
    whole = sung(examples, setting.samples), known_f0(examples, setting.samples)
    batch: Any = step.devices.put(Batch(*(one[rows] for one in whole)), examples)
    state, key = step.devices.place((init_state(variables, optimiser), jax.random.key(0)))
    seconds = []
    for _ in range(3 + asked["steps"]):
        started = time.perf_counter()
        state, metrics = step(state, batch, key)
        jax.block_until_ready(metrics.array)
        seconds.append(time.perf_counter() - started)
    counted = seconds[3:]
    spread = [min(counted), max(counted)]
    return {"step_s": statistics.median(counted), "step_s_spread": spread}


if __name__ == "__main__":
    sys.exit(main())
