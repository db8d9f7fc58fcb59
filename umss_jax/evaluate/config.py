"""Settings of the evaluation protocol."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from umss_jax.config import AudioConfig, HcqtConfig, MaskConfig
from umss_jax.pitch.config import CONFIDENCE


@dataclass(frozen=True)
class CombConfig:
    """Harmonic comb without learning: what any trained system has to beat."""

    lobe_hz: float = 30.0  # standard deviation
    roll_off_db_per_octave: float = 6.0
    minimum_hz: float = 20.0
    maximum_hz: float = 8_000.0


class F0Source(enum.StrEnum):
    """Whose F0 a voice is synthesised from: the reference's, or estimated from the mixture."""

    ORACLE = "oracle"
    MIX = "mix"


class F0Windows(enum.StrEnum):
    """Intervals of F0 accuracies, see :func:`umss_jax.evaluate.protocol.f0_windows`."""

    SECOND = "second"
    EXCERPT = "excerpt"
    REFERENCE = "reference"


@dataclass(frozen=True)
class EvaluationConfig:
    """Frames, thresholds and tolerances of the evaluation protocol."""

    sample_rate_hz: int = 16_000
    frame_samples: int = 16_000
    minimum_energy: float = 10.0
    fft_size: int = 512
    hop_samples: int = 256
    mel_bands: int = 128
    cepstral_coefficients: int = 13
    f0_frames_per_second: float = 62.5
    # F0 networks write 1e-5 Hz into unvoiced frames and interpolate from it: this is no pitch.
    minimum_f0_hz: float = 20.0
    tolerance_cents: float = 50.0
    crepe_confidence: float = CONFIDENCE
    bss_filter_samples: int = 512
    """Length of the distortion that BSS-eval forgives."""
    stem_length_tolerance_s: float = 2.0
    """Stems of one piece may differ by this; singers of the Choral Singing Dataset do by 1.1 s."""
    bootstrap_resamples: int = 2_000
    bootstrap_coverage: float = 0.95
    audio: AudioConfig = AudioConfig()
    """Of the excerpts."""
    hcqt: HcqtConfig = HcqtConfig()
    """The pitch grid: what lies below it is unvoiced."""
    mask: MaskConfig = MaskConfig()
    """Of the baselines."""
    comb: CombConfig = CombConfig()
