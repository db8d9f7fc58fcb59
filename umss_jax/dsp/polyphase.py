"""Linear filters with an integer stride, as one matrix product over blocks of the signal.

A filter bank that advances ``block`` input samples to make ``outputs`` output samples is a banded
matrix, the same for every block. Cutting the signal into blocks of one or two hundred samples and
multiplying by that (small, dense) matrix runs at the speed of the machine's matrix product, whose
gradient is a matrix product as well; a strided convolution of one channel does neither.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from umss_jax.dsp.framing import to_frames


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
    framed = to_frames(signal, window, block, before=left, count=count)
    filtered = jnp.einsum("...qn,np->...qp", framed, matrix, precision="highest")
    return filtered.reshape(*signal.shape[:-1], count * outputs)[..., :samples]
