"""The ensembles that a user may name: presets, lists of names, and a small TOML file.

A preset is a word of the letters S, A, T, B from the highest to the lowest (``ttbb``, ``ssatb``),
one of a few names, or a number. A list names voices whose range their name tells
(``soprano,mezzo,alto``). A TOML file gives each voice its range: ``cantus = ["C4", "A5"]``, the
highest voice first.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from umss_jax.config import VOICES, VoicesConfig
from umss_jax.documents import (
    MOST_BYTES_OF_SETTINGS,
    NoDocumentError,
    decoded,
    parsed_toml,
    read_bytes,
)
from umss_jax.errors import UsageError, brief
from umss_jax.range_checks import check_voice_count
from umss_jax.voice_names import voice_of

_USUAL = VoicesConfig()
_RANGES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        **{
            name: (low, high)
            for name, low, high in zip(
                _USUAL.names, _USUAL.lowest_notes, _USUAL.highest_notes, strict=True
            )
        },
        "mezzo": (57, 77),
        "baritone": (43, 66),
    }
)
_DIVIDED: Mapping[str, tuple[tuple[int, int], tuple[int, int]]] = MappingProxyType(
    {
        "soprano": ((62, 82), (58, 78)),
        "alto": ((55, 76), (52, 72)),
        "tenor": ((50, 72), (47, 68)),
        "bass": ((43, 66), (38, 61)),
    }
)
"""Ranges of the first and the last where a section is divided; others lie between."""
_NAMED: Mapping[str, tuple[tuple[str, int, int], ...]] = MappingProxyType(
    {
        "duet": (("voice1", 52, 84), ("voice2", 40, 76)),
        "trio": (("voice1", 55, 84), ("voice2", 48, 79), ("voice3", 40, 74)),
        "sab": (("soprano", 60, 81), ("alto", 53, 74), ("baritone", 41, 66)),
    }
)
PRESETS: tuple[str, ...] = ("satb", "ttbb", "ssaa", "ssatb", "sab", "duet", "trio")
"""Examples, for messages: any word of S, A, T and B is one."""

_LETTERS = dict(zip("satb", VOICES, strict=True))
_WORD = re.compile(r"(?P<word>\D+?)[-_]?(?P<number>\d*)")
_OTHER_WORDS = {
    **dict.fromkeys(("mezzo", "mezzosoprano", "mezzosopran"), "mezzo"),
    **dict.fromkeys(("baritone", "bariton", "baritono", "baryton", "barytone"), "baritone"),
}
_NOTE = re.compile(r"(?P<name>[A-Ga-g])(?P<sign>[#b♯♭]?)(?P<octave>-?\d)")
_STEPS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}


def parse_voices(text: str) -> VoicesConfig:
    """The voices that a text names: a preset, names apart by commas, or a TOML file.

    Raises:
        UsageError: it names none, or no ensemble (:class:`umss_jax.config.VoicesConfig`).
    """
    given = text.strip()
    path = Path(given)
    if given.lower().endswith(".toml"):
        return _of_file(path)
    if "," in given:
        return _of_names([name.strip() for name in given.split(",")])
    if given.isascii() and given.isdigit() and len(given) <= 4:
        return _of_number(int(given))
    preset = given.casefold()
    if preset in _NAMED:
        return _config(_NAMED[preset])
    if preset and set(preset) <= set(_LETTERS):
        check_voice_count(len(preset))
        if list(preset) != sorted(preset, key="satb".index):
            raise UsageError(
                f"{brief(given)} is no ensemble", "write the letters from the highest to the lowest"
            )
        return _of_sections([_LETTERS[letter] for letter in preset])
    if section_of(given) is not None:
        check_voice_count(1)
    raise UsageError(
        f"no ensemble is called {brief(given)}",
        f"choose from {', '.join(PRESETS)}, list the voices apart by commas, or give a .toml file",
    )


def as_voices(given: object) -> VoicesConfig | None:
    """The voices that an argument stands for: text as :func:`parse_voices`, or a list of names.

    None stays None.

    Raises:
        UsageError: it names no ensemble.
    """
    if given is None or isinstance(given, VoicesConfig):
        return given
    if isinstance(given, str | os.PathLike):
        return parse_voices(os.fsdecode(given))
    if isinstance(given, Sequence) and all(isinstance(name, str) for name in given):
        return _of_names(list(given))
    raise UsageError(f"voices is {brief(given)}", "give a preset, names or a .toml file")


def _of_number(number: int) -> VoicesConfig:
    """So many voices that are told by their order alone; four are the usual ones."""
    check_voice_count(number)
    if number == len(VOICES):
        return VoicesConfig()
    named = {2: "duet", 3: "trio"}.get(number)
    if named is not None:
        return _config(_NAMED[named])
    highest, lowest = _DIVIDED["soprano"][0], _DIVIDED["bass"][1]
    return _config(
        (f"voice{n + 1}", *_between(highest, lowest, n / (number - 1))) for n in range(number)
    )


def _config(voices: Any) -> VoicesConfig:
    names, lowest, highest = zip(*voices, strict=True)
    return VoicesConfig(names, lowest, highest)


def _of_sections(sections: list[str]) -> VoicesConfig:
    """Voices by their sections, numbered where a section is divided."""
    return _config(
        (section if count == 1 else f"{section}{number}", *_range(section, number, count))
        for section, number, count in _numbered(sections)
    )


def _numbered(sections: list[str]) -> list[tuple[str, int, int]]:
    """Each voice's section, its number there from 1 on, and how many there are."""
    counts, seen = Counter(sections), Counter[str]()
    found = []
    for section in sections:
        seen[section] += 1
        found.append((section, seen[section], counts[section]))
    return found


def _range(section: str, number: int, count: int) -> tuple[int, int]:
    if count == 1 or section not in _DIVIDED:
        return _RANGES[section]
    first, last = _DIVIDED[section]
    return _between(first, last, (number - 1) / (count - 1))


def _between(first: tuple[int, int], last: tuple[int, int], part: float) -> tuple[int, int]:
    """The range that is part of the way from one to another."""
    low, high = (round(a + part * (b - a)) for a, b in zip(first, last, strict=True))
    return low, high


def _of_names(names: list[str]) -> VoicesConfig:
    """Voices by names that tell their ranges."""
    check_voice_count(len(names))
    sections = []
    for name in names:
        section = section_of(name)
        if section is None:
            raise UsageError(
                f"the range of a voice {brief(name)} is not known",
                f"use the names {', '.join(_RANGES)} with numbers, or a .toml file with ranges "
                '(high = ["C4", "A5"])',
            )
        sections.append(section)
    numbered = zip(names, _numbered(sections), strict=True)
    return _config((name, *_range(*which)) for name, which in numbered)


def section_of(name: str) -> str | None:
    """The section that a name means, in many languages, whatever number follows; None for none."""
    match = _WORD.fullmatch(name.casefold())
    if match is None:
        return None
    word = match["word"]
    if word in _OTHER_WORDS:
        return _OTHER_WORDS[word]
    voice = voice_of(word)
    if voice is None:
        return _LETTERS.get(word)
    return VOICES[voice]


def _of_file(path: Path) -> VoicesConfig:
    try:
        tree = parsed_toml(decoded(read_bytes(path, MOST_BYTES_OF_SETTINGS)))
    except NoDocumentError as error:
        raise UsageError(f"{path} names no voices ({error})", _FILE_REMEDY) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{path} cannot be read ({reason})", "check its name and rights"
        ) from error
    voices = []
    for name, span in tree.items():
        if not isinstance(span, list) or len(span) != 2:
            raise UsageError(f"{path}: {brief(name)} has no range", _FILE_REMEDY)
        voices.append((name, *(_note(path, name, one) for one in span)))
    if not voices:
        raise UsageError(f"{path} names no voices", _FILE_REMEDY)
    try:
        return _config(voices)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.remedy) from error


_FILE_REMEDY = 'write a line for each, the highest first: cantus = ["C4", "A5"]'


def _note(path: Path, name: str, value: object) -> int:
    """A note of MIDI from its name or number."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and (match := _NOTE.fullmatch(value.strip())):
        sign = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}[match["sign"]]
        number = 12 * (int(match["octave"]) + 1) + _STEPS[match["name"].lower()] + sign
    else:
        number = -1
    if not 0 <= number <= 127:
        raise UsageError(
            f"{path}: {brief(value)} in the range of {brief(name)} is no note",
            'write notes as "C4", "F#3", "Bb2" or by their numbers in MIDI (60)',
        )
    return number
