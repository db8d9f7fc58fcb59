"""Source-filter synthesiser: vocal tract (harmonics with roll-off + noise), per voice.

Raw network outputs → :func:`physical_controls` → :func:`synthesise`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax

from umss_jax.config import SynthConfig
from umss_jax.synth.all_pole import (
    all_pole_coefficients,
    all_pole_filter,
    line_spectral_frequencies,
)
from umss_jax.synth.harmonic import (
    HarmonicControls,
    glottal_roll_off,
    harmonic_controls,
    harmonic_signal,
)
from umss_jax.synth.noise import NoiseControls, noise_controls, noise_signal


class RawControls(NamedTuple):
    """Unbounded outputs of the decoder, batch and voice axes leading."""

    harmonic_amplitude: jax.Array
    """[..., frames]"""
    noise_gain: jax.Array
    """[..., frames]"""
    line_spectral_frequencies: jax.Array
    """[..., frames, order + 1]"""
    noise_magnitudes: jax.Array
    """[..., bands]"""


class Controls(NamedTuple):
    """Physical controls of one synthesiser call."""

    harmonic: HarmonicControls
    noise: NoiseControls
    lsf_rad: jax.Array
    """[..., frames, order], line spectral frequencies, radians."""


class Synthesised(NamedTuple):
    """Signals, each [..., samples] at 16 kHz."""

    harmonic: jax.Array
    noise: jax.Array
    voice: jax.Array


def physical_controls(raw: RawControls, f0_hz_synth: jax.Array, config: SynthConfig) -> Controls:
    """Bounds every raw output; F0 is [..., frames] in Hz, at least the floor."""
    return Controls(
        harmonic=harmonic_controls(raw.harmonic_amplitude, f0_hz_synth, config),
        noise=noise_controls(raw.noise_gain, raw.noise_magnitudes, config),
        lsf_rad=line_spectral_frequencies(raw.line_spectral_frequencies),
    )


def synthesise(controls: Controls, uniform: jax.Array, config: SynthConfig) -> Synthesised:
    """H(z) · (harmonics + noise) (paper, section 2; reference: SourceFilterSynth2).

    ``uniform`` is noise in [−1, 1), [..., samples + hop].
    """
    harmonic = glottal_roll_off(harmonic_signal(controls.harmonic, config), config)
    noise = noise_signal(controls.noise, uniform, config)
    coefficients = all_pole_coefficients(controls.lsf_rad)
    voice = all_pole_filter(harmonic + noise, coefficients, config.hop_samples)
    return Synthesised(harmonic=harmonic, noise=noise, voice=voice)
