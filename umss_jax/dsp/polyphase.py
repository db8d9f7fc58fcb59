"""Linear filters with an integer stride, as one matrix product over blocks of the signal.

A filter bank that advances ``block`` input samples to make ``outputs`` output samples is a banded
matrix, the same for every block. Cutting the signal into blocks of one or two hundred samples and
multiplying by that (small, dense) matrix runs at the speed of the machine's matrix product, whose
gradient is a matrix product as well; a strided convolution of one channel does neither.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def overlapping_blocks(
    signal: jax.Array, *, block: int, window: int, left: int, count: int
) -> jax.Array:
    """Windows of a signal that advance by one block, zeros outside the signal.

    Built from reshapes and slices only: no gather, so the gradient has no scatter.

    Args:
        signal: [..., samples].
        block: advance from one window to the next, in samples.
        window: samples in a window (any relation to ``block``).
        left: samples of the first window that lie before the signal, ≥ 0.
        count: number of windows.

    Returns:
        [..., count, window]: window ``q`` begins at sample ``q · block − left``.
    """
    blocks_per_window = -(-window // block)
    rows = count + blocks_per_window - 1
    kept = signal[..., : max(0, rows * block - left)]
    batch = [(0, 0)] * (signal.ndim - 1)
    padded = jnp.pad(kept, [*batch, (left, rows * block - left - kept.shape[-1])])
    blocks = padded.reshape(*signal.shape[:-1], rows, block)
    parts = []
    for start in range(blocks_per_window):
        width = min(block, window - start * block)
        parts.append(blocks[..., start : start + count, :width])
    return jnp.concatenate(parts, axis=-1)


def block_filter(
    signal: jax.Array, matrix: jax.Array, *, block: int, left: int, samples: int
) -> jax.Array:
    """Filters a signal with a stride: every block of input gives one row of outputs.

    Args:
        signal: [..., input samples].
        matrix: [window, outputs per block], the filter bank of one block.
        block: input samples per block.
        left: samples of each window that precede its block, ≥ 0.
        samples: output samples wanted.

    Returns:
        [..., samples].
    """
    window, outputs = matrix.shape
    count = -(-samples // outputs)
    frames = overlapping_blocks(signal, block=block, window=window, left=left, count=count)
    filtered = jnp.einsum("...qn,np->...qp", frames, matrix, precision="highest")
    return filtered.reshape(*signal.shape[:-1], count * outputs)[..., :samples]
