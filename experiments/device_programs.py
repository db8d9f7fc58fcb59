"""Programs that the device check times: compiled ahead, measured, profiled, counted."""

from __future__ import annotations

import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from umss_jax.bench.rows import program_bytes

Found = dict[str, Any]
"""Part of a row."""


def about_device() -> Found:
    """Which device, and with what."""
    device = jax.devices()[0]
    limit = (device.memory_stats() or {}).get("bytes_limit")
    return {
        "device": f"{device.platform}: {device.device_kind}",
        "devices": jax.device_count(),
        "jax": jax.__version__,
        "memory_limit_bytes": limit,
    }


def on_cpu(function: Callable[..., Any], *arguments: Any) -> Any:
    """The value on the CPU, as NumPy."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        return jax.tree.map(np.asarray, jax.device_get(function(*arguments)))


def compiled(jitted: Any, *arguments: Any) -> tuple[Any, Found]:
    """A program, how long it took, and what memory it says that it needs."""
    started = time.perf_counter()
    program = jitted.lower(*arguments).compile()
    found: Found = {"compile_s": time.perf_counter() - started}
    taken = program_bytes(program)
    return program, found if taken is None else {**found, "program_bytes": taken}


def timed(call: Callable[[], Any], budget_s: float, least: int = 3, most: int = 30) -> Found:
    """Seconds a call: median, shortest and longest, after one to warm up."""
    jax.block_until_ready(call())
    seconds: list[float] = []
    started = time.perf_counter()
    while len(seconds) < least or (
        len(seconds) < most and time.perf_counter() - started < budget_s
    ):
        before = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - before)
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return {
        "step_s": statistics.median(seconds),
        "step_s_spread": [min(seconds), max(seconds)],
        "calls": len(seconds),
        "peak_memory_bytes": peak,
    }


def kernels(call: Callable[[], Any]) -> Found:
    """What the device did in one call: kernels by a profile, and their seconds."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            jax.block_until_ready(call())
        traces = list(Path(folder).rglob("perfetto_trace.json.gz"))
        if not traces:
            return {"kernels": None}
        with gzip.open(traces[0]) as file:
            return kernels_in(json.load(file))


def kernels_in(trace: Any) -> Found:
    """Complete events of the device's streams in a trace of Chrome's format."""
    events = trace["traceEvents"] if isinstance(trace, dict) else trace
    names, threads = {}, {}
    for event in events:
        if event.get("ph") != "M":
            continue
        if event.get("name") == "process_name":
            names[event["pid"]] = event["args"]["name"]
        elif event.get("name") == "thread_name":
            threads[event["pid"], event["tid"]] = event["args"]["name"]
    on_device = [
        event
        for event in events
        if event.get("ph") == "X"
        and "/device:" in names.get(event["pid"], "")
        and threads.get((event["pid"], event["tid"]), "").startswith("Stream")
    ]
    if not on_device:
        return {"kernels": None}
    busy_s = 1e-6 * sum(event.get("dur", 0) for event in on_device)
    by_name: dict[str, float] = {}
    for event in on_device:
        by_name[event["name"]] = by_name.get(event["name"], 0.0) + 1e-6 * event.get("dur", 0)
    longest = sorted(by_name.items(), key=lambda item: -item[1])[:8]
    return {"kernels": len(on_device), "kernel_s": busy_s, "longest_kernels_s": dict(longest)}


def with_default_precision(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """The function with every product and convolution in the device's own precision.

    On a GPU that is TF32, on a TPU bfloat16, whatever precision the code asks for. For arguments of
    these shapes; results come as a flat list.
    """
    closed = jax.make_jaxpr(function)(*arguments)
    inner = jaxpr_as_fun(ClosedJaxpr(_relaxed(closed.jaxpr), closed.consts))
    return lambda *given: inner(*jax.tree.leaves(given))


def _relaxed(jaxpr: Any) -> Any:
    def changed(value: Any) -> Any:
        if hasattr(value, "jaxpr") and hasattr(value, "consts"):
            return ClosedJaxpr(_relaxed(value.jaxpr), value.consts)
        if hasattr(value, "eqns"):
            return _relaxed(value)
        if isinstance(value, tuple | list):
            return type(value)(map(changed, value)) if type(value) in (tuple, list) else value
        return value

    equations = []
    for equation in jaxpr.eqns:
        params = {name: changed(value) for name, value in equation.params.items()}
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            params["precision"] = None
        equations.append(equation.replace(params=params))
    return jaxpr.replace(eqns=equations)
