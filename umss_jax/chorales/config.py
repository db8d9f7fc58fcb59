"""Settings of synthetic quartets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ChoraleConfig:
    """What is sampled for a synthetic quartet; pairs are ranges."""

    tempo_factor: tuple[float, float] = (0.7, 1.4)
    transposition_semitones: tuple[float, float] = (-4.0, 4.0)
    singers_probability: tuple[float, ...] = (0.7, 0.15, 0.15)
    """Of one, two, three singers a part."""
    longest_s: float = 0.0
    """Where a rendering is cut; 0 = nowhere."""
    tail_s: float = 1.0
    block_frames: int = 625
    """Lengths are multiples of it (10 s), so that few shapes are compiled."""
    lanes: int = 4
    """Singers that are synthesised at once."""
    timing_s: float = 0.018
    """Standard deviation."""
    breath_probability: float = 0.06
    """Of a breath that the score does not ask for, after a note of one second."""
    intonation_cents: tuple[float, float] = (3.0, 15.0)
    detuning_cents: float = 6.0
    """Standard deviation of a singer's tuning."""
    drift_cents: tuple[float, float] = (3.0, 14.0)
    jitter_cents: tuple[float, float] = (1.0, 5.0)
    vibrato_hz: tuple[float, float] = (4.8, 6.5)
    vibrato_cents: tuple[float, float] = (8.0, 75.0)
    breath_db: tuple[float, float] = (-42.0, -20.0)
    """Breath noise relative to the tone."""
    balance_db: float = 3.0
    """Standard deviation of the parts' levels."""
    dry_probability: float = 0.4
    reverberation_s: tuple[float, float] = (0.15, 1.6)
    """Time to decay by 60 dB."""
    direct_db: tuple[float, float] = (0.0, 18.0)
    """Direct sound over reverberation."""


@dataclass(frozen=True)
class DemoConfig:
    """What `umss-jax demo` renders and separates."""

    score: str = "Evening"
    """Of the embedded ones, the one in triple time: no tune of it is in music21's corpus, from
    which the F0 networks learned."""
    longest_s: float = 28.0
    adapt_steps: int = 0
