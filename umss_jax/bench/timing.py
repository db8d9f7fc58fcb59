"""Wall-clock and processor time of a call that compiles the first time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from umss_jax.interruption import check


class Timing(NamedTuple):
    """Of one call."""

    compile_s: float
    """Tracing and compiling; where both are part of the first call, that less the median."""
    step_s: float
    """Median."""
    step_s_spread: tuple[float, float]
    """Shortest and longest."""
    processor_s: float
    """Median of the processor time of all threads: much less than cores · ``step_s`` says that
    the machine had other work, or that the stage left cores idle."""


def measure(call: Callable[[], Any], repeats: int, budget_s: float = 15.0) -> Timing:
    """Times a call that compiles the first time.

    Args:
        call: returns arrays, which are waited for.
        repeats: counted calls, after one for compilation and one to warm up.
        budget_s: no further call is begun once the calls after the first have taken this long; if
            there was time for none after the one to warm up, that one counts.
    """

    def timed() -> tuple[float, float]:
        check()
        started, processor = time.perf_counter(), time.process_time()
        jax.block_until_ready(call())
        return time.perf_counter() - started, time.process_time() - processor

    first, _ = timed()
    calls: list[tuple[float, float]] = []
    while len(calls) <= repeats and sum(wall for wall, _ in calls) < budget_s:
        calls.append(timed())
    counted = np.array(calls[1:] or calls)
    wall, processor = np.median(counted, axis=0)
    spread = float(counted[:, 0].min()), float(counted[:, 0].max())
    return Timing(max(first - float(wall), 0.0), float(wall), spread, float(processor))
