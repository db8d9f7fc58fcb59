"""The notes of every voice at their times in a recording, each with a measure of confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from umss_jax.scores.alignment import Passage, Reading, sounding_at
from umss_jax.scores.config import AlignmentConfig
from umss_jax.scores.evidence import Evidence
from umss_jax.scores.parts import Cast, VoiceNotes

NOWHERE = -1
"""Instead of a frame, of a note that is not in the recording."""
_CLOSE_S = 0.1
"""Notes less apart follow each other without a rest."""
_CONSONANT_S = 0.25
"""At most, from where a note begins to where its pitch is heard."""
_BEGUN = -0.4
"""Evidence that a pitch sounds, between -1 and 1: 0.3 of its full salience."""
_REST = -0.9
"""What a rest counts for, between -1 and 1: a pitch that fades is still sung."""
_PULL = 0.05
"""Of evidence per frame: what moves an onset away from its chord's must be heard."""


class AlignedNotes(NamedTuple):
    """The notes of one voice; arrays ``[notes]`` in the order of the recording.

    Notes that are sung twice are there twice; those of a repeat that was left out, or of a page
    that the recording does not have, are at the end, nowhere.
    """

    note: np.ndarray
    """int: number in the part of the voice."""
    onset: np.ndarray
    """int: first frame in the recording; -1 nowhere."""
    offset: np.ndarray
    """int: frame after the last."""
    pitch: np.ndarray
    """Of MIDI, as sung: transposed."""
    is_followed: np.ndarray
    """bool: the voice's own line."""
    confidence: np.ndarray
    """0 to 1: 0 where the pitch is heard as often as one by chance, 1 where all the time."""


def aligned_notes(
    evidence: Evidence,
    cast: Cast,
    reading: Reading,
    passages: Sequence[Passage],
    config: AlignmentConfig,
    frame_s: float,
) -> list[AlignedNotes]:
    """The notes of each voice of a cast at their times."""
    chance = _chance(evidence, cast, reading, passages, config)
    voices = []
    for voice in cast.voices:
        found = [
            _in_passage(evidence, voice, reading, passage, config, frame_s) for passage in passages
        ]
        rows = np.concatenate([np.zeros((0, 3), int), *found])
        lost = np.setdiff1d(np.arange(len(voice.part.pitch)), rows[:, 0])
        nowhere = np.stack([lost, *[np.full(len(lost), NOWHERE)] * 2], axis=1)
        note, onset, offset = np.concatenate([rows, nowhere]).T
        pitch = voice.part.pitch[note] + reading.transposition
        confidence = _confidences(evidence, onset, offset, pitch, chance, config)
        followed = voice.is_followed[note]
        voices.append(AlignedNotes(note, onset, offset, pitch, followed, confidence))
    return voices


def _in_passage(
    evidence: Evidence,
    voice: VoiceNotes,
    reading: Reading,
    passage: Passage,
    config: AlignmentConfig,
    frame_s: float,
) -> np.ndarray:
    """Numbers, onsets and offsets ``[notes, 3]`` of what a passage has of a voice."""
    part, places = voice.part, passage.score_s
    first, last = places[0], places[-1]
    shared = np.minimum(part.offset_s, last) - np.maximum(part.onset_s, first)
    note = np.flatnonzero(shared > 0.5 * (part.offset_s - part.onset_s))
    onset = passage.first_frame + np.searchsorted(places, part.onset_s[note] - 1e-6)
    offset = passage.first_frame + np.searchsorted(places, part.offset_s[note] - 1e-6)
    offset = np.maximum(offset, onset + 1)
    pitch = part.pitch[note].astype(int) + reading.transposition
    is_followed = voice.is_followed[note]
    line = np.flatnonzero(is_followed)
    onset[line], offset[line] = _own_onsets(
        evidence, onset[line], offset[line], pitch[line], config, frame_s
    )
    return np.stack([note, onset, offset], axis=1)


def _own_onsets(
    evidence: Evidence,
    onset: np.ndarray,
    offset: np.ndarray,
    pitch: np.ndarray,
    config: AlignmentConfig,
    frame_s: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Moves the borders of the notes of one line to where their pitches begin and end."""
    reach, close = round(config.onset_s / frame_s), _CLOSE_S / frame_s
    heard = np.minimum(evidence.heard / np.float32(config.full_salience), 1) * 2 - 1
    pitch = np.clip(pitch, 0, len(heard) - 1)
    new_onset, new_offset = onset.copy(), offset.copy()
    count = len(onset)
    for n in range(count + 1):
        before, after = n - 1 if n else None, n if n < count else None
        if before is not None and after is not None and onset[n] - offset[n - 1] >= close:
            _move(heard, new_offset, before, pitch, (before, None), onset, offset, reach)
            _move(heard, new_onset, after, pitch, (None, after), onset, offset, reach)
        elif after is not None:
            _move(heard, new_onset, after, pitch, (before, after), onset, offset, reach)
            if before is not None:
                new_offset[before] = new_onset[after]
        elif before is not None:
            _move(heard, new_offset, before, pitch, (before, None), onset, offset, reach)
    new_offset = np.maximum(new_offset, new_onset + 1)
    return _after_consonants(heard, new_onset, new_offset, pitch, round(_CONSONANT_S / frame_s))


def _after_consonants(
    heard: np.ndarray, onset: np.ndarray, offset: np.ndarray, pitch: np.ndarray, reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """Moves onsets to where the pitches are first heard, if that is soon.

    Before that there is a consonant. A note that was followed at once still is: it lasts longer.
    """
    begun = onset.copy()
    for n, (first, last) in enumerate(zip(onset, offset, strict=True)):
        last = min(last, first + min(reach, (last - first) // 2 + 1))
        sounds = np.flatnonzero(heard[int(pitch[n]), first:last] > _BEGUN)
        begun[n] = first + (sounds[0] if len(sounds) else 0)
    follows = np.append(onset[1:] == offset[:-1], False)
    return begun, np.where(follows, np.append(begun[1:], 0), offset)


def _move(
    heard: np.ndarray,
    border: np.ndarray,
    at: int,
    pitch: np.ndarray,
    sides: tuple[int | None, int | None],
    onset: np.ndarray,
    offset: np.ndarray,
    reach: int,
) -> None:
    """Puts a border where the pitch before is heard best before it, and the one after, after."""
    before, after = sides
    place = int(border[at])
    low, high = place - reach, place + reach
    if before is not None:
        low = max(low, int(onset[before] + offset[before]) // 2)
    if after is not None:
        high = min(high, int(onset[after] + offset[after]) // 2)
    low, high = max(low, 0), min(high, heard.shape[1])
    if high - low < 2:
        return
    rest = np.full(high - low, _REST)
    left = heard[int(pitch[before]), low:high] if before is not None else rest
    right = heard[int(pitch[after]), low:high] if after is not None else rest
    gained = np.concatenate([[0.0], np.cumsum(left - right)])
    pull = _PULL * np.abs(np.arange(low, high + 1) - place)
    border[at] = low + int(np.argmax(gained - pull))


def _chance(
    evidence: Evidence,
    cast: Cast,
    reading: Reading,
    passages: Sequence[Passage],
    config: AlignmentConfig,
) -> float:
    """How often a pitch is heard that the score does not have then, within its range."""
    pitches = np.concatenate([voice.part.pitch for voice in cast.voices]).astype(int)
    low, high = pitches.min(), pitches.max() + 1
    heard = total = 0
    for passage in passages:
        own = sounding_at(cast, passage.score_s)[:, low:high].T > 0
        frames = slice(passage.first_frame, passage.first_frame + own.shape[1])
        rows = np.clip(np.arange(low, high) + reading.transposition, 0, len(evidence.heard) - 1)
        others = evidence.heard[rows, frames] >= config.full_salience / 2
        heard += int(np.count_nonzero(others & ~own))
        total += int(np.count_nonzero(~own))
    return heard / max(total, 1)


def _confidences(
    evidence: Evidence,
    onset: np.ndarray,
    offset: np.ndarray,
    pitch: np.ndarray,
    chance: float,
    config: AlignmentConfig,
) -> np.ndarray:
    """How much more of a note its pitch is heard than by chance."""
    is_heard = evidence.heard >= config.full_salience / 2
    found = np.zeros(len(onset))
    for n in np.flatnonzero(onset != NOWHERE):
        row = int(np.clip(pitch[n], 0, len(is_heard) - 1))
        span = is_heard[row, onset[n] : offset[n]]
        found[n] = span.mean() if len(span) else 0.0
    return np.clip((found - chance) / (1 - chance), 0, 1)
