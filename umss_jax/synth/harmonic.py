"""Harmonic source: the sum of all harmonics of F0 below Nyquist, in closed form.

Raw amplitude → :func:`harmonic_controls` → :func:`harmonic_signal`.

The harmonics share one amplitude, so an oscillator bank is not needed: Σ_{k≤m} sin kφ =
sin(mφ/2) sin((m+1)φ/2) / sin(φ/2), the conjugate Dirichlet kernel. At each sample two frames'
Hann windows are non-zero, each with its own number of harmonics, and the Nyquist limit of the
sample's own frequency is a smaller m. F0 is linear between frames, so its integral, the phase, is
a parabola per frame: nothing accumulates but one wrapped offset a frame.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.config import SynthConfig
from umss_jax.dsp.double_float import DoubleFloat
from umss_jax.dsp.fir import fir_filter, linear_phase_fir, slope_magnitudes
from umss_jax.dsp.framing import hann_window
from umss_jax.synth.activations import exp_sigmoid

# Taylor series of sin(πx)/x and cos(πx) in x²: for |x| ≤ 1/4 what follows is below 3e-9.
_SIN_PI = tuple((-1) ** k * math.pi ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(5))
_COS_PI = tuple((-1) ** k * math.pi ** (2 * k) / math.factorial(2 * k) for k in range(6))


class HarmonicControls(NamedTuple):
    """Physical controls of the harmonic source, each [..., frames] at 250 frames per 4 s."""

    amplitude: jax.Array
    """Sum of the harmonics' amplitudes, in (0, 2)."""
    harmonics: jax.Array
    """Number of harmonics below the Nyquist frequency (float, whole)."""
    f0_hz_synth: jax.Array


def harmonic_controls(
    amplitude_raw: jax.Array, f0_hz_synth: jax.Array, config: SynthConfig
) -> HarmonicControls:
    """Amplitude by :func:`exp_sigmoid`, and how many harmonics share it; all [..., frames].

    F0 is in Hz, > 0 (the floor of 1e-5 Hz stands for unvoiced).
    """
    return HarmonicControls(
        amplitude=exp_sigmoid(amplitude_raw, config.harmonic_amplitude_max),
        harmonics=_harmonics_below_nyquist(f0_hz_synth, config),
        f0_hz_synth=f0_hz_synth,
    )


def harmonic_signal(controls: HarmonicControls, config: SynthConfig) -> jax.Array:
    """Sum of the harmonics, before the roll-off: [..., frames · hop] at ``config.sample_rate_hz``.

    The reference (``ddsp/synths.py`` Harmonic) is an oscillator bank whose float32 phase drifts by
    about 2.5e-3; this one does not.
    """
    *lead, frames = controls.amplitude.shape
    hop = config.hop_samples
    cycles, f0_hz = phase_cycles(controls.f0_hz_synth, config)
    # [..., frames, hop]: the samples between frame n and the next; the last frame is held.
    cycles = cycles.reshape(*lead, frames, hop)
    nyquist_count = _harmonics_below_nyquist(f0_hz, config).reshape(*lead, frames, hop)
    share = controls.amplitude / jnp.maximum(controls.harmonics, 1.0)
    window = jnp.asarray(hann_window(2 * hop)).reshape((1,) * (len(lead) + 1) + (2 * hop,))

    def frame_part(share: jax.Array, count: jax.Array, weight: jax.Array) -> jax.Array:
        summed = jnp.minimum(count[..., None], nyquist_count)
        return weight * share[..., None] * sine_sum(summed, cycles)

    signal = frame_part(share, controls.harmonics, window[..., hop:]) + frame_part(
        _next_frame(share), _next_frame(controls.harmonics), window[..., :hop]
    )
    return signal.reshape(*lead, frames * hop)


def glottal_roll_off(signal: jax.Array, config: SynthConfig) -> jax.Array:
    """Roll-off of the glottal source, 6 dB per octave above 200 Hz: a 128-tap FIR in time."""
    magnitudes = slope_magnitudes(
        config.roll_off_bands,
        config.roll_off_db_per_octave,
        config.roll_off_reference_hz,
        config.sample_rate_hz / 2,
    )
    taps = linear_phase_fir(jnp.asarray(magnitudes))
    return fir_filter(signal, jnp.broadcast_to(taps, (*signal.shape[:-1], taps.shape[-1])))


def phase_cycles(f0_hz_synth: jax.Array, config: SynthConfig) -> tuple[jax.Array, jax.Array]:
    """Phase and frequency of the fundamental at every sample.

    F0 is interpolated linearly between frame centres (half-pixel: frame n sits at sample
    (n + 1/2) · hop − 1/2), held before the first and after the last; the phase at sample t is the
    sum of the frequencies up to and including t.

    Returns:
        phase in cycles, wrapped to [−1/2, 1/2], and frequency in Hz, both [..., frames · hop].
    """
    *lead, frames = f0_hz_synth.shape
    hop, half = config.hop_samples, config.hop_samples // 2
    held = jnp.concatenate([f0_hz_synth[..., :1], f0_hz_synth, f0_hz_synth[..., -1:]], axis=-1)
    # Span s runs from half a hop before frame s to half a hop before frame s + 1, so the samples of
    # frame n are the second half of span n and the first half of span n + 1. All but the last axis
    # stays one value per half frame: slicing at sample rate costs five times the sines.
    elapsed = np.arange(1, hop + 1, dtype=np.float64)
    elapsed = np.stack([elapsed[half:], elapsed[:half]])
    rate = config.sample_rate_hz

    def per_half(spans: jax.Array) -> jax.Array:
        return jnp.stack([spans[..., :-1], spans[..., 1:]], axis=-1)[..., None]

    def table(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32).reshape((1,) * (len(lead) + 1) + (2, half))

    start_hz, step_hz = per_half(held[..., :-1]), per_half(jnp.diff(held, axis=-1))
    # Whole turns of whole Hz are taken out exactly, in integers below 2^24; only the rest rounds.
    whole_hz = jnp.round(start_hz)
    counts = whole_hz * table(elapsed)
    turns = counts - rate * jnp.round(counts * (1.0 / rate))
    within = turns * (1.0 / rate) + (start_hz - whole_hz) * table(elapsed / rate)
    within = within + step_hz * table(elapsed**2 / (2 * hop * rate))
    cycles = _wrap(per_half(_span_offsets(held, config)) + _wrap(within))
    f0_hz = start_hz + step_hz * table((elapsed - 0.5) / hop)
    flat = (*lead, frames * hop)
    return cycles.reshape(flat), f0_hz.reshape(flat)


def _span_offsets(held_hz: jax.Array, config: SynthConfig) -> jax.Array:
    """Phase before each span, [..., spans] in cycles, wrapped.

    Summed in float64, or pairs of float32: the rounding of one span, 1e-7 cycles, would otherwise
    add up over 250 of them and show at the hundredth harmonic. The gradient is that of the same sum
    in float32.
    """
    smooth = _summed_cycles(held_hz, config)
    exact = jax.lax.platform_dependent(
        jax.lax.stop_gradient(held_hz),
        tpu=partial(_offsets_in_pairs, config=config),
        default=partial(_offsets_in_float64, config=config),
    )
    return exact + (smooth - jax.lax.stop_gradient(smooth))


def _summed_cycles(hz: jax.Array, config: SynthConfig) -> jax.Array:
    """Phase before each span, in the precision of the frequencies."""
    per_hz = config.hop_samples / config.sample_rate_hz
    totals = 0.5 * per_hz * (hz[..., :-2] + hz[..., 1:-1])
    return jnp.cumsum(jnp.concatenate([-0.5 * per_hz * hz[..., :1], totals], axis=-1), axis=-1)


def _offsets_in_float64(held_hz: jax.Array, config: SynthConfig) -> jax.Array:
    with jax.enable_x64(True):
        exact = _summed_cycles(held_hz.astype(jnp.float64), config)
        return _wrap(exact).astype(jnp.float32)


def _offsets_in_pairs(held_hz: jax.Array, config: SynthConfig) -> jax.Array:
    """The same without float64, whose cumulative sum a TPU takes minutes to compile."""
    held_hz = held_hz.astype(jnp.float32)  # of a gradient check in float64
    half_span = DoubleFloat.of(0.5 * config.hop_samples / config.sample_rate_hz)
    sums = DoubleFloat.of(held_hz[..., :-2]) + DoubleFloat.of(held_hz[..., 1:-1])
    first, others = DoubleFloat.of(-held_hz[..., :1]) * half_span, sums * half_span
    spans = DoubleFloat(
        *(jnp.concatenate(parts, axis=-1) for parts in zip(first, others, strict=True))
    )

    def add(before: DoubleFloat, after: DoubleFloat) -> DoubleFloat:
        total = before + after
        return DoubleFloat(_wrap(total.high), total.low)

    total = jax.lax.associative_scan(add, spans, axis=-1)
    return _wrap(total.high) + total.low


@jax.custom_jvp
def sine_sum(count: jax.Array, cycles: jax.Array) -> jax.Array:
    """Σ_{k=1}^{m} sin(2π k u), the conjugate Dirichlet kernel, of m ≥ 0 (float) and |u| ≤ 1/2.

    Its derivative in u is written out; m has none.
    """
    return _sine_sum_and_derivative(count, cycles)[0]


@sine_sum.defjvp
def _sine_sum_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    value, derivative = _sine_sum_and_derivative(*primals)
    return value, derivative * tangents[1]


def _sine_sum_and_derivative(count: jax.Array, cycles: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Value and d/du of Σ sin(2π k u)."""
    # Under this |u| the limits m(m+1)/2 · 2π u and m(m+1) π are exact to float32 for m ≤ 101.
    near_zero = jnp.abs(cycles) < 1e-6
    safe = jnp.where(near_zero, 0.25, cycles)
    sin_base, cos_base = _sin_cos_pi(safe)
    sin_low, cos_low = _sin_cos_pi(count * safe)
    # (m+1)πu from mπu and πu: two products instead of two more evaluations.
    sin_high = sin_low * cos_base + cos_low * sin_base
    cos_high = cos_low * cos_base - sin_low * sin_base
    inverse = 1.0 / sin_base
    value = sin_low * sin_high * inverse
    derivative = (
        np.float32(np.pi)
        * inverse
        * (count * cos_low * sin_high + (count + 1.0) * sin_low * cos_high - value * cos_base)
    )
    limit = np.float32(np.pi) * count * (count + 1.0)
    return jnp.where(near_zero, limit * cycles, value), jnp.where(near_zero, limit, derivative)


def _sin_cos_pi(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """sin(πx) and cos(πx), exact to float32, by reduction to |x| ≤ 1/4 and polynomials.

    The library's functions reduce by multiples of π, which nothing here needs, and compute sine
    and cosine apart.
    """
    quarter_turns = jnp.round(2.0 * x)
    rest = x - 0.5 * quarter_turns
    square = rest * rest
    sine, cosine = rest * _polynomial(_SIN_PI, square), _polynomial(_COS_PI, square)
    turns = quarter_turns.astype(jnp.int32)
    swapped = (turns & 1) == 1
    sin, cos = jnp.where(swapped, cosine, sine), jnp.where(swapped, sine, cosine)
    sin = jnp.where((turns & 2) == 0, sin, -sin)
    return sin, jnp.where(((turns + 1) & 2) == 0, cos, -cos)


def _polynomial(coefficients: tuple[float, ...], x: jax.Array) -> jax.Array:
    """Σ c_k x^k."""
    value = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + np.float32(coefficient)
    return value


def _wrap(cycles: jax.Array) -> jax.Array:
    """Removes whole cycles."""
    return cycles - jnp.round(cycles)


def _next_frame(x: jax.Array) -> jax.Array:
    """Value of the following frame; the last one is held."""
    return jnp.concatenate([x[..., 1:], x[..., -1:]], axis=-1)


def _harmonics_below_nyquist(f0_hz: jax.Array, config: SynthConfig) -> jax.Array:
    """How many k ≤ 101 have k · f0 < Nyquist (float32, no gradient)."""
    f0_hz = jax.lax.stop_gradient(f0_hz)
    nyquist_hz = np.float32(config.sample_rate_hz / 2)
    guess = jnp.floor(nyquist_hz / jnp.maximum(f0_hz, 1.0))
    # The quotient may round across a whole number: k·f0 itself decides, as in the reference.
    guess = jnp.where((guess + 1.0) * f0_hz < nyquist_hz, guess + 1.0, guess)
    guess = jnp.where(guess * f0_hz >= nyquist_hz, guess - 1.0, guess)
    return jnp.minimum(guess, np.float32(config.harmonics))
