"""Signals to overlapping frames, and back by overlap-add."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.dsp.windows import hann_window


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

    Args:
        framed: [..., count, 2 · hop].

    Returns:
        [..., count · hop].
    """
    *lead, count, length = framed.shape
    window = np.tile(hann_window(length), (count, 1))
    window[0, : length // 2] = 1.0
    windowed = framed * window.reshape((1,) * len(lead) + window.shape)
    return overlap_add(windowed, length // 2, count * length // 2)
