"""The recurrences of :mod:`umss_jax.networks.gru_stack` as kernels for NVIDIA's GPUs, by Triton.

XLA makes a product and an element-wise kernel of every step. Here one kernel does both, for all
layers at once; its programs share out rows of the batch and columns of the state, so that nothing
waits for another program of the same launch. A small layer needs no sharing: one program keeps its
weights and the state, and runs through all steps by itself. Where JAX has no Pallas by Triton
(deprecated since 0.11), and on TPUs, all of this is left to XLA's loops.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas

from umss_jax.precision import RECURRENCES

_ROWS = 16  # the fewest that Triton multiplies; so are the columns
_DEPTH = 64  # of one product in the sum over the state
_SMALL = 64  # up to this size one program does all steps
_PASSES = 12  # launches in one pass of the loop

Place = tuple[jax.Array, jax.Array]
"""A pass of the loop and a launch in it, int32 [1] each."""

Factors = tuple[jax.Array, ...]
"""What slopes are multiplied by, [S, L, B, H] each: to r, z, n, the recurrent part of n, back."""


def forward_kernel(
    given: jax.Array, kernels: jax.Array, biases: jax.Array, *, parameters: Any, **options: Any
) -> jax.Array:
    """States [S, L, B, H] after each pass, from rest.

    Args:
        given: [S, B, 3H], what the lowest layer is given.
        kernels: [L, H, 3H], or [L, H, 6H] with those to the layer above.
        biases: [L, 3H] or [L, 6H].
        parameters: of Triton.
        options: of ``pallas_call``.
    """
    layers, hidden, gates = kernels.shape
    passes, batch, _ = given.shape
    rows, width = _padded(batch, hidden)
    given = _pad(given.reshape(passes, batch, 3, hidden), (0, rows - batch, 0, width - hidden))
    kernels = kernels.reshape(layers, hidden, gates // hidden, hidden)
    kernels = _pad(kernels, (0, width - hidden, 0, width - hidden))
    biases = _pad(biases.reshape(layers, gates // hidden, hidden), (0, 0, width - hidden))
    if _is_small(layers, width):
        shape = jax.ShapeDtypeStruct((passes, rows, width), given.dtype)
        states = pallas.pallas_call(
            functools.partial(_all_steps, passes=passes),
            out_shape=shape,
            grid=(rows // _ROWS,),
            compiler_params=parameters,
            name="gru",
            **options,
        )(given, kernels[0], biases[0])
        return states[:, None, :batch, :hidden]
    states = jnp.zeros((passes + 1, layers, rows, width), given.dtype)

    def step(place: Place, states: jax.Array) -> jax.Array:
        after: jax.Array = pallas.pallas_call(
            functools.partial(_one_step, layers=layers, width=width),
            out_shape=jax.ShapeDtypeStruct(states.shape, states.dtype),
            grid=(layers, rows // _ROWS, width // _ROWS),
            input_output_aliases={5: 0},
            compiler_params=parameters,
            name="gru_step",
            **options,
        )(*place, given, kernels, biases, states)
        return after

    return _repeated(step, states, passes)[1:, :, :batch, :hidden]


def backward_kernel(
    given: jax.Array, factors: Factors, kernels: jax.Array, *, parameters: Any, **options: Any
) -> jax.Array:
    """Slopes [S, L, B, H] of the hidden states, from the last pass to the first.

    Args:
        given: [S, L, B, H], the gradient in each hidden state as an output.
        factors: as :data:`Factors` says.
        kernels: as for :func:`forward_kernel`.
        parameters: of Triton.
        options: of ``pallas_call``.
    """
    layers, hidden, gates = kernels.shape
    passes, _, batch, _ = given.shape
    rows, width = _padded(batch, hidden)
    padding = (0, 0, rows - batch, width - hidden)
    # [S, 6, L, B, H]: the loop reads one array.
    known = jnp.stack([_pad(x, padding) for x in (given, *factors)], axis=1)
    kernels = kernels.reshape(layers, hidden, gates // hidden, hidden)
    kernels = _pad(kernels, (0, width - hidden, 0, width - hidden)).transpose(0, 2, 3, 1)
    if _is_small(layers, width):
        slopes = pallas.pallas_call(
            functools.partial(_all_steps_back, passes=passes),
            out_shape=jax.ShapeDtypeStruct((passes, rows, width), given.dtype),
            grid=(rows // _ROWS,),
            compiler_params=parameters,
            name="gru_gradient",
            **options,
        )(known[:, :, 0], kernels[0])
        return slopes[:, None, :batch, :hidden]
    carried = jnp.zeros((passes + 1, layers, rows, width), given.dtype)

    def step(place: Place, carried: jax.Array) -> jax.Array:
        after: jax.Array = pallas.pallas_call(
            functools.partial(_one_step_back, layers=layers, width=width, passes=passes),
            out_shape=jax.ShapeDtypeStruct(carried.shape, carried.dtype),
            grid=(layers, rows // _ROWS, width // _ROWS),
            input_output_aliases={4: 0},
            compiler_params=parameters,
            name="gru_step_gradient",
            **options,
        )(*place, known, kernels, carried)
        return after

    return given + _repeated(step, carried, passes)[1:, :, :batch, :hidden]


def _repeated(step: Callable[[Place, jax.Array], jax.Array], array: jax.Array, passes: int) -> Any:
    """``step(place, array)`` for all passes, in their order.

    The kernels are told their place instead of being made for it: all are one, compiled once.
    """
    offsets = [jnp.full((1,), offset, jnp.int32) for offset in range(_PASSES)]

    def several(number: jax.Array, array: jax.Array) -> jax.Array:
        for offset in offsets:
            array = step((number.reshape(1), offset), array)
        return array

    whole = passes // _PASSES
    array = jax.lax.fori_loop(0, whole, several, array)
    last = jnp.full((1,), whole, jnp.int32)
    for offset in offsets[: passes % _PASSES]:
        array = step((last, offset), array)
    return array


def _one_step(
    number: Any,
    offset: Any,
    given: Any,
    kernels: Any,
    biases: Any,
    _: Any,
    states: Any,
    *,
    layers: int,
    width: int,
) -> None:
    """One pass of one layer, some rows and some columns; states [S + 1, L, B, H] from rest on."""
    layer, rows, columns = (pallas.program_id(axis) for axis in range(3))
    now = number[0] * _PASSES + offset[0]
    own, across = pallas.ds(rows * _ROWS, _ROWS), pallas.ds(columns * _ROWS, _ROWS)
    below = jnp.maximum(layer - 1, 0)
    nothing = jnp.zeros((_ROWS, _ROWS), jnp.float32)

    def add(part: Any, sums: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        depth = pallas.ds(part * _DEPTH, _DEPTH)
        state = states[now, layer, own, depth]
        summed = [
            total + _dot(state, kernels[layer, depth, gate, across])
            for gate, total in enumerate(sums[:3])
        ]
        if layers > 1:
            state = states[now, below, own, depth]
            summed += [
                total + _dot(state, kernels[below, depth, gate, across])
                for gate, total in enumerate(sums[3:], start=3)
            ]
        return tuple(summed)

    sums = jax.lax.fori_loop(0, width // _DEPTH, add, (nothing,) * (6 if layers > 1 else 3))
    recurrent = [total + biases[layer, g, across][None] for g, total in enumerate(sums[:3])]
    inputs = [given[now, own, g, across] for g in range(3)]
    if layers > 1:
        between = [total + biases[below, 3 + g, across][None] for g, total in enumerate(sums[3:])]
        inputs = [jnp.where(layer == 0, a, b) for a, b in zip(inputs, between, strict=True)]
    after = _step(inputs, recurrent, states[now, layer, own, across])
    # A layer rests until the one below it has said something.
    states[now + 1, layer, own, across] = jnp.where(now >= layer, after, 0.0)


def _one_step_back(
    number: Any,
    offset: Any,
    known: Any,
    kernels: Any,
    _: Any,
    carried: Any,
    *,
    layers: int,
    width: int,
    passes: int,
) -> None:
    """One pass back: carried [S + 1, L, B, H] is what each state owes to those after it."""
    layer, rows, columns = (pallas.program_id(axis) for axis in range(3))
    now = passes - 1 - number[0] * _PASSES - offset[0]
    own, across = pallas.ds(rows * _ROWS, _ROWS), pallas.ds(columns * _ROWS, _ROWS)
    above = jnp.minimum(layer + 1, layers - 1)

    def add(part: Any, total: jax.Array) -> jax.Array:
        depth = pallas.ds(part * _DEPTH, _DEPTH)
        slope = known[now, 0, layer, own, depth] + carried[now + 1, layer, own, depth]
        for gate, factor in enumerate((1, 2, 4)):
            into = slope * known[now, factor, layer, own, depth]
            total = total + _dot(into, kernels[layer, gate, depth, across])
        if layers > 1:  # the highest layer has zeros for kernels to what is above
            slope = known[now, 0, above, own, depth] + carried[now + 1, above, own, depth]
            for gate, factor in enumerate((1, 2, 3)):
                into = slope * known[now, factor, above, own, depth]
                total = total + _dot(into, kernels[layer, 3 + gate, depth, across])
        return total

    nothing = jnp.zeros((_ROWS, _ROWS), jnp.float32)
    total = jax.lax.fori_loop(0, width // _DEPTH, add, nothing)
    slope = known[now, 0, layer, own, across] + carried[now + 1, layer, own, across]
    carried[now, layer, own, across] = total + slope * known[now, 5, layer, own, across]


def _all_steps(given: Any, kernels: Any, biases: Any, states: Any, *, passes: int) -> None:
    """All steps of one layer and some rows: kernels [H, 3, H], states [S, B, H]."""
    own = pallas.ds(pallas.program_id(0) * _ROWS, _ROWS)
    weights = [kernels[:, gate, :] for gate in range(3)]
    shifts = [biases[gate, :][None] for gate in range(3)]

    def step(now: Any, state: jax.Array) -> jax.Array:
        recurrent = [_dot(state, w) + b for w, b in zip(weights, shifts, strict=True)]
        after = _step([given[now, own, gate, :] for gate in range(3)], recurrent, state)
        states[now, own, :] = after
        return after

    jax.lax.fori_loop(0, passes, step, jnp.zeros((_ROWS, kernels.shape[0]), jnp.float32))


def _all_steps_back(known: Any, kernels: Any, slopes: Any, *, passes: int) -> None:
    """All steps back: known [S, 6, B, H], kernels [3, H, H] transposed, slopes [S, B, H]."""
    own = pallas.ds(pallas.program_id(0) * _ROWS, _ROWS)
    weights = [kernels[gate] for gate in range(3)]

    def step(index: Any, carried: jax.Array) -> jax.Array:
        now = passes - 1 - index
        slope = known[now, 0, own, :] + carried
        slopes[now, own, :] = slope
        onwards = slope * known[now, 5, own, :]
        for weight, factor in zip(weights, (1, 2, 4), strict=True):
            onwards = onwards + _dot(slope * known[now, factor, own, :], weight)
        return onwards

    jax.lax.fori_loop(0, passes, step, jnp.zeros((_ROWS, kernels.shape[-1]), jnp.float32))


def _step(inputs: list[jax.Array], recurrent: list[jax.Array], state: jax.Array) -> jax.Array:
    """The state after a step from that before it."""
    reset = jax.nn.sigmoid(inputs[0] + recurrent[0])
    update = jax.nn.sigmoid(inputs[1] + recurrent[1])
    candidate = jnp.tanh(inputs[2] + reset * recurrent[2])
    return candidate + update * (state - candidate)


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.dot(a, b, precision=RECURRENCES)


def _is_small(layers: int, width: int) -> bool:
    return layers == 1 and width <= _SMALL


def _padded(batch: int, hidden: int) -> tuple[int, int]:
    """Rows and columns of the state in memory: whole blocks, whose sides are powers of two."""
    whole = -(-hidden // _DEPTH) * _DEPTH
    return -(-batch // _ROWS) * _ROWS, max(whole, _ROWS)


def _pad(x: jax.Array, after: tuple[int, ...]) -> jax.Array:
    return jnp.pad(x, [(0, extra) for extra in after])
