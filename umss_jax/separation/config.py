"""Settings of separation and of the files it writes."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from umss_jax.config_tree import check_numbers
from umss_jax.errors import UsageError


class ClipMode(enum.StrEnum):
    """What happens where a sample of any stem would pass full scale.

    *rescale* turns all files down by one gain; floating point cannot clip, so there the gain
    stays 1. *clamp* cuts each sample at full scale. *none* leaves samples as they are, which only
    floating point can hold: integers saturate as with *clamp*.
    """

    RESCALE = "rescale"
    CLAMP = "clamp"
    NONE = "none"


_BOUNDS = {"seed": (0, 2**63), "silence": (0.0, 0.999)}


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

    def __post_init__(self) -> None:
        check_numbers(self, {"segment_s": None, "overlap": None, **_BOUNDS})
        if not 1.0 <= self.segment_s <= 60.0:
            raise UsageError(
                f"--segment {self.segment_s:g} is not between 1 and 60 seconds",
                "4 is what the model was trained on",
            )
        if not 0.0 <= self.overlap <= 0.5:
            raise UsageError(
                f"--overlap {self.overlap:g} is not between 0 and 0.5", "0.25 is the default"
            )


@dataclass(frozen=True)
class NoteConfig:
    """From a pitch track to the notes of a MIDI file."""

    smoothing_s: float = 0.176
    """Running median over about one vibrato cycle (5 to 6 Hz)."""
    largest_gap_s: float = 0.064
    """Unvoiced intervals up to this long (a consonant, a missed frame) do not end a note."""
    shortest_note_s: float = 0.096
    hysteresis_semitones: float = 0.75
    """A note lasts until the pitch is this far from it (from 0.5 on another semitone is nearer)."""
    velocity: int = 80
    program: int = 52
    """Of General MIDI: choir, "aah"."""
    ticks_per_beat: int = 480
    microseconds_per_beat: int = 500_000


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
