"""The all-pole recursion as one kernel: a lane is filtered in registers from its first sample on.

As a loop of XLA it is three launches a sample on a GPU, 1536 for a frame of 512 samples, each of
which does almost nothing. Operations and their order are those of the loop in
:mod:`umss_jax.synth.all_pole`, so that the results are equal to the bit where both are compiled for
the same device. By Pallas, whose programs are lowered for NVIDIA's GPUs by Triton and for TPUs by
Mosaic. Pallas by Triton is deprecated since JAX 0.11; where it is gone, GPUs from Hopper on get the
same program by Mosaic GPU, and older ones XLA's loop.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas

from umss_jax.accelerators import on_gpu, on_hopper, on_tpu

Recursion = Callable[[jax.Array, jax.Array], jax.Array]
"""Of x [samples, lanes] and a [p, lanes], to y of the shape of x."""

GPU_BLOCK = (32,)
"""Lanes of one program: a warp, so that 15 000 lanes reach every multiprocessor."""
TPU_BLOCK = (8, 128)
"""Lanes of one program: a register."""
HOPPER_BLOCK = 128
"""Lanes of one program by Mosaic GPU: one of each thread of a warp group, its smallest."""
_UNROLL = 4  # samples in one pass, between which nothing is moved from register to register


def recursion_kernels(reverse: bool) -> dict[str, Recursion]:
    """The kernels by the platform that they are for, as JAX calls platforms."""
    kernel = functools.partial(kernel_recursion, reverse=reverse)
    for_gpu = functools.partial(kernel, block=GPU_BLOCK)
    for_tpu = functools.partial(kernel, block=TPU_BLOCK)
    on_any_gpu = on_gpu(for_gpu, warps=1) or on_hopper(
        functools.partial(hopper_recursion, reverse=reverse)
    )
    return {**on_any_gpu, **on_tpu(for_tpu)}


def kernel_recursion(
    x: jax.Array,
    coefficients: jax.Array,
    *,
    reverse: bool,
    block: tuple[int, ...],
    parameters: Any = None,
    interpret: bool = False,
) -> jax.Array:
    """y[n] = x[n] − Σ_k a_k y[n − k] from rest, or likewise from the last sample back.

    Args:
        x: [samples, lanes].
        coefficients: [p, lanes].
        reverse: begins at the end, and k counts towards it.
        block: shape of the lanes of one program.
        parameters: of the compiler of a platform.
        interpret: computes the program step by step on any device.
    """
    (samples, lanes), order = x.shape, len(coefficients)
    padding = (0, -lanes % math.prod(block))
    x, coefficients = (
        jnp.pad(array, ((0, 0), padding)).reshape(len(array), -1, *block[1:])
        for array in (x, coefficients)
    )
    y = pallas.pallas_call(
        functools.partial(_filter, samples=samples, order=order, reverse=reverse),
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
        grid=(x.shape[1] // block[0],),
        in_specs=[_lanes(samples, block), _lanes(order, block)],
        out_specs=_lanes(samples, block),
        compiler_params=parameters,
        interpret=interpret,
        name="all_pole_recursion",
    )(x, coefficients)
    return y.reshape(samples, -1)[:, :lanes]


def hopper_recursion(
    x: jax.Array, coefficients: jax.Array, *, reverse: bool, interpret: Any = None
) -> jax.Array:
    """As :func:`kernel_recursion`, by Mosaic GPU, which has an ``interpret`` of its own."""
    from jax.experimental.pallas import mosaic_gpu

    (samples, lanes), order = x.shape, len(coefficients)
    padding = ((0, 0), (0, -lanes % HOPPER_BLOCK))
    x, coefficients = jnp.pad(x, padding), jnp.pad(coefficients, padding)

    def program(x: Any, coefficients: Any, y: Any) -> None:
        own = pallas.ds(jax.lax.axis_index("block") * HOPPER_BLOCK, HOPPER_BLOCK)
        parts = (array.at[:, own] for array in (x, coefficients, y))
        _filter(*parts, samples=samples, order=order, reverse=reverse)

    y: jax.Array = mosaic_gpu.kernel(
        program,
        out_type=jax.ShapeDtypeStruct(x.shape, x.dtype),
        grid=(x.shape[1] // HOPPER_BLOCK,),
        grid_names=("block",),
        # Nothing is both read and written: no thread has to wait for another.
        compiler_params=mosaic_gpu.CompilerParams(unsafe_no_auto_barriers=True),
        interpret=interpret,
    )(x, coefficients)
    return y[:, :lanes]


def _lanes(rows: int, block: tuple[int, ...]) -> pallas.BlockSpec:
    """All rows of one program's lanes."""
    rest = (0,) * (len(block) - 1)
    return pallas.BlockSpec((rows, *block), lambda number: (0, number, *rest))


def _filter(x: Any, coefficients: Any, y: Any, *, samples: int, order: int, reverse: bool) -> None:
    """The program of one block: references to [samples, …], [order, …] and [samples, …]."""
    weights = [coefficients[delay] for delay in range(order)]

    def once(index: Any, past: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        n = samples - 1 - index if reverse else index
        now = x[n]
        for weight, before in zip(weights, past, strict=True):
            now = now - weight * before
        y[n] = now
        return (now, *past[:-1])

    def several(number: Any, past: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        for offset in range(_UNROLL):
            past = once(number * _UNROLL + offset, past)
        return past

    # Zeros, NaN where the recursion is anyway. Mosaic takes no constant for what a loop carries.
    past = (jnp.abs(weights[0]) * 0.0,) * order
    past = jax.lax.fori_loop(0, samples // _UNROLL, several, past)
    for index in range(samples - samples % _UNROLL, samples):
        past = once(index, past)
