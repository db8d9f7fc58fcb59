"""The gradient of a convolution in its kernel, as matrix products that suit a processor.

Each tap of that gradient is a product of the input's channels, shifted by the tap, and those of
the output's gradient, summed over bins and frames. By itself it is too narrow for the cores, and
what XLA makes of all of them as one convolution runs, depending on the version, on one core or at
a tenth of the rate of products. Here the taps along one axis are put side by side with the input
and those along the other with the gradient: one product of k_f · C_in by k_t · C_out columns gives
all of them, from k_f + k_t copies instead of k_f · k_t. Its long axis, bins and frames of an
example read as one padded line, on which every tap is a shift, is cut in blocks that stay in
the cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from umss_jax.precision import CONVOLUTIONS

_BLOCK_FLOATS = 1 << 19
"""Of both operands of a block's product: 2 MiB in float32. At half of it the products lose 10 to
20 %, at twice as much nothing is gained (``umss-jax bench --stage kernel_gradient_3x3_64``)."""


class _Side(NamedTuple):
    """One operand: its line, and where on it each tap begins."""

    line: jax.Array
    """[B, L, C]."""
    starts: list[int]


def kernel_gradient(
    x: jax.Array, gradient: jax.Array, taps: tuple[int, int], block_floats: int = _BLOCK_FLOATS
) -> jax.Array:
    """Gradient of a convolution of unit stride with 'same' padding in its kernel.

    Args:
        x: input of the convolution, [B, F, T, C_in].
        gradient: in its output, [B, F, T, C_out].
        taps: k_f, k_t; of the k − 1 zeros along an axis (k − 1) // 2 come before the first value.
        block_floats: about how many values both operands of one product hold.

    Returns:
        [k_f, k_t, C_in, C_out], summed in float32 at least, in the type of ``x``.
    """
    batch, bins, frames, channels_in = x.shape
    channels_out = gradient.shape[-1]
    width = frames + taps[1] - 1
    with_x = taps_with_input(taps, channels_in, channels_out)
    sides = (
        _side(x, taps, with_x, first_zeros=[(n - 1) // 2 for n in taps], forward=True),
        _side(
            gradient,
            taps,
            (not with_x[0], not with_x[1]),
            first_zeros=[n // 2 for n in taps],
            forward=False,
        ),
    )
    columns = sum(len(side.starts) * side.line.shape[-1] for side in sides)
    per_example = bins * width * columns
    # A block is a part of one example, or several short ones.
    blocks = math.ceil(per_example / block_floats)
    length = math.ceil(bins * width / blocks)
    groups = math.ceil(batch / max(1, block_floats // per_example))
    examples = math.ceil(batch / groups)
    padded = [_padded(side, groups * examples, blocks * length) for side in sides]

    def product(number: jax.Array | int) -> jax.Array:
        first, start = number // blocks * examples, number % blocks * length
        # The barrier keeps XLA from computing the copies anew inside of the product.
        of_x, of_gradient = lax.optimization_barrier(
            tuple(_side_by_side(side, first, start, (examples, length)) for side in padded)
        )
        return lax.dot_general(
            of_x,
            of_gradient,
            (((0, 1), (0, 1)), ((), ())),
            precision=CONVOLUTIONS,
            preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
        )

    if groups * blocks == 1:
        total = product(0)
    else:
        zeros = jnp.zeros_like(jax.eval_shape(product, 0))
        total = lax.fori_loop(0, groups * blocks, lambda n, sum_: sum_ + product(n), zeros)
    with_gradient = [1 if moved else n for moved, n in zip(with_x, taps, strict=True)]
    taps_x = [n if moved else 1 for moved, n in zip(with_x, taps, strict=True)]
    total = total.reshape(*taps_x, channels_in, *with_gradient, channels_out)
    return total.transpose(0, 3, 1, 4, 2, 5).reshape(*taps, channels_in, -1).astype(x.dtype)


def taps_with_input(
    taps: tuple[int, int], channels_in: int, channels_out: int
) -> tuple[bool, bool]:
    """Whether the taps along frequency and those along time go with the input.

    Chosen for the fewest columns of both operands together, which is least to copy and nearest to
    a square product.
    """

    def columns(choice: tuple[bool, bool]) -> int:
        of_x = math.prod(n for n, moved in zip(taps, choice, strict=True) if moved)
        return of_x * channels_in + math.prod(taps) // of_x * channels_out

    return min(((True, False), (False, True), (True, True), (False, False)), key=columns)


def _side(
    image: jax.Array,
    taps: tuple[int, int],
    moved: Sequence[bool],
    first_zeros: Sequence[int],
    forward: bool,
) -> _Side:
    """An operand as a line whose rows are all of the padded width, and its taps' starts.

    The taps along the axes ``moved`` go with it. ``forward`` says whether a later tap meets a
    later value, which is so for the input; for the gradient it meets an earlier one.
    """
    batch, bins, frames, channels = image.shape
    width = frames + taps[1] - 1
    pad_f = (first_zeros[0], taps[0] - 1 - first_zeros[0]) if moved[0] else (0, 0)
    pad_t = (first_zeros[1], taps[1] - 1 - first_zeros[1]) if moved[1] else (0, taps[1] - 1)
    padded = jnp.pad(image, ((0, 0), pad_f, pad_t, (0, 0)))
    rows, columns = (range(n) if here else range(1) for n, here in zip(taps, moved, strict=True))
    starts = [row * width + column for row in rows for column in columns]
    line = padded.reshape(batch, (bins + sum(pad_f)) * width, channels)
    return _Side(line, starts if forward else starts[::-1])


def _padded(side: _Side, examples: int, length: int) -> _Side:
    """With zeros, so that there are so many examples and the last tap finds ``length`` values."""
    batch, found, _ = side.line.shape
    after = max(length + max(side.starts) - found, 0)
    return side._replace(line=jnp.pad(side.line, ((0, examples - batch), (0, after), (0, 0))))


def _side_by_side(
    side: _Side, first: jax.Array | int, start: jax.Array | int, size: tuple[int, int]
) -> jax.Array:
    """A block of ``size`` (examples, length), each tap's values in columns of their own."""
    lines, channels = side.line, side.line.shape[-1]
    seen = [lax.dynamic_slice(lines, (first, start + s, 0), (*size, channels)) for s in side.starts]
    return jnp.concatenate(seen, axis=-1)
