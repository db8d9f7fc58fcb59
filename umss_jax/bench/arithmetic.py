"""Counted arithmetic: the floating-point operations of products and convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax


def count_products(function: Callable[..., Any], *arguments: Any) -> float:
    """Floating-point operations of the matrix products and convolutions of one call.

    XLA's own cost analysis counts the body of a loop once; here every operation counts as often as
    it runs. What is counted is the algorithm that runs, not the textbook form of it: transforms
    that stand for long convolutions cost no products.

    Args:
        function: traceable by JAX; nothing is computed.
        *arguments: arrays or shapes.

    Returns:
        Two for each multiply-add; of the branches of a condition the largest counts.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr: Any) -> float:
    return sum(map(_count_equation, jaxpr.eqns))


def _count_equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    written = sum(math.prod(getattr(v.aval, "shape", ())) for v in equation.outvars)
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
        return 2.0 * written * depth
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        outputs = kernel[params["dimension_numbers"].rhs_spec[0]]
        # Groups need no correction: the kernel holds the inputs of one group only.
        return 2.0 * written * math.prod(kernel) / outputs
    if name == "scan":
        return params["length"] * _count(params["jaxpr"].jaxpr)
    if name == "cond":
        return max(_count(branch.jaxpr) for branch in params["branches"])
    # What an equation calls: jit, custom derivatives, checkpoints, loops.
    inner = [getattr(value, "jaxpr", value) for value in params.values()]
    return sum(_count(jaxpr) for jaxpr in inner if hasattr(jaxpr, "eqns"))
