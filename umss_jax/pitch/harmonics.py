"""F0 to a few cents, by where its harmonics lie in the mixture.

A salience tells F0 to some five cents; at the twentieth harmonic that is as far as the width of a
spectral line. The instantaneous frequency of a bin tells much better where the sinusoid in it lies,
as long as no other voice has one there.

This project's own; the instantaneous frequency is that of the reassignment method (Auger, Flandrin
1995).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.config import AudioConfig
from umss_jax.dsp.framing import hann_window, to_frames
from umss_jax.dsp.harmonic_lines import VOICED_HZ, is_near_harmonic

_WINDOW = 1024
_HIGHEST_HZ = 4000.0
_HARMONICS = 40
_REACH_CENTS = 40.0  # of a harmonic: what lies further off is something else
_APART_HZ, _APART_SHARE = 31.0, 0.005  # of harmonics of two voices that are told apart
_PASSES = 2
_PRIOR = 1.0  # trust in the F0 that was given, in means of the weight of a voiced frame
_FLOOR = 1e-12


def align_to_harmonics(mixture: jax.Array, f0_hz_synth: jax.Array, audio: AudioConfig) -> jax.Array:
    """F0 moved to where the harmonics lie that no other voice covers.

    Twice, by at most 40 cents each time.

    The deviation of a voice is the mean of those of its harmonics below 4 kHz and of three frames,
    weighted by magnitude times the square of the harmonic's number (a deviation of so many hertz is
    so many fewer cents), and shrunk where little is heard.

    Args:
        mixture: ``[B, samples]``.
        f0_hz_synth: ``[B, J, samples / hop]``, Hz, at the middle of each hop; below 1 Hz is
            unvoiced and stays as it is.
        audio: rate and hop.

    Returns:
        float32 ``[B, J, samples / hop]``.
    """
    frames = f0_hz_synth.shape[-1]
    magnitude, hz = instantaneous_frequency(mixture, frames, audio)
    for _ in range(_PASSES):
        f0_hz_synth = _aligned(f0_hz_synth, magnitude, hz, audio)
    return f0_hz_synth


def instantaneous_frequency(
    mixture: jax.Array, frames: int, audio: AudioConfig
) -> tuple[jax.Array, jax.Array]:
    """Magnitude, and the frequency of what each bin holds in Hz: both ``[B, T, F]``.

    Frames are those of the middle of each hop; bins end above the highest harmonic looked at.
    """
    before = (_WINDOW - audio.hop_samples) // 2
    framed = to_frames(mixture, _WINDOW, audio.hop_samples, before=before, count=frames)
    bins = min(_WINDOW // 2 + 1, int(_HIGHEST_HZ * _WINDOW / audio.sample_rate_hz) + 3)
    slope = np.pi / _WINDOW * np.sin(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    window, sloping = hann_window(_WINDOW)[None, None], slope.astype(np.float32)[None, None]
    spectrum = jnp.fft.rfft(framed * window)[..., :bins]
    sloped = jnp.fft.rfft(framed * sloping)[..., :bins]
    power = jnp.abs(spectrum) ** 2
    shift = jnp.imag(sloped * jnp.conj(spectrum)) / (power + _FLOOR) / (2 * np.pi)
    per_sample = jnp.arange(bins)[None, None] / _WINDOW - shift
    return jnp.sqrt(power), per_sample * audio.sample_rate_hz


def _aligned(
    f0_hz: jax.Array, magnitude: jax.Array, hz: jax.Array, audio: AudioConfig
) -> jax.Array:
    """One pass. Axes are batch, voice, frame, harmonic and the three bins around it."""
    bin_hz = audio.sample_rate_hz / _WINDOW
    numbers = jnp.arange(1, _HARMONICS + 1)[None, None, None]
    is_voiced = f0_hz > VOICED_HZ
    harmonics = jnp.where(is_voiced, f0_hz, 0.0)[..., None] * numbers
    is_free = (harmonics > 0) & (harmonics < _HIGHEST_HZ) & ~_is_covered(f0_hz, harmonics)
    around = jnp.arange(-1, 2)[None, None, None, None]
    nearest = jnp.round(harmonics / bin_hz).astype(int)[..., None] + around
    batch = jnp.arange(f0_hz.shape[0])[:, None, None, None, None]
    frame = jnp.arange(f0_hz.shape[-1])[None, None, :, None, None]
    place = batch, frame, jnp.clip(nearest, 0, hz.shape[-1] - 1)
    cents = 1200 * jnp.log2(jnp.maximum(hz[place], 1.0) / jnp.maximum(harmonics, 1.0)[..., None])
    counts = is_free[..., None] & (jnp.abs(cents) < _REACH_CENTS)
    weight = jnp.where(counts, magnitude[place] * numbers[..., None] ** 2, 0.0)
    total = _over_three(jnp.sum(weight, axis=(-2, -1)))
    deviation = _over_three(jnp.sum(weight * jnp.where(counts, cents, 0.0), axis=(-2, -1)))
    usual = jnp.sum(total, axis=-1, keepdims=True) / jnp.maximum(
        jnp.sum(is_voiced, axis=-1, keepdims=True), 1
    )
    moved = f0_hz * 2 ** (deviation / (total + _PRIOR * usual + _FLOOR) / 1200)
    return jnp.where(is_voiced, moved, f0_hz)


def _is_covered(f0_hz: jax.Array, harmonics: jax.Array) -> jax.Array:
    """Whether another voice has a harmonic too near, ``[B, J, T, H]``."""
    covered = jnp.zeros(harmonics.shape, bool)
    voices = f0_hz.shape[1]
    for other in range(voices):
        near = is_near_harmonic(harmonics, f0_hz[:, other, None, :, None], _APART_HZ, _APART_SHARE)
        covered |= near & (np.arange(voices)[None, :, None, None] != other)
    return covered


def _over_three(values: jax.Array) -> jax.Array:
    """Of each frame and, at half weight, its neighbours."""
    padded = jnp.pad(values, ((0, 0), (0, 0), (1, 1)))
    return padded[..., 1:-1] + 0.5 * (padded[..., :-2] + padded[..., 2:])
