"""Dense layers and normalisation with PyTorch's conventions, shared by encoder and decoder."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from umss_jax.config import Compute
from umss_jax.precision import DENSE


def uniform_fan_in(fan_in: int) -> nn.initializers.Initializer:
    """Uniform in ±1/√fan_in: PyTorch's default for kernels and biases (GRU: of the hidden size)."""
    bound = fan_in**-0.5

    def initialise(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:  # type: ignore[no-untyped-def]
        return jax.random.uniform(key, shape, dtype, minval=-bound, maxval=bound)

    return initialise


def rounded(compute: Compute, x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The operands of a product as it is to be made: in bfloat16, or as they are."""
    if compute == Compute.BFLOAT16:
        return x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    return x, kernel


def product_in(
    compute: Compute,
    subscripts: str,
    x: jax.Array,
    kernel: jax.Array,
    precision: jax.lax.Precision = DENSE,
) -> jax.Array:
    """Contracts two arrays as `jnp.einsum` does, and gives the result in the type of ``x``."""
    product = jnp.einsum(subscripts, *rounded(compute, x, kernel), precision=precision)
    return product.astype(x.dtype)


class Dense(nn.Module):
    """x W + b on the last axis, initialised as the reference initialises."""

    features: int
    compute: Compute = Compute.FLOAT32
    precision: jax.lax.Precision = DENSE

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., in] → [..., features]."""
        initial = uniform_fan_in(x.shape[-1])
        kernel = self.param("kernel", initial, (x.shape[-1], self.features))
        bias = self.param("bias", initial, (self.features,))
        product = product_in(self.compute, "...i,io->...o", x, kernel, self.precision)
        return product + bias.reshape((1,) * (x.ndim - 1) + (self.features,))


class DenseStack(nn.Module):
    """Three times dense → LayerNorm (ε 1e-5) → LeakyReLU (0.01) (reference: fc_stack)."""

    features: int
    layers: int = 3
    compute: Compute = Compute.FLOAT32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., in] → [..., features]."""
        for layer in range(1, self.layers + 1):
            x = Dense(self.features, self.compute, name=f"dense_{layer}")(x)
            x = LayerNorm(name=f"norm_{layer}")(x)
            x = nn.leaky_relu(x, 0.01)
        return x


class LayerNorm(nn.Module):
    """Normalises (biased variance, ε 1e-5), then scales and shifts each feature of the last axis.

    Attributes:
        axes: over which mean and variance are taken, the last one by default.
        shift: name of the parameter that is added.
    """

    axes: tuple[int, ...] = (-1,)
    shift: str = "bias"
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., features] → the same shape."""
        features = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (features,))
        shift = self.param(self.shift, nn.initializers.zeros, (features,))
        centred = x - jnp.mean(x, axis=self.axes, keepdims=True)
        variance = jnp.mean(centred * centred, axis=self.axes, keepdims=True)
        row = (1,) * (x.ndim - 1) + (features,)
        return centred / jnp.sqrt(variance + self.epsilon) * scale.reshape(row) + shift.reshape(row)
