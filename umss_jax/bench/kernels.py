"""How many kernels a program launches on a GPU, counted without one; loops as often as they run.

Counted exactly in what XLA compiles for an H100 (:func:`count_kernels`), for which JAX's CUDA
plugin must be installed, or estimated in the program as JAX lowers it for CUDA
(:func:`estimate_kernels`), for which nothing more is needed. Both come from
:mod:`umss_jax.bench.absent_devices`.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

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
