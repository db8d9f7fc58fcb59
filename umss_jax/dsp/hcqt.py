"""Harmonic constant-Q transform: one octave-recursive CQT per harmonic, as matrix products.

The signal is halved in rate six times. At every level each harmonic's octave is the same small
bank of time-domain kernels, correlated at a hop halved as often; seen over blocks of one hop that
correlation is an ordinary convolution with unit stride, so that both it and its gradient run at
the speed of matrix products. Harmonics 1 and 2 share all octaves but two (they meet at the same
rate); harmonic 4 lies on the same grid, but librosa evaluates its octaves at half the rate of
harmonic 2's, and taking harmonic 2's for it costs 0.8 dB at the 99th percentile: see ``Octave``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.config import HcqtConfig
from umss_jax.dsp.cqt_kernels import Octave, decimator_matrix, octave_kernel, octaves
from umss_jax.dsp.framing import block_filter
from umss_jax.precision import SIGNALS


class HcqtFeatures(NamedTuple):
    """Input of the salience network, both [batch, harmonics, bins, frames]."""

    magnitude_db: jax.Array
    phase_difference: jax.Array


class HarmonicCqt(NamedTuple):
    """Complex transform in two real arrays, both [batch, harmonics, bins, frames]."""

    real: jax.Array
    imaginary: jax.Array


def hcqt(audio: jax.Array, config: HcqtConfig = HcqtConfig()) -> HcqtFeatures:
    """Magnitude in dB and phase difference of the harmonic constant-Q transform.

    Args:
        audio: [batch, samples] at ``config.sample_rate_hz`` (22 050 Hz), any scale.
        config: grid, hop and floors; static under ``jit``.

    Returns:
        ``magnitude_db`` [batch, harmonics, bins, samples // hop], dB relative to the maximum of
        that harmonic and example, in [floor_db, 0]; ``phase_difference``, same shape, radians in
        [−π, π]: the phase itself in the first frame, then the difference of the unwrapped phase.

        Silence gives 0 dB and 0 rad everywhere, as librosa does (amplitudes are clipped at
        ``amplitude_floor`` before the maximum is taken).

    Raises:
        ValueError: fewer samples than one hop, no batch axis, or a grid the rate cannot carry.

    Source: ``librosa.cqt(pad_mode="reflect")`` and ``amplitude_to_db(ref=max)`` per harmonic, on
    which the published networks were trained (pumpp's HCQTPhaseDiff). The reference of 2024 takes
    its maximum over the batch; this one never lets examples depend on each other. Gradients are
    finite everywhere; that of the phase is damped below ``amplitude_floor``.
    """
    transform = harmonic_cqt(audio, config)
    return HcqtFeatures(
        decibels(transform, config.floor_db, config.amplitude_floor),
        phase_difference(transform, config.amplitude_floor),
    )


def harmonic_cqt(audio: jax.Array, config: HcqtConfig) -> HarmonicCqt:
    """Complex constant-Q transforms on the grids of all harmonics.

    Args and errors as ``hcqt``; returns real and imaginary parts, scaled like ``librosa.cqt``.
    """
    if audio.ndim != 2:
        raise ValueError(f"audio must be [batch, samples], got shape {audio.shape}")
    frames = audio.shape[-1] // config.hop_samples
    if frames < 1:
        raise ValueError(
            f"{audio.shape[-1]} samples are fewer than one hop of {config.hop_samples}"
        )
    grids = [octaves(config, harmonic) for harmonic in config.harmonics]
    levels = 1 + max(octave.level for grid in grids for octave in grid)
    pyramid = _halvings(audio, levels)
    responses = {
        octave: _octave_response(pyramid[octave.level], octave, frames, config)
        for octave in dict.fromkeys(octave for grid in grids for octave in grid)
    }
    # [batch, harmonics, octaves, (real, imaginary), bins per octave, frames]
    stacked = jnp.stack(
        [jnp.stack([responses[octave] for octave in grid], axis=1) for grid in grids], axis=1
    )
    shape = (audio.shape[0], len(grids), config.bins, frames)
    return HarmonicCqt(stacked[:, :, :, 0].reshape(shape), stacked[:, :, :, 1].reshape(shape))


def _halvings(audio: jax.Array, levels: int) -> list[jax.Array]:
    """The signal at its own rate, at half of it, and so on: [batch, ceil(samples / 2^level)]."""
    matrix, lead = decimator_matrix()
    kernel = jnp.asarray(matrix, audio.dtype)
    pyramid = [audio]
    for _ in range(levels - 1):
        samples = -(-pyramid[-1].shape[-1] // 2)
        block = 2 * matrix.shape[1]
        pyramid.append(block_filter(pyramid[-1], kernel, block=block, left=lead, samples=samples))
    return pyramid


@lru_cache(maxsize=64)
def _reflected_index(samples: int, before: int, after: int) -> np.ndarray:
    """Sample numbers of a signal mirrored at its first and last sample, as often as needed."""
    period = max(1, 2 * (samples - 1))
    position = np.arange(-before, samples + after) % period
    return np.minimum(position, period - position) if samples > 1 else position


def _reflect(signal: jax.Array, before: int, after: int) -> jax.Array:
    """Mirrors a signal [batch, samples] at both ends; ``after`` < 0 drops samples."""
    samples = signal.shape[-1]
    if before >= samples or after >= samples:  # mirrored more than once
        return signal[:, _reflected_index(samples, before, after)]
    head = signal[:, 1 : before + 1][:, ::-1]
    if after <= 0:
        return jnp.concatenate([head, signal[:, : samples + after]], axis=1)
    tail = signal[:, samples - 1 - after : samples - 1][:, ::-1]
    return jnp.concatenate([head, signal, tail], axis=1)


def _octave_response(
    signal: jax.Array, octave: Octave, frames: int, config: HcqtConfig
) -> jax.Array:
    """Correlates one octave of kernels: [batch, (real, imaginary), bins per octave, frames]."""
    hop = config.hop_samples >> octave.level
    kernel = octave_kernel(octave.step, config.bins_per_octave, config.sparsity)
    support, columns = kernel.matrix.shape
    # The stride becomes channels: blocks of one hop, a filter of `width` blocks, unit stride.
    width = -(-support // hop)
    matrix = np.pad(kernel.matrix, ((0, width * hop - support), (0, 0)))
    rows = frames + width - 1
    after = rows * hop - kernel.lead - signal.shape[-1]
    padded = _reflect(signal, kernel.lead, after)
    response = _correlated(
        padded.reshape(signal.shape[0], rows, hop).swapaxes(1, 2),
        jnp.asarray(matrix.reshape(width, hop, columns), signal.dtype),
    )
    return response.reshape(signal.shape[0], 2, config.bins_per_octave, frames)


def _correlated(blocks: jax.Array, kernel: jax.Array) -> jax.Array:
    """Blocks [batch, hop, rows] with a kernel [width, hop, columns]: [batch, columns, frames]."""
    return jax.lax.conv_general_dilated(
        blocks,
        kernel,
        window_strides=(1,),
        padding="VALID",
        dimension_numbers=("NCW", "WIO", "NCW"),
        precision=SIGNALS,
    )


def decibels(transform: HarmonicCqt, floor_db: float, amplitude_floor: float) -> jax.Array:
    """Magnitude in dB relative to the maximum over bins and frames (the last two axes).

    In [floor_db, 0]; magnitudes below ``amplitude_floor`` > 0 count as it.
    """
    # Powers instead of magnitudes: no square root, whose gradient at zero is infinite.
    power = jnp.square(transform.real) + jnp.square(transform.imaginary)
    loudest = jnp.max(power, axis=(-2, -1), keepdims=True)
    floor = amplitude_floor**2
    # The logarithm of a quotient is exactly 0 where both are equal; a difference of two is not.
    relative = jnp.maximum(power, floor) / jnp.maximum(loudest, floor)
    return jnp.maximum(10 * jnp.log10(relative), floor_db)


def phase_difference(transform: HarmonicCqt, amplitude_floor: float) -> jax.Array:
    """Phase in the first frame, then the time difference of the unwrapped phase.

    The difference of an unwrapped phase is the difference of the phase, wrapped to [−π, π]; so
    nothing accumulates over frames. Radians in [−π, π]; the gradient of cells below
    ``amplitude_floor`` > 0 is damped.
    """
    phase = _phase(transform.real, transform.imaginary, amplitude_floor)
    step = phase[..., 1:] - phase[..., :-1]
    wrapped = step - 2 * np.pi * jnp.round(step / (2 * np.pi))
    return jnp.concatenate([phase[..., :1], wrapped], axis=-1)


@lru_cache(maxsize=1)
def _arctangent_coefficients() -> tuple[float, ...]:
    """atan(√t)/√t on [0, 1] as a polynomial in t, error 1e-8: highest power first."""
    fit = np.polynomial.Chebyshev.interpolate(
        lambda t: np.arctan(np.sqrt(t)) / np.sqrt(t), 10, domain=[0, 1]
    )
    return tuple(float(c) for c in fit.convert(kind=np.polynomial.Polynomial).coef[::-1])


@jax.custom_jvp
def _phase(real: jax.Array, imaginary: jax.Array, amplitude_floor: float) -> jax.Array:
    """Angle of a complex number, 0 at zero, error 3e-7 rad.

    XLA's ``atan2`` on CPU calls a scalar function per element and would take as long as the whole
    transform; the polynomial runs in vectors.
    """
    x, y = jnp.abs(real), jnp.abs(imaginary)
    larger = jnp.maximum(x, y)
    ratio = jnp.minimum(x, y) / jnp.where(larger > 0, larger, 1)
    squared = jnp.square(ratio)
    highest, *rest = _arctangent_coefficients()
    polynomial = jnp.full_like(squared, highest)
    for coefficient in rest:
        polynomial = polynomial * squared + coefficient
    angle = ratio * polynomial
    angle = jnp.where(y > x, np.pi / 2 - angle, angle)
    angle = jnp.where(real < 0, np.pi - angle, angle)
    return jnp.where(imaginary < 0, -angle, angle)


@_phase.defjvp
def _phase_jvp(
    primals: tuple[jax.Array, jax.Array, float], tangents: tuple[jax.Array, jax.Array, float]
) -> tuple[jax.Array, jax.Array]:
    """(x dy − y dx) / |z|², with |z| held above the floor: exact above it, finite below."""
    real, imaginary, amplitude_floor = primals
    d_real, d_imaginary, _ = tangents
    power = jnp.square(real) + jnp.square(imaginary)
    weight = 1 / jnp.maximum(power, amplitude_floor**2)
    value = _phase(real, imaginary, amplitude_floor)
    return value, weight * (real * d_imaginary - imaginary * d_real)
