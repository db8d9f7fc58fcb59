"""Convolution over frequency and time with 'same' padding, directly or by a transform.

Short kernels are convolved by the backend; on a processor their gradient is made of products.

Kernels of 70 or 360 taps along frequency hold five sixths of the arithmetic of the salience
network. A discrete Fourier transform along frequency turns such a kernel into one small product
of channels per transformed bin: for 70 × 3 taps and 32 → 32 channels 16 instead of 107 MFLOP per
frame, including both transforms as plain matrix products, which run at the machine's full speed.
Bins are called lines here once transformed, to keep them apart from pitch bins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from umss_jax.networks.kernel_gradient import kernel_gradient

METHODS = ("auto", "direct", "fft")

_einsum = partial(jnp.einsum, precision=lax.Precision.HIGHEST)


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
    if method == "auto" and jax.default_backend() == "cpu":
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
    return _input_gradient(kernel, gradient), kernel_gradient(x, gradient, kernel.shape[:2])


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
        precision=lax.Precision.HIGHEST,
    )


@jax.custom_vjp
def long_frequency_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """As `same_conv`, by a discrete Fourier transform along frequency.

    Exact but for rounding: relative to float64 it is as accurate as the direct convolution. Its
    derivative keeps only ``x`` and ``kernel`` and transforms again. Reverse mode only.
    """
    bins, (taps_f, taps_t) = x.shape[1], kernel.shape[:2]
    analysis, synthesis, _ = _transforms(bins, taps_f)
    lines = _to_lines(x, analysis, (_before(taps_t), taps_t // 2))
    lines = _delays(lines, range(taps_t))
    products = _einsum("ktc,kco->kto", lines, _line_kernels(kernel, bins))
    return _from_lines(products, synthesis, x.shape)


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return long_frequency_conv(x, kernel), (x, kernel)


def _backward(
    residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    bins = x.shape[1]
    taps_f, taps_t, channels_in, channels_out = kernel.shape
    analysis, synthesis, kernel_analysis = _transforms(bins, taps_f)
    # Every step of the forward pass transposed: what was shifted later comes earlier.
    lines = _to_lines(gradient, synthesis, (taps_t // 2, _before(taps_t)))
    lines = _delays(lines, reversed(range(taps_t)))
    kernels = _line_kernels(kernel, bins).reshape(-1, taps_t, 2 * channels_in, 2 * channels_out)
    transposed = kernels.transpose(0, 1, 3, 2).reshape(lines.shape[0], -1, 2 * channels_in)
    x_gradient = _from_lines(_einsum("kto,koc->ktc", lines, transposed), analysis, x.shape)

    # The kernel's gradient costs nothing where nobody uses it: the compiler removes it.
    x_lines = _delays(_to_lines(x, analysis, (0, 0)), range(1))
    outer = _einsum("ktc,kto->kco", x_lines, lines)
    outer = outer.reshape(-1, 2, channels_in, taps_t, 2, channels_out)
    real = outer[:, 0, :, :, 0] + outer[:, 1, :, :, 1]
    imaginary = outer[:, 0, :, :, 1] - outer[:, 1, :, :, 0]
    kernel_gradient = _einsum(
        "pkf,pkito->ftio", jnp.asarray(kernel_analysis), jnp.stack([real, imaginary])
    )
    return x_gradient, kernel_gradient


long_frequency_conv.defvjp(_forward, _backward)


def _to_lines(x: jax.Array, transform: np.ndarray, pad_frames: tuple[int, int]) -> jax.Array:
    """Transform [B, F, T, C] to [K, 2, B, T + padding, C], real and imaginary part second."""
    lines, _, bins = transform.shape
    x = jnp.moveaxis(jnp.pad(x, ((0, 0), (0, 0), pad_frames, (0, 0))), 1, 0)
    product = _einsum("lf,fn->ln", transform.reshape(2 * lines, bins), x.reshape(bins, -1))
    return product.reshape(lines, 2, *x.shape[1:])


def _from_lines(lines: jax.Array, transform: np.ndarray, shape: tuple[int, ...]) -> jax.Array:
    """Transform [K, B T, 2 C] to [B, F, T, C], by the transpose of `_to_lines`' product."""
    batch, bins, frames, _ = shape
    count = transform.shape[0]
    rows = lines.reshape(count, batch * frames, 2, -1).transpose(0, 2, 1, 3)
    product = _einsum("lf,ln->fn", transform.reshape(2 * count, bins), rows.reshape(2 * count, -1))
    return jnp.moveaxis(product.reshape(bins, batch, frames, -1), 0, 1)


def _delays(lines: jax.Array, starts: Iterable[int]) -> jax.Array:
    """Put the frames seen by each time tap side by side: [K, B T, taps · 2 · C]."""
    starts = tuple(starts)
    frames = lines.shape[3] - len(starts) + 1
    parts = [lines[:, part, :, start : start + frames] for start in starts for part in range(2)]
    stacked = jnp.concatenate(parts, axis=-1)
    return stacked.reshape(lines.shape[0], -1, stacked.shape[-1])


def _line_kernels(kernel: jax.Array, bins: int) -> jax.Array:
    """Matrix [K, k_t · 2 · C_in, 2 · C_out] that multiplies by the transformed kernel.

    Complex products written in real numbers: (a + ib)(c + id) has the rows [c, d] for a and
    [−d, c] for b.
    """
    _, _, kernel_analysis = _transforms(bins, kernel.shape[0])
    real, imaginary = _einsum("pkf,ftio->pktio", jnp.asarray(kernel_analysis), kernel)
    from_real = jnp.concatenate([real, imaginary], axis=-1)
    from_imaginary = jnp.concatenate([-imaginary, real], axis=-1)
    matrix = jnp.concatenate([from_real, from_imaginary], axis=2)
    return matrix.reshape(matrix.shape[0], -1, matrix.shape[-1])


def _line_count(bins: int, taps: int) -> int:
    """Lines of the shortest odd transform in which nothing wraps into the ``bins`` kept.

    A circular convolution may wrap as long as what wraps lands outside: the length needs only
    the larger half of the kernel more than the signal, not the whole kernel. Odd, so that no line
    but the first is real.
    """
    return (bins + taps // 2) // 2 + 1


@lru_cache(maxsize=16)
def _transforms(bins: int, taps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices of the transform.

    Returns:
        Analysis [K, 2, F]; synthesis [K, 2, F], which sums over its first two axes; kernel
        analysis [2, K, k_f], conjugate (correlation) and centred on the tap that meets the
        output's own bin.
    """
    lines = _line_count(bins, taps)
    length = 2 * lines - 1
    line = np.arange(lines)[:, None]

    def angle(position: np.ndarray) -> np.ndarray:
        # Reduced in integers first: exact, whatever the position.
        return 2 * np.pi / length * ((line * position[None]) % length)

    signal = angle(np.arange(bins))
    analysis = np.stack([np.cos(signal), -np.sin(signal)], axis=1)
    weight = np.where(line == 0, 1.0, 2.0)[..., None] / length
    tap = angle(np.arange(taps) - _before(taps))
    kernel_analysis = np.stack([np.cos(tap), np.sin(tap)])
    matrices = (analysis, analysis * weight, kernel_analysis)
    return tuple(matrix.astype(np.float32) for matrix in matrices)  # type: ignore[return-value]


def _transform_pays(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...]) -> bool:
    """Whether the transform saves enough arithmetic to pay for its copies.

    The factor of 2 is measured on a CPU; accelerators convolve small kernels better than they
    multiply small matrices, so they must gain more (a guess: not measured).
    """
    bins = x_shape[1]
    taps_f, taps_t, channels_in, channels_out = kernel_shape
    lines = _line_count(bins, taps_f)
    direct = bins * taps_f * taps_t * channels_in * channels_out
    transform = 2 * lines * bins * (channels_in + channels_out)
    transform += 4 * lines * taps_t * channels_in * channels_out
    return direct > (2 if jax.default_backend() == "cpu" else 4) * transform
