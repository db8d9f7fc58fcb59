"""The range of every number among the settings: what is outside is refused before anything starts.

A range holds what makes sense and what a machine can bear; not every value in it is a good one.
Keys are the names of fields, or ``Class.field`` where a name means different things.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Range(NamedTuple):
    """Both ends are allowed."""

    low: float
    high: float

    def __str__(self) -> str:
        """As messages say it."""
        return f"{self.low:.15g} to {self.high:.15g}"


MOST_VALUES = 10_000
"""In a list of values."""
LONGEST_TEXT = 4096
MOST_VOICES = 8

_SEED = Range(0, 2**32 - 1)
_STEPS = Range(0, 10**9)
_PART = Range(0.0, 1.0)
_POSITIVE_PART = Range(1e-9, 1.0)
_SECONDS = Range(0.0, 3600.0)
_DB = Range(-200.0, 200.0)
_SPREAD_DB = Range(0.0, 100.0)
_CENTS = Range(0.0, 1200.0)
_WIDTH = Range(1, 16_384)
_HZ = Range(0.001, 100_000.0)
_WEIGHT = Range(0.0, 1e9)
_RATE = Range(0.0, 100.0)
_EPSILON = Range(1e-12, 1.0)
_BATCH = Range(1, 4096)

RANGES: Mapping[str, Range] = MappingProxyType(
    {
        # Rates and lengths
        "sample_rate_hz": Range(1_000, 192_000),
        "example_samples": Range(16, 2**22),
        "hop_samples": Range(1, 16_384),
        "frame_samples": Range(2, 2**20),
        "block_samples": Range(1_024, 2**24),
        "fft_size": Range(2, 65_536),
        "fft_sizes": Range(2, 65_536),
        "block_values": Range(1_024, 2**28),
        "lowest_rate_hz": Range(1, 10_000_000),
        "highest_rate_hz": Range(1, 10_000_000),
        "most_channels": Range(1, 1_024),
        "bytes_per_sample": Range(1, 4_096),
        "segment_s": Range(1.0, 60.0),
        "overlap": Range(0.0, 0.5),
        "LossConfig.overlap": Range(0.0, 0.95),
        "segment_step_s": Range(0.016, 4.0),
        "crop_s": Range(0.1, 60.0),
        "window_frames": Range(0, 100_000),
        "block_frames": Range(1, 100_000),
        "window_s": Range(0.001, 1.0),
        "longest_s": _SECONDS,
        "tail_s": Range(0.0, 60.0),
        "timing_s": Range(0.0, 10.0),
        "room_s": Range(0.01, 20.0),
        "reverberation_s": Range(0.01, 20.0),
        "length_tolerance_s": _SECONDS,
        "stem_length_tolerance_s": _SECONDS,
        "rounding_s": _SECONDS,
        "refused_s": _SECONDS,
        "least_s": _SECONDS,
        "smoothing_s": Range(0.0, 60.0),
        "largest_gap_s": Range(0.0, 60.0),
        "shortest_note_s": Range(0.0, 60.0),
        # Frequencies and pitches
        "fmin_hz": Range(1.0, 10_000.0),
        "bins": Range(1, 2_048),
        "bins_per_octave": Range(1, 1_200),
        "harmonics": Range(1, 1_000),
        "HcqtConfig.harmonics": Range(1, 64),
        "floor_hz": Range(1e-9, 20.0),
        "f0_low_hz": _HZ,
        "f0_high_hz": _HZ,
        "roll_off_reference_hz": _HZ,
        "lowest_hz": _HZ,
        "highest_hz": _HZ,
        "minimum_hz": _HZ,
        "maximum_hz": _HZ,
        "minimum_f0_hz": _HZ,
        "lobe_hz": _HZ,
        "centre_hz": _HZ,
        "vibrato_hz": Range(0.0, 50.0),
        "f0_frames_per_second": Range(1.0, 10_000.0),
        "voice_bands_bins": Range(0, 2_047),
        "transposed_bins": Range(0, 1_000),
        "blur_bins": Range(0.01, 100.0),
        "mean_bins": Range(0, 30),
        "power": Range(0.1, 10.0),
        "patch_bins": Range(1, 64),
        "patch_frames": Range(1, 64),
        "blocks": Range(0, 64),
        "blur_radius_bins": Range(0, 1_000),
        "tolerance_cents": Range(0.1, 1_200.0),
        "intonation_cents": _CENTS,
        "detuning_cents": _CENTS,
        "drift_cents": _CENTS,
        "jitter_cents": _CENTS,
        "vibrato_cents": _CENTS,
        "different_semitones": Range(0.0, 24.0),
        "hysteresis_semitones": Range(0.5, 12.0),
        "threshold_part": _PART,
        "spare_peaks": Range(0, 32),
        "ways": Range(1, 1_024),
        "reward": _WEIGHT,
        "silent_cost": _WEIGHT,
        "shared_cost": _WEIGHT,
        "centre_cost": _WEIGHT,
        "outside_cost": _WEIGHT,
        "step_cost": _WEIGHT,
        "still_semitones": Range(0.0, 12.0),
        "leap_cost": _WEIGHT,
        "change_cost": _WEIGHT,
        "speed_semitones": Range(0.0, 24.0),
        "transposition_semitones": Range(-48.0, 48.0),
        "margin_octaves": Range(0.0, 5.0),
        # The band above the model's
        "HighBandConfig.window_s": Range(0.016, 0.5),
        "HighBandConfig.edges": Range(0.01, 1.0),
        "HighBandConfig.weights": Range(-2.0, 2.0),
        "seam": Range(0.5, 4.0),
        "first": Range(0.1, 1.0),
        "comb": Range(0.0, 0.9),
        "comb_fade": Range(1.0, 8.0),
        "f0_error": Range(0.0, 0.1),
        "glide": Range(0.0, 10.0),
        "band": Range(0.01, 1.0),
        "slope_db": Range(0.0, 200.0),
        "ceiling_db": Range(-30.0, 100.0),
        "floor": Range(1e-12, 1e-2),
        # Scores
        "full_salience": Range(0.01, 1.0),
        "pitch_bins": Range(0, 100),
        "tuning_s": Range(0.1, 3600.0),
        "most_transposed_semitones": Range(0, 12),
        "speeds": Range(0.05, 20.0),
        "fitted_speeds": Range(0.05, 20.0),
        "search_frames": Range(1, 1_000),
        "course_frames": Range(1, 1_000),
        "most_cells": Range(1_000, 10**12),
        "jump_s": Range(0.0, 10_000.0),
        "tempo_cost": Range(0.0, 1_000.0),
        "band_s": Range(0.016, 60.0),
        "onset_s": Range(0.0, 10.0),
        "reach_semitones": Range(0.1, 12.0),
        "spread_semitones": Range(0.05, 12.0),
        "least_salience": _PART,
        "breath_s": Range(0.0, 60.0),
        "poor_confidence": _PART,
        "poor_voice_confidence": _PART,
        "stretch_s": Range(0.1, 600.0),
        "voice_stretch_s": Range(0.1, 600.0),
        "clear_salience": _PART,
        "least_explained": _PART,
        "contradiction": _PART,
        "told_share": _PART,
        "least_followed": _PART,
        # Practice files
        "others_db": Range(-96.0, 0.0),
        "tempo": Range(0.5, 2.0),
        "hop_s": Range(0.001, 1.0),
        "piece_s": Range(2.0, 600.0),
        "overlap_s": Range(0.5, 2.0),
        "fade_s": Range(0.001, 0.1),
        "largest_lag_s": Range(0.0, 0.05),
        # Levels
        "silence": Range(0.0, 1.0),
        "SeparationConfig.silence": Range(0.0, 0.999),
        "silence_peak": Range(0.0, 1.0),
        "cancelled_downmix": Range(0.0, 1.0),
        "rescaled_peak": Range(0.01, 1.0),
        "largest_sample": Range(1.0, 1e30),
        "highest_peak": Range(1.0, 1e15),
        "least_above_4_khz_db": _DB,
        "floor_db": Range(-300.0, -1.0),
        "amplitude_floor": Range(1e-12, 1.0),
        "range_db": Range(1.0, 300.0),
        "direct_db": _DB,
        "noise_db": _DB,
        "breath_db": _DB,
        "level_db": _SPREAD_DB,
        "equalisation_db": _SPREAD_DB,
        "balance_db": _SPREAD_DB,
        "roll_off_db_per_octave": Range(0.0, 100.0),
        "harmonic_amplitude_max": Range(1e-6, 1e6),
        "noise_gain_max": Range(0.0, 1e6),
        "noise_magnitude_scale": Range(0.0, 1e6),
        "minimum_energy": Range(0.0, 1e12),
        # Probabilities, parts and thresholds
        "thresholds": _PART,
        "frame_salience": _PART,
        "onset_salience": _PART,
        "multi_f0_threshold": _PART,
        "crepe_confidence": _PART,
        "refused_share": _PART,
        "refused_short_share": _PART,
        "sounding": _PART,
        "least_four_at_once": _PART,
        "most_five_or_more": _PART,
        "most_still": _PART,
        "most_residual": _PART,
        "sparsity": Range(0.0, 0.99),
        "resample_roll_off": Range(0.01, 1.0),
        "dropout": Range(0.0, 0.99),
        "down_slope": Range(0.0, 1.0),
        "norm_momentum": _PART,
        "norm_epsilon": _EPSILON,
        "DisturbanceConfig.probability": _PART,
        "DisturbanceConfig.weights": _PART,
        "DisturbanceConfig.level_db": _DB,
        "mixed_probability": _PART,
        "voices_probability": _PART,
        "room_probability": _PART,
        "noise_probability": _PART,
        "singers_probability": _PART,
        "breath_probability": _PART,
        "dry_probability": _PART,
        "bootstrap_coverage": Range(0.01, 0.9999),
        "mp3_compression": _PART,
        "tempo_factor": Range(0.05, 20.0),
        # Sizes of networks
        "hidden": _WIDTH,
        "latent": _WIDTH,
        "channels": _WIDTH,
        "condition_channels": _WIDTH,
        "kernel": Range(1, 101),
        "condition_kernel": Range(1, 1_000),
        "dropout_layers": Range(0, 100),
        "line_spectral_frequencies": Range(1, 200),
        "noise_bands": Range(1, 4_096),
        "roll_off_bands": Range(1, 4_096),
        "resample_zero_crossings": Range(1, 1_000),
        "mel_bands": Range(2, 4_096),
        "cepstral_coefficients": Range(1, 4_096),
        "bss_filter_samples": Range(1, 65_536),
        "bootstrap_resamples": Range(1, 10**6),
        # Training
        "seed": _SEED,
        "AdaptationConfig.seed": Range(0, 2**63),
        "SeparationConfig.seed": Range(0, 2**63),
        "batch": _BATCH,
        "batch_frames": Range(1, 10**6),
        "steps": _STEPS,
        "epochs": _STEPS,
        "max_epochs": _STEPS,
        "patience": _STEPS,
        "decay_epochs": _STEPS,
        "decay_steps": _STEPS,
        "warmup_steps": _STEPS,
        "total_steps": _STEPS,
        "checkpoint_steps": _STEPS,
        "adapt_steps": _STEPS,
        "validation_steps": Range(1, 10**9),
        "epoch_examples": Range(1, 10**9),
        "validation_examples": Range(0, 10**6),
        "pool": Range(0, 10**7),
        "often_times": Range(1, 10_000),
        "distinct_mixes": Range(0, 10**7),
        "max_segments": Range(1, 10**6),
        "singers": Range(1, 1_000),
        "learning_rate": _RATE,
        "AdaptationConfig.learning_rate": Range(0.0, 1e38),
        "f0_learning_rate_factor": Range(0.0, 1e6),
        "l2_penalty": _RATE,
        "decay_factor": _POSITIVE_PART,
        "clip_norm": _WEIGHT,
        "final_fraction": _PART,
        "rec_weight": _WEIGHT,
        "l1_weight": _WEIGHT,
        "l2_weight": _WEIGHT,
        "l3_weight": _WEIGHT,
        "silence_weight": _WEIGHT,
        "mistaken_f0": _PART,
        # Files, pictures and pages
        "lanes": Range(1, 1_024),
        "velocity": Range(1, 127),
        "lowest_note": Range(0, 127),
        "lowest_notes": Range(0, 127),
        "highest_notes": Range(0, 127),
        "usual_bpm": Range(4.0, 1_000.0),
        "slowest_bpm": Range(4.0, 1_000.0),
        "fastest_bpm": Range(4.0, 1_000.0),
        "step_bpm": Range(0.001, 10.0),
        "fewest_onsets": Range(2, 10_000),
        "least_clarity": _PART,
        "grid_per_beat": Range(1, 48),
        "beats_per_bar": Range(1, 32),
        "beat_unit": Range(1, 64),
        "highest_note": Range(0, 127),
        "program": Range(0, 127),
        "ticks_per_beat": Range(1, 32_767),
        "microseconds_per_beat": Range(1, 2**24 - 1),
        "inches_per_s": Range(0.001, 100.0),
        "least_width_inches": Range(1.0, 500.0),
        "most_width_inches": Range(1.0, 500.0),
        "height_inches": Range(1.0, 500.0),
        "dots_per_inch": Range(10, 1_200),
        "lossless_megabytes": Range(0.0, 10_000.0),
        "most_megabytes": Range(0.001, 10_000.0),
        "columns": Range(1, 20_000),
        "spectrogram_rows": Range(1, 2_000),
        "shades": Range(2, 256),
        "most_points": Range(1, 10**6),
        "excerpts": Range(0, 10**6),
    }
)

LENGTHS: Mapping[str, Range] = MappingProxyType(
    {
        "names": Range(2, MOST_VOICES),
        "lowest_notes": Range(2, MOST_VOICES),
        "highest_notes": Range(2, MOST_VOICES),
        "thresholds": Range(0, MOST_VOICES),
        "harmonics": Range(1, 64),
        "fft_sizes": Range(1, 32),
        "voice_bands_bins": Range(2, MOST_VOICES),
        "channels": Range(1, 10),
        "condition_channels": Range(1, 10),
        "voices_probability": Range(1, MOST_VOICES),
        "singers_probability": Range(1, 16),
        "epochs": Range(0, 32),
        "speeds": Range(1, 64),
        "fitted_speeds": Range(0, 64),
    }
)
"""How many values a list of numbers has."""


def of_field(kind: str, field: str, ranges: Mapping[str, Range] = RANGES) -> Range | None:
    """The range of a field of the dataclass of this name; None where it has none."""
    return ranges.get(f"{kind}.{field}", ranges.get(field))
