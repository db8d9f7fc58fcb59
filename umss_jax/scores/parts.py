"""Which part of a score is which voice: by its name, else by its pitches.

Where a voice has several lines (two parts of its name, chords), it follows the highest, the lowest
voice the lowest; the other lines help to align the score.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from umss_jax.config import VOICES
from umss_jax.errors import ScoreError
from umss_jax.scores.notes import Part, Score, joined
from umss_jax.voice_names import clean_stem, tokens_of, voice_names
from umss_jax.words import counted, some_of

_INSTRUMENT_WORDS = (
    "accomp accompaniment acc piano pianoforte klavier klavír fortepiano organ orgel orgue organo "
    "órgano keyboard harpsichord cembalo continuo practice rehearsal guitar guitarra sax saxophone "
    "saxophon clarinet klarinette flute flöte recorder trombone posaune trumpet drum drums "
    "percussion strings violin viola cello violoncello contrabass harp click metronome pad"
)
"""Words that make a part an accompaniment, whatever else its name says."""
_INSTRUMENTS = frozenset(_INSTRUMENT_WORDS.split())
_PART_WORDS = {"canto": "soprano"}
"""What is a voice as the name of a part, and in other names a song."""
_SAME_S = 0.01


class VoiceNotes(NamedTuple):
    """The notes of one voice."""

    part: Part
    is_followed: np.ndarray
    """bool ``[notes]``: the voice's own line where it divides."""


class Cast(NamedTuple):
    """Who sings which part."""

    voices: tuple[VoiceNotes, ...]
    form: str
    """Of the score."""
    left_out: tuple[str, ...]
    """Names of parts that no voice sings."""


def cast_voices(score: Score, name: str, voices: tuple[str, ...] = VOICES) -> Cast:
    """Gives the parts of a score to the voices.

    Parts are told by their names in many languages, and those that are named after instruments are
    left out. Without names, as many parts as there are voices are taken by their mean pitch, the
    highest first; fewer parts are divided into the lines of their chords, if these are as many as
    the voices; of more parts those without chords are taken, if these are as many.

    Args:
        score: its parts hold notes.
        name: of the file, for messages.
        voices: highest first.

    Raises:
        ScoreError: a voice has no part, or it cannot be told which parts are the voices'.
    """
    singing = [part for part in score.parts if not _words(part) & _INSTRUMENTS] or list(score.parts)
    by_voice: dict[int, list[Part]] = defaultdict(list)
    others = []
    for part in singing:
        found = _voices_named(part, voices)
        if len(found) == 1:
            by_voice[found.pop()].append(part)
        else:
            others.append(part)
    missing = [voice for voice in range(len(voices)) if voice not in by_voice]
    if not by_voice:
        chosen = _by_pitch(singing, len(voices), name)
        by_voice.update({voice: [part] for voice, part in enumerate(chosen)})
    elif missing:
        if len(others) != len(missing):
            lacking = " and no ".join(voices[voice] for voice in missing)
            raise ScoreError(
                f"score {name} has no {lacking}, but parts {_listed(score.parts)}",
                "give a score of all voices, its parts named after them",
            )
        for voice, part in zip(missing, sorted(others, key=_mean_pitch, reverse=True), strict=True):
            by_voice[voice].append(part)
    taken = {id(part) for parts in by_voice.values() for part in parts}
    is_divided = any(part.is_split for parts in by_voice.values() for part in parts)
    left = () if is_divided else tuple(p.name for p in score.parts if id(p) not in taken)
    sung = []
    # What comes before the first note is no business of the voices.
    begin_s = min(part.onset_s.min() for parts in by_voice.values() for part in parts)
    for voice, label in enumerate(voices):
        part = joined(label, by_voice[voice])
        part = part._replace(onset_s=part.onset_s - begin_s, offset_s=part.offset_s - begin_s)
        sung.append(VoiceNotes(part, _followed(part, is_lowest=voice == len(voices) - 1)))
    return Cast(tuple(sung), score.form, left)


def _by_pitch(parts: list[Part], voices: int, name: str) -> list[Part]:
    """As many parts or lines as voices, the highest first."""
    lines = [_usual_lines(part) for part in parts]
    single = [part for part, count in zip(parts, lines, strict=True) if count == 1]
    if len(parts) == voices:
        chosen = parts
    elif len(parts) < voices and sum(lines) == voices:
        chosen = [
            line
            for part, count in zip(parts, lines, strict=True)
            for line in (split_lines(part, count) if count > 1 else [part])
        ]
    elif len(parts) > voices and len(single) == voices:
        chosen = single
    else:
        raise ScoreError(
            f"score {name} has {counted(len(parts), 'part')} ({_listed(parts)}) for "
            f"{counted(voices, 'voice')}",
            "give a score of all voices, its parts named after them",
        )
    return sorted(chosen, key=_mean_pitch, reverse=True)


def split_lines(part: Part, lines: int) -> list[Part]:
    """The lines of a part in chords, the highest first.

    Notes that begin together are given out in the order of pitch; fewer notes than lines go to the
    lines that sang nearest to them before, without crossing. More are left to the lowest line.
    """
    rows: list[list[int]] = [[] for _ in range(lines)]
    last = [np.nan] * lines
    groups = itertools.groupby(
        range(len(part.pitch)), key=lambda n: round(float(part.onset_s[n]) / _SAME_S)
    )
    for _, group in groups:
        notes = sorted(group, key=lambda n: -part.pitch[n])
        ways = list(itertools.combinations(range(lines), min(len(notes), lines)))
        costs = [
            np.nansum(
                [abs(part.pitch[n] - last[line]) for n, line in zip(notes, way, strict=False)]
            )
            for way in ways
        ]
        way = ways[int(np.argmin(costs))]
        for place, note in enumerate(notes):
            line = way[min(place, len(way) - 1)]
            rows[line].append(note)
            last[line] = part.pitch[note]
    return [part.take(np.asarray(one, int), is_split=True) for one in rows]


def _usual_lines(part: Part) -> int:
    """How many notes mostly sound at once, where any sound."""
    edges = np.unique(np.concatenate([part.onset_s, part.offset_s]))
    middles = (edges[:-1] + edges[1:]) / 2
    started = np.searchsorted(np.sort(part.onset_s), middles, side="right")
    counts = started - np.searchsorted(np.sort(part.offset_s), middles, side="right")
    lengths = np.bincount(counts, weights=np.diff(edges))
    return 1 + int(np.argmax(lengths[1:])) if len(lengths) > 1 else 1


def _followed(part: Part, is_lowest: bool) -> np.ndarray:
    """Notes that no higher one (of the lowest voice: no lower one) covers for the most part."""
    height = -part.pitch if is_lowest else part.pitch
    longest = np.max(part.offset_s - part.onset_s)
    first = np.searchsorted(part.onset_s, part.onset_s - longest)
    last = np.searchsorted(part.onset_s, part.offset_s)
    kept = np.ones(len(height), bool)
    for n, (onset, offset) in enumerate(zip(part.onset_s, part.offset_s, strict=True)):
        near = slice(first[n], last[n])
        shared = np.minimum(part.offset_s[near], offset) - np.maximum(part.onset_s[near], onset)
        is_covering = shared > 0.5 * (offset - onset)
        is_before = np.arange(first[n], last[n]) < n
        is_twin = (height[near] == height[n]) & is_before & kept[near]
        kept[n] = not np.any(is_covering & ((height[near] > height[n]) | is_twin))
    return kept


def _mean_pitch(part: Part) -> float:
    return float(np.average(part.pitch, weights=part.offset_s - part.onset_s))


def _voices_named(part: Part, voices: tuple[str, ...]) -> set[int]:
    """The voices that the name of a part means."""
    found = {named.voice for named in voice_names(part.name)}
    words = {_PART_WORDS[word] for word in _words(part) & _PART_WORDS.keys()}
    return found or {voices.index(word) for word in words if word in voices}


def _words(part: Part) -> set[str]:
    return {token.text for token in tokens_of(clean_stem(part.name))}


def _listed(parts: list[Part] | tuple[Part, ...]) -> str:
    return some_of([part.name or "without a name" for part in parts], most=6)
