"""Settings of separation and of the files it writes."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from umss_jax.errors import UsageError, brief
from umss_jax.range_checks import check_numbers, refuse_outside


class ClipMode(enum.StrEnum):
    """What happens where a sample of any stem would pass full scale.

    *rescale* turns all files down by one gain; floating point cannot clip, so there the gain
    stays 1. *clamp* cuts each sample at full scale. *none* leaves samples as they are, which only
    floating point can hold: integers saturate as with *clamp*.
    """

    RESCALE = "rescale"
    CLAMP = "clamp"
    NONE = "none"


@dataclass(frozen=True)
class SeparationConfig:
    """From a recording of any length to stems, segment by segment.

    Raises:
        UsageError: Segments shorter than 1 s or longer than 60 s, an overlap outside 0 to 0.5
            (beyond which three segments would meet), or what is no number.
    """

    segment_s: float = 4.0
    overlap: float = 0.25
    """Part of a segment that is cross-faded into the next, 0 to 0.5."""
    seed: int = 0
    silence: float = 1e-5
    """Segments below this part of the recording's peak (-100 dB) go to the residual unheard."""
    full_band: bool = True
    """Stems reach the recording's Nyquist frequency; else they end at 8 kHz, and the residual has
    the rest."""

    def __post_init__(self) -> None:
        check_numbers(self, but=("segment_s", "overlap"))
        if not isinstance(self.full_band, bool):
            raise UsageError(f"full_band is {brief(self.full_band)}", "give True or False")
        if not 1.0 <= self.segment_s <= 60.0:
            raise UsageError(
                f"--segment {self.segment_s:g} is not between 1 and 60 seconds",
                "4 is what the model was trained on",
            )
        if not 0.0 <= self.overlap <= 0.5:
            raise UsageError(
                f"--overlap {self.overlap:g} is not between 0 and 0.5", "0.25 is the default"
            )


class SoundFormat(enum.StrEnum):
    """Of the files that are written; OGG is Vorbis. OGG and MP3 keep not every bit of a sound."""

    WAV = "wav"
    FLAC = "flac"
    OGG = "ogg"
    MP3 = "mp3"


@dataclass(frozen=True)
class PracticeConfig:
    """Mixes to practise a part with: with it in front, and without it.

    Raises:
        UsageError: what is no number or outside its range.
    """

    others_db: float = -12.0
    """Level of all other voices, and of the residual, beside the one in front."""
    tempo: float = 1.0
    """As a part of the recording's; the pitch stays."""

    def __post_init__(self) -> None:
        for option, field in (("--others-db", "others_db"), ("--tempo", "tempo")):
            refuse_outside(type(self).__name__, field, float, getattr(self, field), option)


@dataclass(frozen=True)
class HighBandConfig:
    """How what lies above the model's band is shared out; chosen on mixtures of solo singers.

    Frequencies are parts of the model's Nyquist frequency (8 kHz).
    """

    window_s: float = 0.032
    edges: tuple[float, ...] = (0.25, 0.5, 0.625, 0.75, 0.925)
    """Of the bands below whose powers say what is above."""
    weights: tuple[float, ...] = (-0.4, 0.4, 0.3, 0.7)
    """Of their log powers; together 1. The negative one makes a steep spectrum go on falling."""
    slope_db: float = 30.0
    """By how much the lowest of these bands counts as louder or softer than the next at most."""
    seam: tuple[float, float] = (0.9, 1.125)
    """From the highest band's level alone to that of all bands."""
    first: float = 0.8
    """Below it nothing is shared out: the stems have all of it."""
    comb: float = 0.3
    """Part of a voiced level that is its harmonics; the rest is noise."""
    comb_fade: tuple[float, float] = (1.5, 2.0)
    """Where the harmonics end."""
    lobe_hz: float = 22.0
    """Half width of a steady harmonic in a frame."""
    f0_error: float = 0.0008
    """Standard deviation of an F0 as a part of it (1.4 cents)."""
    glide: float = 0.125
    """Of what a pitch moves within a frame, the part that widens its harmonics."""
    band: float = 0.125
    """Width of the bands whose level is limited."""
    ceiling_db: float = 15.0
    """What lies this far above the voices' level below is not sung."""
    floor: float = 1e-6
    """Part of the recording's peak (-120 dB) below which levels are equal."""


@dataclass(frozen=True)
class NoteConfig:
    """From a pitch track to notes.

    Raises:
        UsageError: what is no number or outside its range, or no pitch is left.
    """

    smoothing_s: float = 0.176
    """Running median over about one vibrato cycle (5 to 6 Hz)."""
    largest_gap_s: float = 0.064
    """Unvoiced intervals up to this long (a consonant, a missed frame) do not end a note."""
    shortest_note_s: float = 0.096
    frame_salience: float = 0.0
    """Frames of less are unvoiced, beyond what the F0 networks say."""
    onset_salience: float = 0.0
    """That a note must reach within the time of the shortest one."""
    hysteresis_semitones: float = 0.75
    """A note lasts until the pitch is this far from it (from 0.5 on another semitone is nearer)."""
    lowest_note: int = 0
    highest_note: int = 127
    """Of MIDI: notes beyond them are left out."""
    velocity: int = 80
    program: int = 52
    """Of General MIDI: choir, "aah"."""
    ticks_per_beat: int = 480
    microseconds_per_beat: int = 500_000
    """The tempo that a MIDI file says; its notes stand at their own times whatever it is."""

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.lowest_note > self.highest_note:
            raise UsageError(
                f"--lowest {self.lowest_note} is above --highest {self.highest_note}",
                "give the lower note first",
            )


@dataclass(frozen=True)
class BarConfig:
    """From notes to bars."""

    usual_bpm: float = 120.0
    """Of recordings without a steady tempo."""
    slowest_bpm: float = 61.0
    fastest_bpm: float = 121.0
    step_bpm: float = 0.05
    """Of the tempi tried: over two minutes it moves the last beat by a tenth."""
    fewest_onsets: int = 12
    """Fewer say nothing about a tempo."""
    least_clarity: float = 0.6
    """Length of the mean direction of onsets on the circle of half beats; 1: all on them. By chance
    it is 0.3 at most for 100 onsets, over all tempi."""
    grid_per_beat: int = 4
    beats_per_bar: int = 4
    beat_unit: int = 4
    """What is counted: 4 for quarters, 8 for eighths. The tempo is of quarters."""

    @property
    def metre(self) -> str:
        """As it is written."""
        return f"{self.beats_per_bar}/{self.beat_unit}"


@dataclass(frozen=True)
class PlotConfig:
    """The picture of salience and tracks."""

    inches_per_s: float = 0.5
    least_width_inches: float = 9.0
    most_width_inches: float = 60.0
    height_inches: float = 6.0
    dots_per_inch: int = 110
    margin_octaves: float = 0.5
    """Shown below the lowest and above the highest pitch."""


@dataclass(frozen=True)
class LikenessConfig:
    """From where on a recording does not look like its singers a cappella.

    Between what quartets measure (in brackets: 17 recorded and synthesised ones) and what solos,
    duos, trios, six voices, piano, noise and other ensembles do, with the starter's F0 networks.
    """

    least_s: float = 3.0
    """Of sound, without which nothing is said."""
    sounding: float = 0.01
    """Of the recording's peak (-40 dB): a frame of this root mean square sounds."""
    different_semitones: float = 0.7
    """From there on two pitches are two."""
    least_four_at_once: float = 0.2
    """Share of frames with a different pitch of each voice (10 quartets 0.35 to 0.93, 12 recorded
    trios taken for quartets 0.02 to 0.15, 28 synthesised ones up to 0.47, 25 of them below)."""
    most_five_or_more: float = 0.2
    """Share of frames with more peaks of salience than voices (quartets up to 0.11, six voices that
    are taken for four from 0.29)."""
    most_still: float = 0.82
    """Share of frames whose pitch is that of the one before (0.55 to 0.73, piano from 0.94)."""
    centre_hz: tuple[float, float] = (225.0, 375.0)
    """Geometric mean of the voices' median F0 (244 to 341; TTBB from 181, SSAA from 406); for
    other voices moved as their ranges are."""
    least_above_4_khz_db: float = -55.0
    """Of all energy below 8 kHz (-29 to -21; telephone -77)."""
    most_residual: float = 0.1
    """Share of the energy below 8 kHz that no voice was given."""
