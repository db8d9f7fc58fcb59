"""Layers of the U-Net: convolutions of stride 2 and back, normalisation by the batch, dropout.

PyTorch's conventions throughout: initial values, paddings, running statistics.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.config import UnetConfig
from umss_jax.networks.conv import ConvWeights, stored_norm
from umss_jax.networks.dense import uniform_fan_in
from umss_jax.precision import CONVOLUTIONS

_CONVOLUTION: Any = {
    "dimension_numbers": ("NHWC", "HWIO", "NHWC"),
    "precision": CONVOLUTIONS,
}


def torch_conv_weights(shape: tuple[int, ...], name: str, fan_in: int | None = None) -> ConvWeights:
    """Kernel (taps …, input channels, output channels) and bias, initialised as by PyTorch.

    ``fan_in`` stands for taps times input channels where it is something else.
    """
    initial = uniform_fan_in(fan_in or int(np.prod(shape[:-1])))
    return ConvWeights(shape, initial, initial, name=name)


class BatchNorm(nn.Module):
    """Normalisation per channel: by the batch in training, by running statistics otherwise.

    PyTorch's conventions: the batch is divided by its biased deviation, and the unbiased variance
    enters the running one.
    """

    config: UnetConfig = UnetConfig()
    axis: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, weights: jax.Array | None = None) -> jax.Array:
        """Normalise [..., C].

        ``weights`` [B] say which examples the statistics are of: 0 for those that are not, else
        equal, with a mean of 1 over all devices.
        """
        channels, epsilon = x.shape[-1], self.config.norm_epsilon
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        var = self.variable("batch_stats", "var", jnp.ones, (channels,))
        if not train:
            return stored_norm(x, scale, bias, mean.value, var.value, epsilon)
        batch_mean = self._average(x, weights)
        centred = x - batch_mean.reshape((1,) * (x.ndim - 1) + (-1,))
        batch_var = self._average(centred * centred, weights)
        count = self._count(x, weights)
        if not self.is_initializing():
            momentum = self.config.norm_momentum
            largest: Any = max if isinstance(count, int) else jnp.maximum
            unbiased = batch_var * (count / largest(1, count - 1))
            mean.value = (1 - momentum) * mean.value + momentum * batch_mean
            var.value = (1 - momentum) * var.value + momentum * unbiased
        return stored_norm(x, scale, bias, batch_mean, batch_var, epsilon)

    def _count(self, x: jax.Array, weights: jax.Array | None) -> Any:
        """Numbers per channel in the whole batch."""
        if weights is None:
            count = x.size // x.shape[-1]
            return count if self.axis is None else count * jax.lax.axis_size(self.axis)
        examples = jnp.sum((weights > 0).astype(jnp.float32))
        if self.axis is not None:
            examples = jax.lax.psum(examples, self.axis)
        return examples * (x.size // x.shape[-1] // len(x))

    def _average(self, x: jax.Array, weights: jax.Array | None) -> jax.Array:
        """Mean per channel over the whole batch, on however many devices it lies."""
        if weights is not None:
            x = x * weights.reshape(-1, *(1,) * (x.ndim - 1))
        mean = jnp.mean(x, axis=tuple(range(x.ndim - 1)))
        return mean if self.axis is None else jax.lax.pmean(mean, self.axis)


def strided_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution of stride 2 with half a kernel of zeros on every side.

    [B, F, T, C_in] with a kernel [k, k, C_in, C_out], k odd → [B, ⌈F/2⌉, ⌈T/2⌉, C_out].
    """
    side = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x, kernel, (2, 2), ((side, side), (side, side)), **_CONVOLUTION
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def transposed_conv(x: jax.Array, kernel: jax.Array, size: tuple[int, int]) -> jax.Array:
    """The transpose of :func:`strided_conv`: zeros between the inputs, then a convolution.

    Its gradients are written out as those of the strided convolution that it transposes: XLA's own
    for the kernel takes twenty times longer on a CPU.

    [B, ⌈F/2⌉, ⌈T/2⌉, C_in] → [B, F, T, C_out] with F and T from ``size`` (even ones need a row or
    column of zeros more); the kernel is that of the convolution after the zeros.
    """
    side = kernel.shape[0] // 2
    ends = [
        side + wanted - (2 * found - 1) for wanted, found in zip(size, x.shape[1:3], strict=True)
    ]
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), ((side, ends[0]), (side, ends[1])), lhs_dilation=(2, 2), **_CONVOLUTION
    )


def _transposed_forward(
    x: jax.Array, kernel: jax.Array, size: tuple[int, int]
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return transposed_conv(x, kernel, size), (x, kernel)


def _transposed_backward(
    size: tuple[int, int], saved: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    x_gradient, pull = jax.vjp(lambda k: strided_conv(gradient, _reversed(k)), kernel)
    return x_gradient, pull(x)[0]


transposed_conv.defvjp(_transposed_forward, _transposed_backward)


def _reversed(kernel: jax.Array) -> jax.Array:
    """The kernel of the transpose: taps reversed, channels exchanged."""
    return jnp.swapaxes(kernel[::-1, ::-1], 2, 3)


def drop_channels(x: jax.Array, keys: jax.Array, config: UnetConfig) -> jax.Array:
    """Silences channels of [B, bins, frames, C] at random, by keys [B]; the others grow louder."""
    keep = 1.0 - config.dropout

    def kept(key: jax.Array) -> jax.Array:
        return jax.random.bernoulli(key, keep, (1, 1, x.shape[-1]))

    return jnp.where(jax.vmap(kept)(keys), x / keep, 0.0)
