"""Settings of aligning a score and of taking pitches by it."""

from __future__ import annotations

from dataclasses import dataclass

from umss_jax.range_checks import check_numbers


@dataclass(frozen=True)
class AlignmentConfig:
    """From a salience and a score to the times of the notes.

    Evidence is counted in seconds of one voice: a pitch that is heard for a second gains 1, one
    that is not loses 1.

    Raises:
        UsageError: a number outside its range.
    """

    full_salience: float = 0.5
    """From there on a pitch counts as heard; below half of it, as not heard."""
    pitch_bins: int = 2
    """Bins on either side of a pitch where it may be heard."""
    tuning_s: float = 16.0
    """Over which the tuning is found: a choir may sink."""
    most_transposed_semitones: int = 4
    speeds: tuple[float, ...] = (0.4, 0.55, 0.75, 1.0, 1.35, 1.8, 2.4)
    """Of the written tempo, tried."""
    fitted_speeds: tuple[float, ...] = (0.7, 1.0, 1.4)
    """Of the tempo at which the score lasts as long as the recording."""
    search_frames: int = 16
    """Frames of 16 ms that are one where speed and transposition are searched."""
    course_frames: int = 4
    """The same where the score's course through the recording is found."""
    most_cells: int = 200_000_000
    """Frames times states, a byte each: of longer recordings more frames are one."""
    jump_s: float = 12.0
    """What a jump within the score costs: a repeat left out, a cut, a wrong page."""
    tempo_cost: float = 1.0
    """For each second in which the tempo is none, or twice as fast as expected."""
    smoothing_s: float = 1.5
    """On either side, over which the tempo is taken to be steady."""
    band_s: float = 0.6
    """How far the last alignment looks on either side of that."""
    onset_s: float = 0.15
    """How far a voice's own onset may be from that of the chord."""

    def __post_init__(self) -> None:
        check_numbers(self)


@dataclass(frozen=True)
class ConstraintConfig:
    """From aligned notes and a salience to F0.

    Raises:
        UsageError: a number outside its range.
    """

    least_salience: float = 0.05
    """Where a pitch is less salient its note's own is taken."""
    breath_s: float = 0.08
    """A silence of all voices that lasts longer is one."""
    poor_confidence: float = 0.4
    """Mean over a stretch of notes, below which the networks are believed instead."""
    stretch_s: float = 4.0
    """The stretch, for all voices."""
    voice_stretch_s: float = 8.0
    """The same for a single voice, whose notes say less."""
    poor_voice_confidence: float = 0.2
    clear_salience: float = 0.5
    """From there on a pitch is surely sung by somebody."""
    least_explained: float = 0.75
    """Share of such salience, over a stretch, that must be notes of the score."""
    contradiction: float = 0.5
    """Mean salience of a voice's own track over a note that is heard less than half as well: the
    recording disagrees with the score, and the track is believed."""

    told_share: float = 0.2
    """Share of a recording without the score, from which on that is said."""
    least_followed: float = 0.15
    """A score that fits less of a recording is that of something else."""

    def __post_init__(self) -> None:
        check_numbers(self)


@dataclass(frozen=True)
class PathConfig:
    """From notes and a salience to the course of F0.

    A frame in which the voice is on a bin gains its salience; these numbers are costs beside it.
    Chosen by a random search on four of the first eight pieces of ChoralSynth.

    Raises:
        UsageError: a number outside its range.
    """

    note_cost: float = 0.1
    """For each semitone and frame above or below the notes that are near in time."""
    reach_semitones: float = 2.0
    """How far above or below them it may be: a consonant bends a pitch by as much."""
    near_s: float = 0.25
    """Before and after a frame: notes that are sung then are near, and what lies between them."""
    other_cost: float = 1.0
    """Of a frame on another voice's note, and not on one's own."""
    step_cost: float = 0.1
    """For each semitone from frame to frame."""

    def __post_init__(self) -> None:
        check_numbers(self)
