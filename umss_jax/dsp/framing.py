"""Signals to overlapping frames, filtered or windowed there, and back by overlap-add."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.precision import SIGNALS


def hann_window(length: int, dtype: type[np.floating] = np.float32) -> np.ndarray:
    """Periodic Hann window, which every window of the system is: computed in float64, rounded.

    In [0, 1], 0 at its first sample. (SciPy's window differs in the last bits.)
    """
    n = np.arange(length, dtype=np.float64)
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * n / length)).astype(dtype)


def to_frames(
    signal: jax.Array, length: int, hop: int, *, before: int = 0, count: int | None = None
) -> jax.Array:
    """Cuts a signal into frames that advance by one hop, zeros outside the signal.

    Built from whole blocks side by side instead of a gather, so the gradient has no scatter.

    Args:
        signal: [..., samples].
        length: samples of a frame (any relation to ``hop``).
        hop: samples from one frame to the next.
        before: samples of the first frame that lie before the signal, ≥ 0.
        count: number of frames; by default as many as begin within the signal, ⌈samples / hop⌉.

    Returns:
        [..., count, length]; frame n begins at sample n · hop − before.
    """
    *lead, samples = signal.shape
    count = -(-samples // hop) if count is None else count
    hops_per_frame = -(-length // hop)
    rows = count + hops_per_frame - 1
    kept = signal[..., : max(0, rows * hop - before)]
    padding = [(0, 0)] * len(lead) + [(before, rows * hop - before - kept.shape[-1])]
    blocks = jnp.pad(kept, padding).reshape(*lead, rows, hop)
    parts = [
        blocks[..., start : start + count, : min(hop, length - start * hop)]
        for start in range(hops_per_frame)
    ]
    return jnp.concatenate(parts, axis=-1)


def block_filter(
    signal: jax.Array, matrix: jax.Array, *, block: int, left: int, samples: int
) -> jax.Array:
    """Filters a signal with an integer stride: every block of input gives one row of outputs.

    Such a filter bank is a banded matrix, the same for every block. Over blocks of one or two
    hundred samples the product with it runs at the speed of the machine's matrix product, whose
    gradient is a matrix product as well; a strided convolution of one channel does neither.

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
    filtered = jnp.einsum("...qn,np->...qp", framed, matrix, precision=SIGNALS)
    return filtered.reshape(*signal.shape[:-1], count * outputs)[..., :samples]


def overlap_add(framed: jax.Array, hop: int, samples: int) -> jax.Array:
    """Sums frames, each one hop later than the one before: the transpose of :func:`to_frames`.

    Args:
        framed: [..., count, length], length a multiple of ``hop``.
        hop: samples from one frame to the next.
        samples: to return, a multiple of ``hop``, at most (count − 1) · hop + length.

    Returns:
        [..., samples].
    """
    *lead, count, length = framed.shape
    rows = samples // hop
    blocks = framed.reshape(*lead, count, length // hop, hop)
    keep = [(0, 0)] * len(lead)
    first, *others = (
        jnp.pad(blocks[..., : rows - k, k, :], [*keep, (k, max(0, rows - count - k)), (0, 0)])
        for k in range(length // hop)
    )
    return sum(others, start=first).reshape(*lead, samples)


def overlap_add_hann(framed: jax.Array) -> jax.Array:
    """Hann-windowed overlap-add of frames that overlap by half.

    The first half of the first frame is not windowed, because nothing overlaps it; the second half
    of the last frame is dropped (reference: ``ddsp/core.py`` apply_all_pole_filter).
    [..., count, 2 · hop] → [..., count · hop].
    """
    *lead, count, length = framed.shape
    window = np.tile(hann_window(length), (count, 1))
    window[0, : length // 2] = 1.0
    windowed = framed * window.reshape((1,) * len(lead) + window.shape)
    return overlap_add(windowed, length // 2, count * length // 2)
