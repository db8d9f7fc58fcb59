"""Which part of a score is which voice: by its name, else by its pitches.

Where a voice has several lines (two parts of its name, chords), it follows the highest, the lowest
voice the lowest; the other lines help to align the score.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from umss_jax.config import VOICES
from umss_jax.errors import ScoreError
from umss_jax.scores.notes import Part, Score, joined
from umss_jax.voice_names import clean_stem, tokens_of, voice_names
from umss_jax.voice_sets import section_of
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
_NEIGHBOURS = {"mezzo": ("soprano", "alto"), "baritone": ("bass", "tenor")}
"""Sections that sing what is written for another one, where the ensemble does not have that."""
_INSTEAD = {"bass": ("baritone",), "soprano": ("mezzo",)}
_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4"}
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
    left out; where a section is divided, also by numbers or by pitch. Without names, as many parts
    as there are voices are taken by their mean pitch, the highest first; fewer parts are divided
    into the lines of their chords, if these are as many as the voices; of more parts those without
    chords are taken, if these are as many.

    Args:
        score: its parts hold notes.
        name: of the file, for messages.
        voices: highest first.

    Raises:
        ScoreError: a voice has no part, or it cannot be told which parts are the voices'.
    """
    singing = [part for part in score.parts if not _words(part) & _INSTRUMENTS] or list(score.parts)
    by_voice, others = _by_name(singing, voices)
    missing = [voice for voice in range(len(voices)) if voice not in by_voice]
    is_without_names = len(others) == len(singing) or not _sections(voices)
    if not by_voice and is_without_names:
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


def _by_name(
    parts: Sequence[Part], voices: tuple[str, ...]
) -> tuple[dict[int, list[Part]], list[Part]]:
    """Parts by the voice that their names mean, and those whose names mean none or several.

    Those of a section that the ensemble does not have are neither.
    """
    by_voice: dict[int, list[Part]] = defaultdict(list)
    by_section: dict[str, list[Part]] = defaultdict(list)
    others = []
    own = {name.casefold(): number for number, name in enumerate(voices)}
    sections = _sections(voices)
    for part in parts:
        number = own.get(_compact(part.name))
        section = _section_named(part, sections)
        if number is not None:
            by_voice[number].append(part)
        elif section is None:
            others.append(part)
        elif section not in sections:
            continue
        elif (place := _number_named(part)) is not None and place <= len(sections[section]):
            by_voice[sections[section][place - 1]].append(part)
        else:
            by_section[section].append(part)
    for section, named in by_section.items():
        free = [voice for voice in sections[section] if voice not in by_voice] or sections[section]
        for voice, part in _shared_out(named, free):
            by_voice[voice].append(part)
    return by_voice, others


def _sections(voices: tuple[str, ...]) -> dict[str, list[int]]:
    """Numbers of the voices of each section that their names tell, the highest first."""
    sections: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(voices):
        section = section_of(name)
        if section is not None:
            sections[section].append(number)
    return dict(sections)


def _section_named(part: Part, sections: dict[str, list[int]]) -> str | None:
    """The section that the name of a part means, of the ensemble where it has one like it.

    None where the name means none or several.
    """
    found = {VOICES[named.voice] for named in voice_names(part.name)}
    words = _words(part)
    found |= {_PART_WORDS[word] for word in words & _PART_WORDS.keys()} if not found else set()
    between = {section for word in words if (section := section_of(word)) in _NEIGHBOURS}
    if between:
        found = {section for section in between if section}
    if len(found) != 1:
        return None
    section = found.pop()
    known = (section, *_NEIGHBOURS.get(section, ()), *_INSTEAD.get(section, ()))
    return next((one for one in known if one in sections), section)


def _number_named(part: Part) -> int | None:
    """Which of its section a part is by its name: ``Tenor 2``, ``Tenor II``, ``T2``."""
    digits = [re.sub(r"\D", "", word) or _ROMAN.get(word, "") for word in _words(part)]
    numbers = {int(one) for one in digits if one}
    return numbers.pop() if len(numbers) == 1 and min(numbers) > 0 else None


def _shared_out(parts: Sequence[Part], voices: Sequence[int]) -> list[tuple[int, Part]]:
    """Parts of one section for its voices, the highest first; the last ones may sing together."""
    if len(parts) == 1 < len(voices) and _usual_lines(parts[0]) == len(voices):
        parts = split_lines(parts[0], len(voices))
    ordered = sorted(parts, key=_mean_pitch, reverse=True)
    return [
        (voices[n * len(voices) // len(parts) if len(parts) > len(voices) else n], part)
        for n, part in enumerate(ordered)
    ]


def _compact(name: str) -> str:
    """The name of a part as voices are called: in one word."""
    return "".join(clean_stem(name).split()).casefold()


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


def _words(part: Part) -> set[str]:
    return {token.text for token in tokens_of(clean_stem(part.name))}


def _listed(parts: list[Part] | tuple[Part, ...]) -> str:
    return some_of([part.name or "without a name" for part in parts], most=6)
