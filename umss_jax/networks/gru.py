"""Gated recurrent unit in PyTorch's convention, with a reverse pass of its own.

r = σ(W_r x + b_r + U_r h + c_r), z = σ(W_z x + b_z + U_z h + c_z),
n = tanh(W_n x + b_n + r · (U_n h + c_n)), h ← (1 − z) · n + z · h.

Two biases per gate, as PyTorch keeps: folding them would change the course of Adam. The products
with the input are made outside, for all steps at once. On accelerators the recurrence is that of
:mod:`umss_jax.networks.gru_stack`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from umss_jax.accelerators import for_accelerator
from umss_jax.config import Compute
from umss_jax.networks.dense import product_in, uniform_fan_in
from umss_jax.networks.gru_stack import StackWeights, gru_stack
from umss_jax.precision import DENSE, RECURRENCES


class GruWeights(NamedTuple):
    """Of one layer, as PyTorch keeps them."""

    input_kernel: jax.Array
    """[in, 3H], of the gates r, z, n."""
    hidden_kernel: jax.Array
    """[H, 3H]."""
    input_bias: jax.Array
    """[3H]."""
    hidden_bias: jax.Array
    """[3H]."""


class Gru(nn.Module):
    """Unidirectional GRU layer from zero state, of hidden size H = ``features``.

    ``compute`` says in what the products with the inputs are made, ``precision`` how exactly; the
    recurrence is in float32.
    """

    features: int
    compute: Compute = Compute.FLOAT32
    precision: jax.lax.Precision = DENSE

    @nn.compact
    def weights(self, width: int) -> GruWeights:
        """Those of a layer with so many inputs."""
        gates = 3 * self.features
        uniform = uniform_fan_in(self.features)
        return GruWeights(
            input_kernel=self.param("input_kernel", uniform, (width, gates)),
            hidden_kernel=self.param("hidden_kernel", uniform, (self.features, gates)),
            input_bias=self.param("input_bias", uniform, (gates,)),
            hidden_bias=self.param("hidden_bias", uniform, (gates,)),
        )

    def __call__(self, *inputs: jax.Array) -> jax.Array:
        """Runs over the concatenation of inputs [batch, time, in_i], to [batch, time, H].

        An input of a smaller batch b is projected once and repeated batch / b times, consecutive
        rows sharing it (the four voices share the latent).
        """
        weights = self.weights(sum(x.shape[-1] for x in inputs))
        projected = project(weights, *inputs, compute=self.compute, precision=self.precision)
        if for_accelerator():
            one = stack_weights([weights])
            return jnp.swapaxes(gru_stack(jnp.swapaxes(projected, 0, 1), one)[0], 0, 1)
        return gru_scan(projected, weights.hidden_kernel, weights.hidden_bias)


def project(
    weights: GruWeights,
    *inputs: jax.Array,
    compute: Compute,
    precision: jax.lax.Precision = DENSE,
) -> jax.Array:
    """W x + b of a layer's inputs, as they are given to :class:`Gru`: [batch, time, 3H]."""
    batch = max(x.shape[0] for x in inputs)
    projected = weights.input_bias.reshape(1, 1, -1)
    start = 0
    for x in inputs:
        kernel = weights.input_kernel[start : start + x.shape[-1]]
        start += x.shape[-1]
        part = product_in(compute, "bti,io->bto", x, kernel, precision)
        repeats = batch // x.shape[0]
        projected = projected + (jnp.repeat(part, repeats, axis=0) if repeats > 1 else part)
    return projected


def stack_weights(layers: Sequence[GruWeights]) -> StackWeights:
    """Layers of equal size, the lowest first, as one stack."""
    empty = layers[0].hidden_kernel[None, :, :][:0]
    return StackWeights(
        hidden_kernels=jnp.stack([layer.hidden_kernel for layer in layers]),
        hidden_biases=jnp.stack([layer.hidden_bias for layer in layers]),
        between_kernels=jnp.stack([layer.input_kernel for layer in layers[1:]])
        if len(layers) > 1
        else empty,
        between_biases=jnp.stack([layer.input_bias for layer in layers[1:]])
        if len(layers) > 1
        else layers[0].hidden_bias[None][:0],
    )


@jax.custom_vjp
def gru_scan(projected: jax.Array, hidden_kernel: jax.Array, hidden_bias: jax.Array) -> jax.Array:
    """The recurrence over projected inputs [batch, time, 3H], to hidden states [batch, time, H].

    They are W x + b for the gates r, z, n; the kernel is [H, 3H], the bias [3H].
    """
    return jnp.swapaxes(_forward(projected, hidden_kernel, hidden_bias)[0], 0, 1)


def _forward(
    projected: jax.Array, kernel: jax.Array, bias: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Hidden states, then r, z, n and the recurrent part of n before the reset; time leading."""

    def step(hidden: jax.Array, now: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        recurrent = jnp.dot(hidden, kernel, precision=RECURRENCES) + bias[None, :]
        in_r, in_z, in_n = jnp.split(now, 3, axis=-1)
        re_r, re_z, re_n = jnp.split(recurrent, 3, axis=-1)
        reset = jax.nn.sigmoid(in_r + re_r)
        update = jax.nn.sigmoid(in_z + re_z)
        candidate = jnp.tanh(in_n + reset * re_n)
        hidden = candidate + update * (hidden - candidate)
        return hidden, (hidden, reset, update, candidate, re_n)

    start = jnp.zeros((projected.shape[0], kernel.shape[0]), projected.dtype)
    _, (states, *gates) = jax.lax.scan(step, start, jnp.swapaxes(projected, 0, 1))
    return states, tuple(gates)


def _gru_fwd(projected, hidden_kernel, hidden_bias):  # type: ignore[no-untyped-def]
    states, gates = _forward(projected, hidden_kernel, hidden_bias)
    return jnp.swapaxes(states, 0, 1), (states, gates, hidden_kernel)


def _gru_bwd(kept, cotangent):  # type: ignore[no-untyped-def]
    """The reverse recurrence gives the gradients before the gates; one product each the others."""
    states, gates, kernel = kept
    before = jnp.concatenate([jnp.zeros_like(states[:1]), states[:-1]], axis=0)
    kernel_t = kernel.T

    def step(carry, now):  # type: ignore[no-untyped-def]
        d_out, hidden, reset, update, candidate, recurrent_n = now
        d_hidden = d_out + carry
        d_n = d_hidden * (1.0 - update) * (1.0 - candidate * candidate)
        d_z = d_hidden * (hidden - candidate) * update * (1.0 - update)
        d_r = d_n * recurrent_n * reset * (1.0 - reset)
        to_recurrent = jnp.concatenate([d_r, d_z, d_n * reset], axis=-1)
        carry = d_hidden * update + jnp.dot(to_recurrent, kernel_t, precision=RECURRENCES)
        return carry, (d_r, d_z, d_n)

    sequence = (jnp.swapaxes(cotangent, 0, 1), before, *gates)
    _, (d_r, d_z, d_n) = jax.lax.scan(step, jnp.zeros_like(states[0]), sequence, reverse=True)
    to_projected = jnp.concatenate([d_r, d_z, d_n], axis=-1)
    to_recurrent = jnp.concatenate([d_r, d_z, d_n * gates[0]], axis=-1)
    d_kernel = jnp.einsum("tbh,tbg->hg", before, to_recurrent, precision=RECURRENCES)
    return jnp.swapaxes(to_projected, 0, 1), d_kernel, jnp.sum(to_recurrent, axis=(0, 1))


gru_scan.defvjp(_gru_fwd, _gru_bwd)
