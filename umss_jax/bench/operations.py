"""Arithmetic of a traced computation, counted from its jaxpr.

XLA's own cost analysis counts the body of a loop once; here every operation counts as often as it
runs. What is counted is the algorithm that runs (transforms instead of long convolutions), not the
textbook form of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Operations(NamedTuple):
    """Floating-point operations of one call."""

    products: float
    """Multiply-adds of matrix products and convolutions, two operations each."""
    transforms: float
    """FFTs, at 5 N log2 N for a complex and half of that for a real one."""
    elementwise: float
    """One for each element that any other operation writes: a lower bound on memory traffic."""

    @property
    def total(self) -> float:
        """Sum of all."""
        return self.products + self.transforms + self.elementwise


def count_operations(function: Callable[..., Any], *arguments: Any) -> Operations:
    """Counts what a call would compute, without computing it.

    Args:
        function: traceable by JAX.
        *arguments: arrays or shapes.

    Returns:
        The count; branches of a condition count as their largest.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr: Any) -> Operations:
    total = Operations(0.0, 0.0, 0.0)
    for equation in jaxpr.eqns:
        total = _add(total, _count_equation(equation))
    return total


def _count_equation(equation: Any) -> Operations:
    name, params = equation.primitive.name, equation.params
    written = sum(math.prod(getattr(v.aval, "shape", ())) for v in equation.outvars)
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
        return Operations(2.0 * written * depth, 0.0, 0.0)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        outputs = kernel[params["dimension_numbers"].rhs_spec[0]]
        # Groups need no correction: the kernel holds the inputs of one group only.
        return Operations(2.0 * written * math.prod(kernel) / outputs, 0.0, 0.0)
    if name == "fft":
        length = math.prod(params["fft_lengths"])
        real = params["fft_type"].name in ("RFFT", "IRFFT")
        longer = max(math.prod(v.aval.shape) for v in (*equation.invars, *equation.outvars))
        return Operations(0.0, (2.5 if real else 5.0) * longer * math.log2(max(length, 2)), 0.0)
    if name == "scan":
        return _times(_count(params["jaxpr"].jaxpr), params["length"])
    if name == "cond":
        return max((_count(b.jaxpr) for b in params["branches"]), key=lambda ops: ops.total)
    inner = [_count(getattr(value, "jaxpr", value)) for value in _jaxprs(params)]
    if inner:
        return _add(*inner) if len(inner) > 1 else inner[0]
    return Operations(0.0, 0.0, float(written))


def _jaxprs(params: dict[str, Any]) -> list[Any]:
    """Jaxprs that an equation calls (jit, custom derivatives, checkpoints, loops)."""
    return [v for v in params.values() if hasattr(getattr(v, "jaxpr", v), "eqns")]


def _add(*parts: Operations) -> Operations:
    return Operations(*map(sum, zip(*parts, strict=True)))


def _times(operations: Operations, factor: float) -> Operations:
    return Operations(*(factor * value for value in operations))
