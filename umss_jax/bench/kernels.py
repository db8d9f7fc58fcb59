"""How many kernels a program launches on a GPU, counted without one; loops as often as they run.

Counted exactly in what XLA compiles for an H100 (:func:`compile_for_gpu`, :func:`count_kernels`),
for which JAX's CUDA plugin must be installed, or estimated in the program as JAX lowers it for CUDA
(:func:`lower_for`, :func:`estimate_kernels`), for which nothing more is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from umss_jax.accelerators import tracing_for

_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (?:\(.*?\)|\S+) ([\w\-]+)\(")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CALLED = {
    "while": re.compile(r"body=%?([\w.\-]+)"),
    "call": re.compile(r"to_apply=%?([\w.\-]+)"),
}
_NO_KERNEL = re.compile(
    "add-dependency|after-all|async-done|async-update|bitcast|constant|copy-done|domain"
    "|get-tuple-element|opt-barrier|parameter|partition-id|replica-id|tuple"
)
_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84929347584 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 } registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 }
runtime_version { major: 13 minor: 0 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


_WORK = re.compile(
    r"stablehlo\.(convolution|custom_call|dot_general|fft|reduce|reduce_window|scatter|sort)"
)
"""What XLA does not fuse with its like."""


class Loop(NamedTuple):
    """A loop of a program."""

    name: str
    """What it comes from, as JAX names it."""
    trips: int
    """How often it runs in all, by the loops around it too."""
    kernels: int
    """Of one pass, without those of loops inside."""


class KernelCount(NamedTuple):
    """Kernels of one call of a program."""

    outside: int
    """Of all loops."""
    loops: tuple[Loop, ...]

    @property
    def total(self) -> int:
        """With loops as often as they run."""
        return self.outside + sum(loop.trips * loop.kernels for loop in self.loops)


def count_kernels(program: str) -> KernelCount:
    """Counts in the text of a program that XLA has compiled for a GPU.

    Every instruction that does work is taken for one kernel; what a library launches for one of its
    own is not known.

    Raises:
        ValueError: a loop does not say how often it runs.
    """
    computations, entry = _computations(program)
    loops: list[Loop] = []

    def visit(name: str, trips: int) -> int:
        kernels = 0
        for line in computations.get(name, ()):
            found = _INSTRUCTION.match(line)
            if not found or _NO_KERNEL.fullmatch(found[1]):
                continue
            if found[1] == "while":
                known = _TRIPS.search(line)
                if not known:
                    raise ValueError(f"a loop of unknown length: {line.strip()[:200]}")
                inner = trips * int(known[1])
                source = re.search(r'op_name="([^"]*)"', line)
                of_body = visit(_CALLED[found[1]].findall(line)[0], inner)
                loops.append(Loop(source[1] if source else "", inner, of_body))
            elif found[1] == "call":
                kernels += visit(_CALLED[found[1]].findall(line)[0], trips)
            else:
                kernels += 1
        return kernels

    outside = visit(entry, 1)
    return KernelCount(outside, tuple(loops))


def _computations(program: str) -> tuple[dict[str, list[str]], str]:
    """The lines of every computation by name, and the name of the first to run."""
    computations: dict[str, list[str]] = {}
    entry, lines = "", None
    for line in program.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            name = line.removeprefix("ENTRY ").removeprefix("%").split(" ", 1)[0]
            lines = computations.setdefault(name, [])
            entry = name if line.startswith("ENTRY ") else entry
        elif line.startswith("}"):
            lines = None
        elif lines is not None:
            lines.append(line)
    return computations, entry


def estimate_kernels(module: Any) -> KernelCount:
    """Estimates from a program as JAX lowers it (``lowered.compiler_ir("stablehlo")``).

    Products, convolutions, transforms, reductions and calls of kernels count as one each, and all
    that is element-wise in one pass of a loop as one more; between them, outside of loops, it is
    taken for fused.

    Raises:
        ValueError: a loop does not say how often it runs.
    """
    functions = {op.attributes["sym_name"].value: op for op in module.body.operations}
    loops: list[Loop] = []

    def visit(block: Any, trips: int) -> int:
        kernels = 0
        for op in block.operations:
            name = op.operation.name
            if name == "stablehlo.while":
                inner = trips * _trips(op)
                of_body = 1 + visit(op.regions[1].blocks[0], inner)
                loops.append(Loop(str(op.location)[:200], inner, of_body))
            elif name == "func.call":
                called = functions[op.attributes["callee"].value]
                kernels += visit(called.regions[0].blocks[0], trips)
            elif name == "stablehlo.case":
                kernels += max(visit(region.blocks[0], trips) for region in op.regions)
            else:
                kernels += bool(_WORK.fullmatch(name))
        return kernels

    outside = visit(functions["main"].regions[0].blocks[0], 1)
    return KernelCount(outside, tuple(loops))


def _trips(loop: Any) -> int:
    """Passes of a loop that counts from 0 to a constant, as those of JAX do."""
    for op in loop.regions[0].blocks[0].operations:
        limit = re.match(r".*stablehlo.constant dense<(\d+)> : tensor<i(?:32|64)>", str(op))
        if limit:
            return int(limit[1])
    raise ValueError(f"a loop of unknown length: {str(loop.location)[:200]}")


def lower_for(platform: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """A function that was never traced before, as JAX lowers it for ``cuda`` or ``tpu``."""
    with tracing_for(accelerator=platform != "cpu"):
        return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,))


def compile_for_gpu(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Compiles for an H100 that is not there; needs ``jax-cuda13-plugin[with-cuda]``.

    ``JAX_PLATFORMS`` must not exclude CUDA. Which implementations cuBLAS and cuDNN offer is not
    tried, so that convolutions and products may be compiled otherwise than on the card itself.
    """
    from jax.experimental import topologies
    from jax.sharding import NamedSharding, PartitionSpec

    described = topologies.get_topology_desc(
        platform="cuda", topology_name="", target_config=_H100, topology="1x1x1"
    )
    mesh = topologies.make_mesh(described, (1,), ("device",))
    sharding = NamedSharding(mesh, PartitionSpec())
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), arguments
    )
    # Triton's products fail for some shapes where no card is there to choose among them.
    options: Any = {"xla_gpu_enable_triton_gemm": False}
    with tracing_for(accelerator=True):
        return jax.jit(function).lower(*shapes).compile(options)
