"""Convolution over frequency and time with 'same' padding, directly or by a transform.

Short kernels are convolved by the backend; on a processor their gradient is made of products.

Kernels of 70 or 360 taps along frequency hold five sixths of the arithmetic of the salience
network. A discrete Fourier transform along frequency turns such a kernel into one small product
of channels per transformed bin, a line (see `frequency_lines`): for 70 × 3 taps and 32 → 32
channels 10 instead of 155 MFLOP per frame, including both transforms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from umss_jax.accelerators import for_accelerator
from umss_jax.networks.frequency_lines import (
    from_lines,
    kernel_from_lines,
    line_count,
    line_kernels,
    to_lines,
    transform,
)
from umss_jax.networks.kernel_gradient import kernel_gradient
from umss_jax.precision import CONVOLUTIONS

METHODS = ("auto", "direct", "fft")

_einsum = partial(jnp.einsum, precision=CONVOLUTIONS)


def same_conv(x: jax.Array, kernel: jax.Array, method: str = "auto") -> jax.Array:
    """Convolve with 'same' zero padding, the extra row or column after (TensorFlow's rule).

    Args:
        x: [B, F, T, C_in].
        kernel: [k_f, k_t, C_in, C_out], correlated with ``x`` (not flipped), as in Keras.
        method: 'direct' (the backend's convolution, for the gradients as well), 'fft' (transform
            along frequency) or 'auto', which counts the arithmetic and takes the transform where
            it saves enough, not in bfloat16, to which its sums over all bins are too long; for the
            others on a CPU the kernel's gradient is made of matrix products.

    Returns:
        [B, F, T, C_out].

    Raises:
        ValueError: the method is none of these.
    """
    if method not in METHODS:
        raise ValueError(f"unknown convolution method {method!r}: choose among {METHODS}")
    automatic = method == "auto" and x.dtype != jnp.bfloat16
    if method == "fft" or (automatic and _transform_pays(x.shape, kernel.shape)):
        return long_frequency_conv(x, kernel)
    # Accelerators' libraries have convolutions of their own for the kernel's gradient.
    if method == "auto" and not for_accelerator():
        return short_conv(x, kernel)
    return direct_conv(x, kernel)


@jax.custom_vjp
def direct_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """As `same_conv`, by the backend's own convolution.

    Both gradients are written as convolutions of the same plain kind, their operands transposed
    beforehand: those that JAX derives run on a CPU up to a hundred times slower inside loops,
    where XLA does not bring them into that kind. Reverse mode only.
    """
    return _plain_conv(x, kernel, [(_before(taps), taps // 2) for taps in kernel.shape[:2]])


def _direct_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return direct_conv(x, kernel), (x, kernel)


def _direct_backward(
    residuals: tuple[jax.Array, ...], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    taps = kernel.shape[:2]
    # Channels take the place of examples, and frequency and time that of the taps.
    images, taken = lax.optimization_barrier(
        (x.transpose(3, 1, 2, 0), gradient.transpose(1, 2, 0, 3))
    )
    of_kernel = _plain_conv(images, taken, [(_before(n), n // 2) for n in taps])
    return _input_gradient(kernel, gradient), of_kernel.transpose(1, 2, 0, 3)


direct_conv.defvjp(_direct_forward, _direct_backward)


def _input_gradient(kernel: jax.Array, gradient: jax.Array) -> jax.Array:
    # Without the barrier XLA moves the transposition back into the convolution.
    flipped = lax.optimization_barrier(kernel[::-1, ::-1].transpose(0, 1, 3, 2))
    return _plain_conv(gradient, flipped, [(n // 2, _before(n)) for n in kernel.shape[:2]])


@jax.custom_vjp
def short_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """As `direct_conv`, its kernel's gradient made of matrix products (see `kernel_gradient`)."""
    return direct_conv(x, kernel)


def _short_backward(
    residuals: tuple[jax.Array, ...], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    taps = (kernel.shape[0], kernel.shape[1])
    return _input_gradient(kernel, gradient), kernel_gradient(x, gradient, taps)


short_conv.defvjp(_direct_forward, _short_backward)


def _before(taps: int) -> int:
    """Rows or columns of zeros before the first, for a kernel of so many taps."""
    return (taps - 1) // 2


def _plain_conv(x: jax.Array, kernel: jax.Array, padding: Sequence[tuple[int, int]]) -> jax.Array:
    """Correlate [B, F, T, C] with [k_f, k_t, C, C_out]."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=CONVOLUTIONS,
    )


@jax.custom_vjp
def long_frequency_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """As `same_conv`, by a discrete Fourier transform along frequency.

    Exact but for rounding: relative to float64 it is as accurate as the direct convolution. Its
    derivative keeps only ``x`` and ``kernel`` and transforms again. Reverse mode only.
    """
    bins, (taps_f, taps_t) = x.shape[1], kernel.shape[:2]
    matrices = transform(bins, taps_f)
    lines = to_lines(x, matrices.analysis, (_before(taps_t), taps_t // 2))
    lines = _delays(lines, range(taps_t))
    products = _einsum("ktc,kco->kto", lines, line_kernels(kernel, bins))
    return from_lines(products, matrices.synthesis, x.shape)


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return long_frequency_conv(x, kernel), (x, kernel)


def _backward(
    residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    bins = x.shape[1]
    taps_f, taps_t, channels_in, channels_out = kernel.shape
    matrices = transform(bins, taps_f)
    # Every step of the forward pass transposed: what was shifted later comes earlier.
    lines = to_lines(gradient, matrices.synthesis, (taps_t // 2, _before(taps_t)))
    lines = _delays(lines, reversed(range(taps_t)))
    kernels = line_kernels(kernel, bins).reshape(-1, taps_t, 2 * channels_in, 2 * channels_out)
    transposed = kernels.transpose(0, 1, 3, 2).reshape(lines.shape[0], -1, 2 * channels_in)
    products = _einsum("kto,koc->ktc", lines, transposed)
    x_gradient = from_lines(products, matrices.analysis, x.shape)

    # The kernel's gradient costs nothing where nobody uses it: the compiler removes it.
    x_lines = _delays(to_lines(x, matrices.analysis, (0, 0)), range(1))
    outer = _einsum("ktc,kto->kco", x_lines, lines)
    outer = outer.reshape(-1, 2, channels_in, taps_t, 2, channels_out)
    return x_gradient, kernel_from_lines(outer, bins, taps_f)


long_frequency_conv.defvjp(_forward, _backward)


def _delays(lines: jax.Array, starts: Iterable[int]) -> jax.Array:
    """The frames seen by each time tap side by side: [2, K, B, T, C] → [K, B T, taps · 2 · C]."""
    starts = tuple(starts)
    frames = lines.shape[3] - len(starts) + 1
    parts = [part[:, :, start : start + frames] for start in starts for part in lines]
    stacked = jnp.concatenate(parts, axis=-1)
    return stacked.reshape(stacked.shape[0], -1, stacked.shape[-1])


def _transform_pays(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...]) -> bool:
    """Whether the transform saves enough arithmetic to pay for its copies.

    The factor of 2 is measured on a CPU; accelerators convolve small kernels better than they
    multiply small matrices, so they must gain more (a guess: not measured).
    """
    bins = x_shape[1]
    taps_f, taps_t, channels_in, channels_out = kernel_shape
    lines = line_count(bins, taps_f)
    direct = bins * taps_f * taps_t * channels_in * channels_out
    transformed = lines * lines * (channels_in + channels_out)
    transformed += 4 * lines * taps_t * channels_in * channels_out
    return direct > (4 if for_accelerator() else 2) * transformed
