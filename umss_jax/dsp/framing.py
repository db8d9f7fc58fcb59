"""Frames with 50 % overlap, and their Hann overlap-add, as noise and vocal tract use them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def hann_window(length: int) -> np.ndarray:
    """Periodic Hann window, [length] float32 (every window of the system is periodic)."""
    n = np.arange(length, dtype=np.float64)
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * n / length)).astype(np.float32)


def frame_half_overlap(signal: jax.Array, hop_samples: int) -> jax.Array:
    """Cuts a signal into frames of two hops, the last one zero padded.

    Args:
        signal: [..., samples]; samples a multiple of ``hop_samples``.
        hop_samples: half the frame length.

    Returns:
        [..., samples / hop, 2 · hop]; frame n starts at sample n · hop.
    """
    *lead, samples = signal.shape
    blocks = signal.reshape(*lead, samples // hop_samples, hop_samples)
    following = jnp.concatenate([blocks[..., 1:, :], jnp.zeros_like(blocks[..., :1, :])], axis=-2)
    return jnp.concatenate([blocks, following], axis=-1)


def overlap_add_hann(frames: jax.Array) -> jax.Array:
    """Hann-windowed overlap-add of frames that overlap by half.

    The first half of the first frame is not windowed, because nothing overlaps it; the second half
    of the last frame is dropped (reference: ``ddsp/core.py`` apply_all_pole_filter).

    Args:
        frames: [..., n_frames, 2 · hop].

    Returns:
        [..., n_frames · hop].
    """
    *lead, n_frames, length = frames.shape
    hop = length // 2
    window = hann_window(length)
    rise = np.tile(window[:hop], (n_frames, 1))
    rise[0] = 1.0
    rising = frames[..., :hop] * rise.reshape((1,) * len(lead) + rise.shape)
    fall = window[hop:].reshape((1,) * (len(lead) + 1) + (hop,))
    falling = frames[..., :-1, hop:] * fall
    falling = jnp.concatenate([jnp.zeros_like(rising[..., :1, :]), falling], axis=-2)
    return (rising + falling).reshape(*lead, n_frames * hop)
