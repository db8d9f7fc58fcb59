"""Settings of training and test sets."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True)
class CrepeConfig:
    """F0 tracks by CREPE."""

    model: str = "full"
    batch_frames: int = 512


class Dataset(enum.StrEnum):
    """Test sets: those of the paper, or any folder with four stems a piece."""

    CSD = "csd"
    CANTORIA = "cantoria"
    BCBSQ = "bcbsq"
    FOLDER = "folder"


@dataclass(frozen=True)
class SetConfig:
    """Recordings of a training or validation set."""

    folders: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ("*",)
    """Shell patterns of their names."""
    exclude: tuple[str, ...] = ()
    singers: tuple[int, ...] = ()
    """Of every voice, from 1, as far as it has them; none for all."""


@dataclass(frozen=True)
class StemLengthConfig:
    """How much the recordings of one piece may differ in length; all end with the shortest."""

    rounding_s: float = 0.1
    """Differences up to this come from formats and resampling and are not worth a word."""
    refused_s: float = 2.0
    refused_share: float = 0.1
    """Of the longest: what differs by more than both is not of one performance."""
    refused_short_share: float = 0.5
    """Of the longest: nor is what differs by so much, short as it may be."""


@dataclass(frozen=True)
class AugmentationConfig:
    """How synthetic voices are made to stand for real ones; probabilities and ranges."""

    speed_semitones: float = 1.5
    """Voices are played faster or slower by up to this, which moves formants and pitch."""
    mixed_probability: float = 0.25
    """Of voices from different pieces, which cross each other freely (salience only)."""
    voices_probability: tuple[float, ...] = (0.08, 0.12, 0.2, 0.6)
    """Of one to four voices; of other numbers as many of the last ones as there are voices."""
    level_db: float = 4.0
    """Standard deviation of each voice's."""
    equalisation_db: float = 7.0
    """Standard deviation of the points of a voice's curve, an octave apart."""
    room_probability: float = 0.4
    room_s: tuple[float, float] = (0.1, 0.9)
    direct_db: tuple[float, float] = (-2.0, 15.0)
    noise_probability: float = 0.7
    noise_db: tuple[float, float] = (-60.0, -18.0)
    """Relative to the mixture."""


@dataclass(frozen=True)
class DisturbanceConfig:
    """What nobody sings, in training mixes; probabilities and ranges. All in dB of the voices."""

    probability: float = 0.6
    """Of anything; what it is follows from the weights below."""
    weights: tuple[float, ...] = (0.4, 0.15, 0.1, 0.15, 0.2)
    """Of noise, hum, a constant, claps, and struck strings."""
    level_db: tuple[float, float] = (-40.0, 0.0)


@dataclass(frozen=True)
class SungScoreConfig:
    """How scores are sung where only pitch counts; probabilities, ranges and spreads."""

    note_s: tuple[float, float] = (0.22, 0.9)
    """Median length of the notes."""
    lowest_mean_midi: tuple[float, ...] = (63.0, 57.0, 50.0, 41.0)
    highest_mean_midi: tuple[float, ...] = (77.0, 71.5, 65.0, 58.0)
    """Where the mean pitch of each voice may lie, soprano to bass."""
    lowest_midi: tuple[float, ...] = (57.0, 52.0, 46.0, 38.0)
    highest_midi: tuple[float, ...] = (81.0, 76.0, 70.0, 66.0)
    """What a voice can sing of another's notes."""
    onset_s: float = 0.02
    """Of a note, and of a voice, before or after the beat."""
    gap_probability: float = 0.25
    """Of a note that ends early, by:"""
    gap_s: tuple[float, float] = (0.02, 0.12)
    slide_frames: int = 5
    """Between notes, at most, to either side."""
    vibrato_semitones: float = 0.6
    """At most."""
    vibrato_hz: tuple[float, float] = (4.5, 6.5)
    drift_semitones: float = 0.1
    unison_semitones: float = 0.05
    """Between voices that sing the same."""
    together_probability: tuple[float, ...] = (0.4, 0.06, 0.04)
    """Of two neighbours in unison; of women and men each in unison; of two voices in octaves."""
    pair_probability: tuple[float, ...] = (0.3, 0.2, 0.5)
    """Of soprano and alto, alto and tenor, tenor and bass, where two sing in unison."""
    passing_probability: float = 0.6
    """That they do so for a while only."""


@dataclass(frozen=True)
class DrawnSalienceConfig:
    """Saliences drawn from scores; logits are those of a peak's height."""

    folder: str = ""
    """Of MIDI, MusicXML, Humdrum or ABC files in four parts; empty for none."""
    share: float = 0.85
    """Of what the assignment network learns from; the rest is heard in mixes."""
    sung: SungScoreConfig = SungScoreConfig()
    voices_probability: tuple[float, ...] = (0.04, 0.08, 0.18, 0.7)
    """Of one to four voices."""
    peak_logit: float = 1.5
    example_logit: float = 0.7
    voice_logit: float = 1.2
    note_logit: float = 1.08
    frame_logit: float = 1.7
    """Spread from example to example, voice to voice, note to note and frame to frame."""
    frame_memory: float = 12.0
    """In frames."""
    offset_bins: float = 0.45
    width_bins: tuple[float, float] = (1.0, 1.5)
    ghost_ratios: tuple[float, ...] = (2.0, 3.0, 1.5, 4 / 3, 0.5, 4.0, 0.75, 2 / 3, 1.15)
    """Where a voice is seen although nobody sings there."""
    ghost_shares: tuple[float, ...] = (0.22, 0.12, 0.1, 0.07, 0.05, 0.03, 0.04, 0.04, 0.05)
    """Of the frames, at each ratio, where it happens at all."""
    ghost_spread: float = 0.6
    ghost_probability: float = 0.7
    ghost_logit: float = -1.9
    dropout_probability: float = 0.15
    """Of a moment at which nothing is heard well."""


@dataclass(frozen=True)
class DataConfig:
    """Training and validation examples."""

    train: SetConfig = SetConfig()
    validation: SetConfig = SetConfig()
    pool: int = 0
    """Different training examples, which then repeat; 0 = ever new ones."""
    often: tuple[str, ...] = ()
    """Shell patterns of training pieces that are sampled ``often_times`` as often as their length
    says: a few minutes of recorded singers beside hours of renderings."""
    often_times: int = 10
    validation_examples: int = 64
    """Maximum number of validation excerpts; 0 = all."""
    alter: bool = False
    """Whether training mixes with stems are altered: levels, silent voices, rooms, disturbances."""
    scores: bool = False
    """Whether the F0 of pieces with a score beside their recordings (``score.mid`` …) is by its
    notes, where the strategy takes F0 as known."""
    augmentation: AugmentationConfig = AugmentationConfig()
    disturbance: DisturbanceConfig = DisturbanceConfig()
