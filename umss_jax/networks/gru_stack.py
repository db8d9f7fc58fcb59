"""Gated recurrent units one above the other as a single loop, for devices that wait for launches.

On a GPU every pass of a loop costs its kernels' launches, whatever they compute. Here all layers
take a step in the same pass, each one step of time behind the layer below it, with one product and
one element-wise kernel for all of them. The gradient keeps the hidden states alone: gates are
computed again for all steps at once, which leaves a linear recurrence, and the gradient of the
weights is one product after it. Gates as in :mod:`umss_jax.networks.gru`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from umss_jax.accelerators import on_gpu
from umss_jax.networks.gru_kernels import backward_kernel, forward_kernel
from umss_jax.precision import RECURRENCES

_UNROLL = 10  # passes in one pass of the loop that is compiled: what every pass costs is shared


class StackWeights(NamedTuple):
    """Weights of L layers of size H; the input of the first is projected outside."""

    hidden_kernels: jax.Array
    """[L, H, 3H], of the gates r, z, n."""
    hidden_biases: jax.Array
    """[L, 3H]."""
    between_kernels: jax.Array
    """[L − 1, H, 3H], from each layer to the one above it."""
    between_biases: jax.Array
    """[L − 1, 3H]."""


class _Gates(NamedTuple):
    """Of all layers and steps, each [L, T, B, H]."""

    reset: jax.Array
    update: jax.Array
    candidate: jax.Array
    recurrent: jax.Array
    """The recurrent part of the candidate, before the reset."""


@jax.custom_vjp
def gru_stack(projected: jax.Array, weights: StackWeights) -> jax.Array:
    """Hidden states [L, T, B, H] of all layers from rest.

    ``projected`` is W x + b of the lowest layer, [T, B, 3H], time leading.
    """
    layers, steps = len(weights.hidden_kernels), len(projected)
    given = jnp.pad(projected, ((0, layers - 1), (0, 0), (0, 0)))
    kernels = _joined(weights.hidden_kernels, weights.between_kernels)
    biases = _joined(weights.hidden_biases, weights.between_biases)
    kernel = on_gpu(forward_kernel)
    skewed = jax.lax.platform_dependent(given, kernels, biases, default=forward_loop, **kernel)
    return _straight(skewed, steps)


def _forward(
    projected: jax.Array, weights: StackWeights
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, StackWeights]]:
    states = gru_stack(projected, weights)
    return states, (states, projected, weights)


def _backward(
    kept: tuple[jax.Array, jax.Array, StackWeights], cotangent: jax.Array
) -> tuple[jax.Array, StackWeights]:
    states, projected, weights = kept
    before = jnp.pad(states[:, :-1], ((0, 0), (1, 0), (0, 0), (0, 0)))
    gates = _gates_again(before, states, projected, weights)
    # What the gradient of a hidden state is multiplied by, gate by gate.
    to_n = (1.0 - gates.update) * (1.0 - gates.candidate * gates.candidate)
    to_z = (before - gates.candidate) * gates.update * (1.0 - gates.update)
    to_r = to_n * gates.recurrent * gates.reset * (1.0 - gates.reset)
    factors = (to_r, to_z, to_n, to_n * gates.reset, gates.update)
    skewed = jax.lax.platform_dependent(
        _skewed(cotangent),
        tuple(map(_skewed, factors)),
        _joined(weights.hidden_kernels, weights.between_kernels),
        default=backward_loop,
        **on_gpu(backward_kernel),
    )
    slopes = _straight(skewed, states.shape[1])
    to_r, to_z, to_n, to_recurrent_n, _ = (slopes * factor for factor in factors)
    into = jnp.concatenate([to_r, to_z, to_n], axis=-1)
    recurrent = jnp.concatenate([to_r, to_z, to_recurrent_n], axis=-1)

    def over_steps(inputs: jax.Array, outputs: jax.Array) -> jax.Array:
        return jnp.einsum("ltbh,ltbg->lhg", inputs, outputs, precision=RECURRENCES)

    gradient = StackWeights(
        hidden_kernels=over_steps(before, recurrent),
        hidden_biases=jnp.sum(recurrent, axis=(1, 2)),
        between_kernels=over_steps(states[:-1], into[1:]),
        between_biases=jnp.sum(into[1:], axis=(1, 2)),
    )
    return into[0], gradient


gru_stack.defvjp(_forward, _backward)


def forward_loop(given: jax.Array, kernels: jax.Array, biases: jax.Array) -> jax.Array:
    """States [S, L, B, H] after each pass from what the lowest layer is given, [S, B, 3H].

    Kernels [L, H, 3H or 6H] and biases are joined with those to the layer above, if there is one.
    """
    layers, hidden = kernels.shape[:2]
    level = jnp.arange(layers).reshape(-1, 1, 1)

    def step(states: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        lowest, index = now
        product = jnp.einsum("lbh,lhg->lbg", states, kernels, precision=RECURRENCES)
        product = product + biases[:, None]
        inputs = lowest[None]
        if layers > 1:
            inputs = jnp.concatenate([inputs, product[:-1, :, 3 * hidden :]])
        gates = _gates(inputs, product[..., : 3 * hidden])
        after = gates.candidate + gates.update * (states - gates.candidate)
        # A layer rests until the one below it has said something.
        after = jnp.where(index >= level, after, 0.0) if layers > 1 else after
        return after, after

    start = jnp.zeros((layers, given.shape[1], hidden), given.dtype)
    passes = jnp.arange(len(given))
    states: jax.Array = jax.lax.scan(step, start, (given, passes), unroll=_UNROLL)[1]
    return states


def backward_loop(
    given: jax.Array, factors: tuple[jax.Array, ...], kernels: jax.Array
) -> jax.Array:
    """Slopes of the hidden states [S, L, B, H], from the last pass to the first.

    Of the factors, all of that shape as ``given`` is, four lead to the gates (r, z, n, and the
    recurrent part of n), the last to the state before.
    """

    def step(
        carry: tuple[jax.Array, jax.Array], now: tuple[jax.Array, ...]
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        through, products = carry
        given, to_r, to_z, to_n, to_recurrent_n, update = now
        slope = given + through
        slope = slope + jnp.einsum("lbg,lhg->lbh", products, kernels, precision=RECURRENCES)
        shared = [slope * to_r, slope * to_z]
        recurrent = jnp.concatenate([*shared, slope * to_recurrent_n], axis=-1)
        into = jnp.concatenate([*shared, slope * to_n], axis=-1)
        return (slope * update, _joined(recurrent, into[1:])), slope

    start = jnp.zeros_like(given[0])
    nothing = jnp.zeros((*start.shape[:2], kernels.shape[-1]), given.dtype)
    sequence = (given, *factors)
    slopes: jax.Array = jax.lax.scan(
        step, (start, nothing), sequence, reverse=True, unroll=_UNROLL
    )[1]
    return slopes


def _joined(own: jax.Array, above: jax.Array) -> jax.Array:
    """[L, …, 3H] and [L − 1, …, 3H] → [L, …, 6H]: for the next step, and for the layer above."""
    if not len(above):
        return own
    return jnp.concatenate([own, jnp.concatenate([above, jnp.zeros_like(own[:1])])], axis=-1)


def _gates(inputs: jax.Array, recurrent: jax.Array) -> _Gates:
    """Gates from both products with their biases, [..., 3H] each."""
    in_r, in_z, in_n = jnp.split(inputs, 3, axis=-1)
    re_r, re_z, re_n = jnp.split(recurrent, 3, axis=-1)
    reset = jax.nn.sigmoid(in_r + re_r)
    update = jax.nn.sigmoid(in_z + re_z)
    return _Gates(reset, update, jnp.tanh(in_n + reset * re_n), re_n)


def _gates_again(
    before: jax.Array, states: jax.Array, projected: jax.Array, weights: StackWeights
) -> _Gates:
    """The gates of all steps at once, from the states before and after them."""

    def product(x: jax.Array, kernels: jax.Array, biases: jax.Array) -> jax.Array:
        made = jnp.einsum("ltbh,lhg->ltbg", x, kernels, precision=RECURRENCES)
        return made + biases[:, None, None]

    recurrent = product(before, weights.hidden_kernels, weights.hidden_biases)
    between = product(states[:-1], weights.between_kernels, weights.between_biases)
    return _gates(jnp.concatenate([projected[None], between]), recurrent)


def _skewed(x: jax.Array) -> jax.Array:
    """[L, T, …] → [T + L − 1, L, …]: layer l is l passes late, zeros where it does nothing."""
    layers = x.shape[0]
    late = [
        jnp.pad(one, ((level, layers - 1 - level), *[(0, 0)] * (one.ndim - 1)))
        for level, one in enumerate(x)
    ]
    return jnp.stack(late, axis=1)


def _straight(skewed: jax.Array, steps: int) -> jax.Array:
    """[T + L − 1, L, …] → [L, T, …]."""
    layers = skewed.shape[1]
    return jnp.stack([skewed[level : level + steps, level] for level in range(layers)])
