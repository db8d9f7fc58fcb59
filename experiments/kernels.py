"""What each program becomes on a GPU or a TPU, without one: kernels, memory, seconds to compile.

Source:   none; kernels and loops of what XLA compiles for an H100, or an estimate before it does.
Command:  python -m experiments.kernels "train umss" separation …
          python -m experiments.kernels --compile "train umss" …
          python -m experiments.kernels --compile --for v5e "train umss" …
Duration: some seconds a program, with --compile one to two minutes.
Score:    benchmarks/README.md beside this file.

--compile needs pip install "jax-cuda13-plugin[with-cuda]" of JAX's version, or for a TPU the libtpu
that "jax[tpu]" names, best into a virtual environment of its own. Without NVIDIA's driver,
JAX_SKIP_CUDA_CONSTRAINTS_CHECK=1 and JAX_PLATFORMS= must be in the environment as well; without a
TPU JAX_PLATFORMS=cpu. JAX_EXEC_TIME_OPTIMIZATION_EFFORT=-1 has XLA search less for fast programs.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from umss_jax.bench.absent_devices import compile_for, lower_for
from umss_jax.bench.kernels import KernelCount, count_kernels, estimate_kernels
from umss_jax.bench.programs import program, program_names

_NAMES = "Programs; all training steps."
_DEVICE = "h100 or v5e (a TPU), to compile for."


def main(
    names: Annotated[list[str] | None, typer.Argument(help=_NAMES)] = None,
    batch: Annotated[int, typer.Option("--batch")] = 15,
    compiled: Annotated[bool, typer.Option("--compile/--lower")] = False,
    device: Annotated[str, typer.Option("--for", help=_DEVICE)] = "h100",
) -> None:
    """Print kernels in all, outside of loops, and of every loop: how often × how many."""
    for name in names or [name for name in program_names() if name.startswith("train")]:
        chosen = program(name, batch)
        started, busy = time.perf_counter(), time.process_time()
        if compiled:
            found = _of_compiled(compile_for(device, *chosen), device)
        else:
            found = _kernels(estimate_kernels(lower_for("cuda", *chosen).compiler_ir("stablehlo")))
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
        print(f"{name}: {found}\n  after {seconds:.0f} s, {busy:.0f} of processor time", flush=True)


def _of_compiled(compiled: Any, device: str) -> str:
    """What a program takes; kernels on a GPU alone, since a TPU launches none."""
    memory = f"{compiled.memory_analysis().temp_size_in_bytes / 1e9:.2f} GB beside the arguments"
    if device != "h100":
        return memory
    return f"{_kernels(count_kernels(compiled.as_text()))}; {memory}"


def _kernels(counted: KernelCount) -> str:
    loops = ", ".join(f"{loop.trips} × {loop.kernels}" for loop in counted.loops)
    return f"{counted.total} kernels, {counted.outside} outside of loops; {loops}"


if __name__ == "__main__":
    typer.run(main)
