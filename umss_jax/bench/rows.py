"""What one measurement is reported as: a JSON object that says what it was measured on."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from umss_jax.bench.ceilings import Ceilings
from umss_jax.bench.machine import commit, described, device_label, peak_memory_bytes
from umss_jax.bench.timing import Timing
from umss_jax.config import Compute
from umss_jax.train.config import Parallel

Row = dict[str, Any]
"""One measurement; see :func:`row`."""


class Setup(NamedTuple):
    """How strategies run."""

    devices: int = 1
    """That a batch of a training strategy is divided over."""
    parallel: Parallel = Parallel.PMAP
    """How, where there are several."""
    compute: Compute = Compute.FLOAT32
    """In what convolutions and dense layers multiply."""


ONE_DEVICE = Setup()


class Measured(NamedTuple):
    """Of one strategy or stage."""

    timing: Timing
    products: float = 0.0
    """Floating-point operations of a call, as the code runs them."""
    products_direct: float = 0.0
    """With every convolution done directly."""
    program_bytes: int | None = None
    """Arguments, results and working memory of the program, by the compiler; None: not known."""


def row(
    strategy: str,
    stage: str,
    batch: int,
    seconds: float,
    measured: Measured,
    setup: Setup = ONE_DEVICE,
) -> Row:
    """One JSON object; the ceilings are filled in by whoever measured them.

    ``gflop_per_example`` counts matrix products and convolutions as the code runs them, and is
    what the floor is made of; ``gflop_direct_per_example`` counts them with every convolution done
    directly. ``peak_memory_bytes`` is the process's, on an accelerator its allocator's;
    ``program_memory_bytes`` is what the compiler says that the program takes on each device.
    """
    timing, gflop = measured.timing, measured.products / batch / 1e9
    return {
        "strategy": strategy,
        "stage": stage,
        "batch": batch,
        "seconds": seconds,
        "devices": setup.devices,
        "parallel": str(setup.parallel) if setup.devices > 1 else None,
        "compute": str(setup.compute),
        "step_s": timing.step_s,
        "step_s_spread": list(timing.step_s_spread),
        "processor_s": timing.processor_s,
        "seconds_per_example": timing.step_s / batch,
        "examples_per_second": batch / timing.step_s,
        "gflop_per_example": gflop,
        "gflop_direct_per_example": measured.products_direct / batch / 1e9,
        "achieved_gflops": gflop * batch / timing.step_s,
        **Ceilings().in_rows(),
        "peak_memory_bytes": peak_memory_bytes(),
        "program_memory_bytes": measured.program_bytes,
        "compile_s": timing.compile_s,
        "device": device_label(setup.devices),
        **described(),
        "commit": commit(),
    }


def program_bytes(program: Any) -> int | None:
    """What a compiled program takes while it runs, by its compiler; None where that is silent."""
    try:
        memory = program.memory_analysis()
    except (AttributeError, NotImplementedError, jax.errors.JaxRuntimeError):
        return None
    if memory is None:
        return None
    taken = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return int(taken + memory.temp_size_in_bytes - memory.alias_size_in_bytes)
