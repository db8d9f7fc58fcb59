"""Claps and knocks: what nobody sings and is over in a moment, kept out of the voices.

The masks of the voices share out whatever a recording holds, so a clap would be all singers' at
once. It is told from singing by three signs. It is louder than what sounds shortly before it and
shortly after: a note goes on, however hard it begins, and so does the vowel after a consonant. It
is so at all frequencies from 800 to 4000 Hz, where notes fill only their harmonics. And it stands
out from the segment as a whole there, which a consonant at the end of a word, with silence on both
sides, does not. What is above the level around it is the stroke; how it rings on in the room is
not.

This project's own, after the ideas of harmonic-percussive separation (FitzGerald 2010).
"""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.dsp.stft import centred_stft, inverse_centred_stft
from umss_jax.precision import SIGNALS

_WINDOW_S = 0.032
_HOPS_PER_WINDOW = 4
_BEFORE, _SOON, _AFTER = (-8, -3), (3, 6), (8, 16)  # frames of 8 ms whose mean power counts
_LOWEST_HZ, _HIGHEST_HZ = 800.0, 4000.0
_LEAST_DB, _SURE_DB = 4.0, 6.0  # mean of the levels above what is around
_USUAL_SHARE = 0.3  # of the mean power of a bin: what is softer does not stand out
_FLOOR = 1e-4  # of the mean power of all bins, for those that are empty
_SILENCE = 1e-20


def without_strokes(signal: jax.Array, rate_hz: int) -> jax.Array:
    """A signal without its claps and knocks: ``[..., S]`` less :func:`strokes`."""
    return signal - strokes(signal, rate_hz)


def strokes(signal: jax.Array, rate_hz: int) -> jax.Array:
    """Claps and knocks in a signal.

    Args:
        signal: ``[..., S]``, at any level; what is louder than usual is so within these samples.
        rate_hz: of the signal.

    Returns:
        ``[..., S]``, exactly 0 in frames in which there is none. The last 128 ms are not looked
        at, since what comes after them is not known: a note may begin there. Nor are the first
        16 ms, whose window has the signal mirrored, with an edge that is no stroke.
    """
    hop = round(_WINDOW_S * rate_hz / _HOPS_PER_WINDOW)
    spectrum = centred_stft(signal, _HOPS_PER_WINDOW * hop, hop)
    power = jnp.abs(spectrum) ** 2
    frames = power.shape[-1]
    near = np.stack([_mean_of(frames, *when) for when in (_BEFORE, _SOON, _AFTER)])
    before, soon, after = jnp.einsum("nts,...fs->n...ft", near, power, precision=SIGNALS)
    floor = _FLOOR * jnp.mean(power, axis=(-2, -1), keepdims=True)
    around = jnp.maximum(jnp.maximum(before, after), floor)
    usual = _USUAL_SHARE * jnp.mean(power, axis=-1, keepdims=True)
    share = jnp.maximum(1.0 - around / (power + _SILENCE), 0.0)
    is_stroke = _likelihood(power, jnp.maximum(jnp.maximum(around, soon), usual), rate_hz)
    is_stroke = is_stroke.at[..., : _HOPS_PER_WINDOW // 2].set(0.0)
    is_stroke = is_stroke.at[..., frames - _AFTER[1] :].set(0.0)
    filtered = spectrum * share * is_stroke[..., None, :]
    return inverse_centred_stft(filtered, signal.shape[-1], hop)


@lru_cache
def _mean_of(frames: int, first: int, last: int) -> np.ndarray:
    """Weights ``[T, T]`` of the mean of those frames from ``first`` to ``last`` after each one."""
    apart = np.arange(frames) - np.arange(frames)[:, None]
    counts = (apart >= first) & (apart <= last)
    return (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).astype(np.float32)


def _likelihood(power: jax.Array, around: jax.Array, rate_hz: int) -> jax.Array:
    """How sure it is that each frame holds a stroke, ``[..., T]`` in [0, 1]."""
    hz = np.linspace(0, rate_hz / 2, power.shape[-2])
    band = np.flatnonzero((hz >= _LOWEST_HZ) & (hz <= _HIGHEST_HZ))
    heard, level = (one[..., band[0] : band[-1] + 1, :] + _SILENCE for one in (power, around))
    above_db = jnp.mean(10 * jnp.log10(heard / level), axis=-2)
    return jnp.clip((above_db - _LEAST_DB) / (_SURE_DB - _LEAST_DB), 0.0, 1.0)
