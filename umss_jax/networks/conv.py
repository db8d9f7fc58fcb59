"""The block of every convolutional network here: convolution, ReLU, frozen normalisation.

Shared by salience and assignment networks, which both come from Keras: 'same' padding with the
extra row or column after, and normalisation after (not before) the rectifier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name

from umss_jax.accelerators import for_accelerator
from umss_jax.config import ConvConfig
from umss_jax.networks.dense import rounded
from umss_jax.networks.frequency_conv import same_conv

KernelSizes = Sequence[tuple[int, int, int]]

BATCHINGS = ("auto", "whole", "example")
RECOMPUTATIONS = ("none", "elementwise", "everything")
_KEPT = "convolution"


def stored_norm(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    epsilon: float,
) -> jax.Array:
    """(x − mean) / √(var + ε) · scale + bias over the last axis: one product and one sum."""
    factor = scale * jax.lax.rsqrt(var + epsilon)
    shape = (1,) * (x.ndim - 1) + (-1,)
    return x * factor.reshape(shape) + (bias - mean * factor).reshape(shape)


class StoredNorm(nn.Module):
    """Batch normalisation by frozen statistics, which the paper keeps even while fine-tuning."""

    config: ConvConfig = ConvConfig()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalise [..., C] per channel."""
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,)).value
        var = self.variable("batch_stats", "var", jnp.ones, (channels,)).value
        return stored_norm(x, scale, bias, mean, var, self.config.norm_epsilon)


class ConvWeights(nn.Module):
    """Kernel and bias of a convolution, for those who apply them themselves; initialised as Keras.

    Attributes:
        shape: taps in frequency, taps in time, input channels, output channels.
    """

    shape: tuple[int, ...]
    kernel_init: nn.initializers.Initializer = nn.initializers.glorot_uniform()
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        """Kernel (of that shape) and bias [C_out]."""
        kernel = self.param("kernel", self.kernel_init, self.shape)
        return kernel, self.param("bias", self.bias_init, self.shape[-1:])


def conv_with_bias(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, config: ConvConfig
) -> jax.Array:
    """Convolve [B, F, T, C_in] to [B, F, T, C_out] and mark the result as worth keeping."""
    products = same_conv(*rounded(config.compute, x, kernel), config.method)
    return worth_keeping(products.astype(x.dtype) + bias.reshape(1, 1, 1, -1))


def worth_keeping(x: jax.Array) -> jax.Array:
    """Marks what ``recompute="elementwise"`` keeps for the backward pass."""
    return checkpoint_name(x, _KEPT)


class _OfKernelSize(nn.Module):
    """A layer that maps [B, F, T, C_in] to [B, F, T, C_out].

    Attributes:
        kernel_size: taps in frequency, taps in time, output channels.
    """

    kernel_size: tuple[int, int, int]
    config: ConvConfig = ConvConfig()


class Conv(_OfKernelSize):
    """Convolution with bias over frequency and time, 'same' padding."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolve."""
        taps_f, taps_t, channels = self.kernel_size
        weights = ConvWeights((taps_f, taps_t, x.shape[-1], channels))
        nn.share_scope(self, weights)
        return conv_with_bias(x, *weights(), self.config)


class ConvBlock(_OfKernelSize):
    """Convolution, ReLU, then normalisation by frozen statistics."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolve, rectify, normalise."""
        x = jax.nn.relu(Conv(self.kernel_size, self.config, name="conv")(x))
        return StoredNorm(self.config, name="norm")(x)


def conv_blocks(x: jax.Array, kernel_sizes: KernelSizes, config: ConvConfig) -> jax.Array:
    """Apply blocks one after another to [B, F, T, C], inside a compact module that shall own them.

    They are named ``block_1``, ``block_2``, … in the module from whose ``__call__`` this is called.
    """
    for number, kernel_size in enumerate(kernel_sizes, start=1):
        x = ConvBlock(kernel_size, config, name=f"block_{number}")(x)
    return x


def over_batch(
    network: nn.Module,
    compute: Callable[..., jax.Array],
    *inputs: jax.Array,
    config: ConvConfig,
) -> jax.Array:
    """Run a network over its batch with the memory that the configuration allows.

    By default the whole batch at once on accelerators, which else wait for the launch of every
    kernel; on a processor one example after another: the working set is that of one example, which
    suits its caches as well, and the time is the same. What a backward pass needs is kept or
    computed again as ``config.recompute`` says.

    ``compute`` is a function of the module, from whose ``__call__`` this is called, and of its
    inputs [B, ...], to [B, ...].

    Raises:
        ValueError: the configuration names an unknown batching or recomputation.
    """
    if config.batching not in BATCHINGS:
        raise ValueError(f"unknown batching {config.batching!r}: choose among {BATCHINGS}")
    if config.recompute not in RECOMPUTATIONS:
        raise ValueError(f"unknown recompute {config.recompute!r}: choose among {RECOMPUTATIONS}")
    if network.is_initializing():
        return compute(network, *inputs)
    apart = not for_accelerator() if config.batching == "auto" else config.batching == "example"
    by_example = apart and inputs[0].shape[0] > 1
    policy = {
        "elementwise": jax.checkpoint_policies.save_only_these_names(_KEPT),
        "everything": jax.checkpoint_policies.nothing_saveable,
    }
    if config.recompute != "none":
        # Inside a loop nothing can be merged with the forward pass, so that no barrier is needed.
        compute = nn.remat(compute, policy=policy[config.recompute], prevent_cse=not by_example)
    if not by_example:
        return compute(network, *inputs)

    def one(module: nn.Module, carry: None, example: tuple[jax.Array, ...]) -> tuple:
        return carry, compute(module, *(x[None] for x in example))[0]

    scan = nn.scan(one, variable_broadcast=("params", "batch_stats"), split_rngs={"params": False})
    _, outputs = scan(network, None, inputs)
    return outputs
