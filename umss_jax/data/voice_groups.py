"""Which recordings are the voices of one piece, told from the names of files and folders.

A voice is in the name of the file (``Title - Alto 2.wav``, ``S.wav``, ``01 Soprano.wav``) or is the
name of a folder (``soprano/title.wav``); what is left of names and folders names the piece. Numbers
are kept as far as pieces are complete with them: a number after the voice then is a performance of
its own, else it numbers singers; one before it then belongs to the title, else it counts files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from umss_jax.config import VOICES
from umss_jax.errors import DatasetError
from umss_jax.voice_names import (
    LEVELS,
    clean_stem,
    folder_voice,
    single_letter,
    title_of,
    tokens_of,
    voice_names,
    voice_of,
)
from umss_jax.words import readable

_FOLDER_LEVEL = len(LEVELS)  # nothing of the file's name: the folder of the voice says it all

Key = tuple[str, ...]


class Stem(NamedTuple):
    """A recording that may be of one voice."""

    file: Path
    voice: int
    """Index in `VOICES`."""
    is_letter: bool
    is_alone: bool
    """Its name is a voice written out, and numbers."""
    place: Key
    """Folders that the piece is in."""
    keys: tuple[Key, ...]
    """What tells its piece from others of the place, by level."""
    titles: tuple[str, ...]


class Group(NamedTuple):
    """The voices of one piece."""

    place: Key
    title: str
    voices: tuple[tuple[Path, ...], ...]
    """Soprano to bass; empty where none was found."""
    performance_of: str | None
    """The title less a number of the performance, if it has one."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return tuple(file for voice in self.voices for file in voice)


def group_voices(folder: Path, files: Sequence[Path]) -> list[Group]:
    """The pieces among recordings below a folder, also incomplete ones.

    A name that has a voice among other words counts only beside another voice of the same piece,
    single letters only beside two more and in no longer series (A, B, C).

    Raises:
        DatasetError: it cannot be told which recordings belong together.
    """
    folders = _voice_folders(folder, files)
    places: dict[Key, list[list[Stem]]] = defaultdict(list)
    letters: dict[Key, set[str]] = defaultdict(set)
    for file in files:
        inner = file.relative_to(folder).parts[:-1]
        options = _options(file, inner, folders)
        if options:
            places[tuple(part.casefold() for part in options[0].place)].append(options)
        letter = single_letter(file.stem)
        if letter is not None:
            letters[tuple(readable(part).casefold() for part in inner)].add(letter)
    groups = []
    for place, stems in places.items():
        is_series = bool(letters[place] - set("satb"))
        groups += _groups_of_place(folder, stems, is_series)
    return sorted(groups)


def _voice_folders(folder: Path, files: Iterable[Path]) -> dict[Key, int]:
    """Folders named as a voice, by their parts below the folder, in which no other voice lies."""
    inside: dict[Key, set[int]] = defaultdict(set)
    beside: dict[Key, set[str]] = defaultdict(set)
    for file in files:
        inner = file.relative_to(folder).parts[:-1]
        named = voice_names(file.stem)
        for depth in range(1, len(inner) + 1):
            if folder_voice(inner[depth - 1]) is None:
                if len(inner[depth - 1]) == 1:
                    beside[inner[: depth - 1]].add(inner[depth - 1].casefold())
                continue
            inside[inner[:depth]].update(one.voice for one in named[:1] if not one.is_letter)
            beside[inner[: depth - 1]].add(inner[depth - 1].casefold())
    found = {}
    for path, voices in inside.items():
        said = folder_voice(path[-1])
        if said is None or len(voices | {said[0]} if said[1] else voices) > 1:
            continue
        voice, is_letter = said
        single = {name for name in beside[path[:-1]] if len(name) == 1}
        if not is_letter or (len(single) >= 3 and single <= set("satb")):
            found[path] = voice
    return found


def _options(file: Path, inner: Key, folders: Mapping[Key, int]) -> list[Stem]:
    """How a recording's name may be read: by its folder, else by its last voice or its first."""
    for depth in range(len(inner), 0, -1):
        if inner[:depth] in folders:
            voice = folders[inner[:depth]]
            place = tuple(map(readable, (*inner[: depth - 1], *inner[depth:])))
            text = clean_stem(file.stem)
            kept = tuple(one for one in tokens_of(text) if voice_of(one.text) != voice)
            key, title = tuple(one.text for one in kept), title_of(text, kept)
            keys = (*(key for _ in LEVELS), ())
            return [Stem(file, voice, False, False, place, keys, (*(title for _ in LEVELS), ""))]
    place = tuple(map(readable, inner))
    found = []
    for named in voice_names(file.stem):
        keys = tuple(tuple(one.text for one in named.kept(level)) for level in LEVELS)
        titles = tuple(named.title(level) for level in LEVELS)
        is_alone = named.is_alone and not named.is_letter
        found.append(
            Stem(
                *(file, named.voice, named.is_letter, is_alone, place),
                *((*keys, keys[-1]), (*titles, titles[-1])),
            )
        )
    return found


def _groups_of_place(folder: Path, options: list[list[Stem]], is_series: bool) -> list[Group]:
    """The pieces of one place, by the reading that leaves the fewest incomplete."""
    readings = [[one[0] for one in options]]
    if any(len(one) > 1 for one in options):
        readings.append([one[-1] for one in options])
    chosen: tuple[int, dict[Key, list[Stem]]] | None = None
    doubtful: list[Stem] | None = None
    for stems in readings:
        level, groups, doubt = _choose_level(stems)
        doubtful = doubtful or doubt
        if chosen is None or _incomplete(groups) < _incomplete(chosen[1]):
            chosen = level, groups
    assert chosen is not None
    level, groups = chosen
    if doubtful and not any(_is_complete(stems) for stems in groups.values()):
        one, other = (stem.file.relative_to(folder) for stem in doubtful[:2])
        raise DatasetError(
            f"{folder}: it cannot be told which piece {one} and {other} belong to, or which other "
            "voices are sung with them",
            "put the four voices of each piece into a folder of its own",
        )
    return [_group(level, stems) for stems in groups.values() if _counts(stems, is_series)]


def _group(level: int, stems: list[Stem]) -> Group:
    first = stems[0]
    voices = tuple(
        tuple(sorted(stem.file for stem in stems if stem.voice == voice))
        for voice in range(len(VOICES))
    )
    fewer = {0: 1, 2: 3}.get(level, level)
    has_number = first.keys[fewer] != first.keys[level]
    number_of = "/".join((*first.place, first.titles[fewer])) if has_number else None
    return Group(first.place, first.titles[level], voices, number_of)


def _counts(stems: list[Stem], is_series: bool) -> bool:
    """Whether recordings with the names of voices are taken as such."""
    voices = {stem.voice for stem in stems}
    if all(stem.is_letter for stem in stems):
        return len(voices) >= 3 and not is_series
    return len(voices) >= 2 or any(stem.is_alone for stem in stems)


def _choose_level(
    stems: list[Stem],
) -> tuple[int, dict[Key, list[Stem]], list[Stem] | None]:
    """The level that leaves the fewest pieces incomplete, and the pieces.

    Third, recordings that another level would join though they may be of different pieces.
    """
    by_level = [_by_key(stems, level) for level in (*LEVELS, _FOLDER_LEVEL)]
    best, doubt = 0, None
    for level, groups in enumerate(by_level):
        if _incomplete(groups) >= _incomplete(by_level[best]):
            continue
        unsafe = _unsafe(level, groups)
        if unsafe is None:
            best = level
        elif any(_is_complete(group) for group in groups.values()):
            doubt = doubt or unsafe
    return best, by_level[best], doubt


def _unsafe(level: int, groups: Mapping[Key, list[Stem]]) -> list[Stem] | None:
    """Recordings of one voice that a level joins though they may be of different pieces.

    Singers of one piece may be several: then a number is shared by some voices, but no number has
    all four, since that would be a piece of its own.
    """
    for stems in groups.values():
        again = _repeated(stems)
        if again is None:
            continue
        if level not in (1, 3):
            return again
        parts = _by_key(stems, level - 1).values()
        voices = [{stem.voice for stem in part} for part in parts]
        is_whole = any(map(_is_complete, parts))
        if level == 3 and any(map(_repeated, parts)):
            return again
        if is_whole and any(1 < len(one) < len(VOICES) for one in voices):
            return again
        if not is_whole and max(map(len, voices)) < 2:
            return again
    return None


def _by_key(stems: Iterable[Stem], level: int) -> dict[Key, list[Stem]]:
    groups: dict[Key, list[Stem]] = defaultdict(list)
    for stem in stems:
        groups[stem.keys[level]].append(stem)
    return groups


def _repeated(stems: Iterable[Stem]) -> list[Stem] | None:
    """Two recordings of the same voice."""
    seen: dict[int, Stem] = {}
    for stem in stems:
        if stem.voice in seen:
            return [seen[stem.voice], stem]
        seen[stem.voice] = stem
    return None


def _is_complete(stems: Iterable[Stem]) -> bool:
    return len({stem.voice for stem in stems}) == len(VOICES)


def _incomplete(groups: Mapping[Key, list[Stem]]) -> int:
    return sum(not _is_complete(stems) for stems in groups.values())
