"""Settings of F0 tables, and of what gives pitches to voices."""

from __future__ import annotations

from dataclasses import dataclass

CONFIDENCE = 0.4
"""Minimum confidence of a voiced frame, on CREPE's scale of 0 to 1 (reference)."""


@dataclass(frozen=True)
class RangesConfig:
    """What assignment by ranges minimises; costs are sums over voices and frames.

    Chosen by a random search on rendered hymns (SATB, TTBB, SSAA, SAB, SSATB, duets).
    """

    threshold_part: float = 0.3
    """Of the threshold of a peak: softer ones are not considered."""
    spare_peaks: int = 3
    """So many more than there are voices are considered in a frame, the most salient."""
    ways: int = 32
    """To give its peaks to the voices that are followed."""
    reward: float = 2.3
    """Of a peak that somebody sings, times its salience."""
    silent_cost: float = 1.0
    shared_cost: float = 0.66
    """Of a voice that sings another's pitch. Since it is less than silence, most rests beside a
    voice in reach become unisons, which are more frequent in hymns; with 3 they stay rests."""
    centre_cost: float = 0.33
    """At the edges of a range; grows with the square."""
    outside_cost: float = 0.5
    """For each semitone."""
    step_cost: float = 2.0
    """For each semitone from frame to frame, beyond what is still."""
    still_semitones: float = 0.1
    leap_cost: float = 10.0
    """What a step costs at most."""
    change_cost: float = 3.5
    """Of falling silent or beginning to sing."""
    doubt_cost: float = 0.0
    """Times -ln of what an assignment network gives to voice and pitch, where it is asked."""
    overtone_cost: float = 0.0
    """Of a pitch that is an octave, a twelfth or two octaves above a more salient one, times the
    salience of that one and how much more it is: an overtone is often taken for a voice."""
    solo_frames: int = 0
    """Where two clear pitches never sound together for so many frames, nor in more than
    ``solo_share`` of all, it is a solo, and the other voices are silent throughout: what follows a
    note in a room is over sooner. With 0 nothing is a solo."""
    solo_share: float = 0.25
    clear: float = 0.5
    """Salience of the pitches that count for it."""
    newcomer_cost: float = 0.0
    """In each frame of a solo that is sung by another voice than the only one that sang before: it
    is not passed from voice to voice."""


WITH_NETWORK = RangesConfig(
    threshold_part=0.45,
    silent_cost=1.3,
    shared_cost=0.4,
    centre_cost=0.25,
    doubt_cost=0.45,
    overtone_cost=3.0,
    solo_frames=30,
    clear=0.75,
    newcomer_cost=1.5,
)
"""Beside an assignment network. Chosen on excerpts of eight pieces of ChoralSynth and of quartets 1
to 3 of Nino_Dios: of 96 by RPA less wrong pitches, then of 20 by SI-SDR."""
