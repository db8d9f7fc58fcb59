"""How many kernels each program launches on a GPU, without one.

Source:   none; kernels and loops of what XLA compiles for an H100, or an estimate before it does.
Command:  python -m experiments.kernels "train umss" separation …
          python -m experiments.kernels --compile "train umss" …
Duration: some seconds a program, with --compile one to two minutes.
Score:    benchmarks/README.md beside this file.

--compile needs pip install "jax-cuda13-plugin[with-cuda]" of JAX's version, best into a virtual
environment of its own; without a driver, JAX_SKIP_CUDA_CONSTRAINTS_CHECK=1 and JAX_PLATFORMS= in
the environment as well.
"""

from __future__ import annotations

import time
from typing import Annotated

import typer

from umss_jax.bench.kernels import compile_for_gpu, count_kernels, estimate_kernels, lower_for
from umss_jax.bench.programs import program, program_names


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Programs; all training steps.")] = None,
    batch: Annotated[int, typer.Option("--batch")] = 15,
    compiled: Annotated[bool, typer.Option("--compile/--lower")] = False,
) -> None:
    """Print kernels in all, outside of loops, and of every loop: how often × how many."""
    for name in names or [name for name in program_names() if name.startswith("train")]:
        chosen = program(name, batch)
        started = time.perf_counter()
        if compiled:
            counted = count_kernels(compile_for_gpu(*chosen).as_text())
        else:
            counted = estimate_kernels(lower_for("cuda", *chosen).compiler_ir("stablehlo"))
        seconds = time.perf_counter() - started
        loops = ", ".join(f"{loop.trips} × {loop.kernels}" for loop in counted.loops)
        print(f"{name}: {counted.total} kernels, {counted.outside} outside of loops; {loops}")
        print(f"  after {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    typer.run(main)
