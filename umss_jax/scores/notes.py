"""Notes of a score, as arrays of one length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """One part, or one line of a part, in the order of onsets; every array is ``[notes]``."""

    name: str
    """As the score has it; empty where it has none."""
    onset_beats: np.ndarray
    """Quarter notes from the beginning."""
    offset_beats: np.ndarray
    onset_s: np.ndarray
    """The same at the tempo that is written, or at 120 quarter notes a minute."""
    offset_s: np.ndarray
    pitch: np.ndarray
    """Of MIDI: 69 is A4."""
    measure: np.ndarray
    """Number of the bar as it is written; 0 where it is not known."""
    beat: np.ndarray
    """Within the bar, from 1 on; 0 where it is not known."""
    is_split: bool = False
    """Whether it is one of several lines of a part."""

    def take(self, rows: np.ndarray, is_split: bool | None = None) -> Part:
        """Some of the notes, by numbers or a mask."""
        fields = {name: getattr(self, name)[rows] for name in _ARRAYS}
        return self._replace(**fields, is_split=self.is_split if is_split is None else is_split)


SECONDS_PER_BEAT = (0.06, 12.0)
"""Of what tempos are believed: others are slips of a program."""
_ARRAYS = ("onset_beats", "offset_beats", "onset_s", "offset_s", "pitch", "measure", "beat")


class Score(NamedTuple):
    """A piece in parts, in the order of the file."""

    parts: tuple[Part, ...]
    form: str
    """How its repeats are played: ``written`` once as they stand, or ``expanded``."""


def part_of(name: str, rows: Sequence[Sequence[float]]) -> Part:
    """A part from rows of numbers in the order of the arrays of :class:`Part`."""
    table = np.asarray(sorted(map(tuple, rows)), np.float64).reshape(-1, len(_ARRAYS))
    return Part(name, *table.T)


def joined(name: str, parts: Sequence[Part]) -> Part:
    """The notes of several parts as one, in the order of onsets."""
    tables = [np.stack([getattr(part, field) for field in _ARRAYS], axis=1) for part in parts]
    return part_of(name, np.concatenate(tables).tolist())
