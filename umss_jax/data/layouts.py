"""Which dataset a folder holds: its pieces, the files of each voice, and what is missing.

Told from folder and file names alone; no audio is opened here. Known layouts:

- ``csd``: ``<Song>/audio_16kHz/*.wav``, one file per singer, section in the name (Soprano,
  ContraAlt, tenor, Bajos), singers in alphabetical order (Choral Singing Dataset).
- ``cantoria``: ``<Song>/audio_16kHz/*_{s,a,t,b}.wav``, one singer per voice.
- ``bcbsq``: ``<BC|BQ>/audio_16kHz/<part>_{s,a,t,b}_1ch.wav`` (Bach Chorales, Barbershop Quartet).
- ``choralsynth``: ``<piece>/{soprano,alto,tenor,bass}.*``.
- ``stems``: the voice elsewhere in the names of files or folders, at any depth
  (:mod:`umss_jax.data.voice_groups`). What was guessed is in the notes.
- ``mixtures``: audio files without stems, at any depth: enough for training without labels.

The first three are the reference's (``data.py`` of PierreChouteau/umss_icassp). What hidden files
and systems leave there counts nowhere (:mod:`umss_jax.data.folder_files`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from umss_jax.config import VOICES, VoicesConfig
from umss_jax.data.folder_files import file_identity, is_foreign, recordings_below, without_twins
from umss_jax.data.voice_groups import Group, group_voices
from umss_jax.errors import DatasetError
from umss_jax.voice_names import voice_names
from umss_jax.words import counted, readable, some_of, warn_once

STEM_FOLDER = "audio_16kHz"
_SECTIONS = ("soprano", "contraalt", "tenor", "bajos")
_VOICE_LETTER = re.compile(r"^(?P<part>.+)_(?P<voice>[satb])(?:_1ch)?$", re.IGNORECASE)


class Piece(NamedTuple):
    """One piece of music and the recordings of it."""

    name: str
    """Unique in its layout; of parts in a collection, ``BC/1_BC001_part1``."""
    voices: tuple[tuple[Path, ...], ...]
    """Files of the singers of each voice, the highest first; empty for a mixture."""
    mixture: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All recordings."""
        own = () if self.mixture is None else (self.mixture,)
        return own + tuple(file for singers in self.voices for file in singers)


class Layout(NamedTuple):
    """What a folder holds."""

    kind: str
    folder: Path
    pieces: tuple[Piece, ...]
    """Complete ones, by name."""
    missing: tuple[str, ...]
    """One line for each piece that was left out."""
    notes: tuple[str, ...] = ()
    """One line for each kind of thing that was guessed or passed over."""

    def warn(self) -> None:
        """Says the notes, and how many pieces are incomplete, on stderr."""
        for note in self.notes:
            warn_once(f"{self.folder}: {note}")
        if self.missing:
            left_out = counted(len(self.missing), "incomplete piece is", "incomplete pieces are")
            warn_once(f"{self.folder}: {left_out} left out ({some_of(self.missing)})")


def find_layout(folder: Path, voices: VoicesConfig = VoicesConfig()) -> Layout:
    """Recognises the layout of a dataset's folder, or of that of one song or collection in it.

    Pieces of other voices than the usual ones are folders of files that are called as these are.

    Raises:
        DatasetError: there is no such folder, or nothing in it is known.
    """
    found = recordings_below(folder)
    files, twins = without_twins(found.files)
    songs = _songs(folder, files)
    if voices.names != VOICES:
        layout, others = _by_own_names(folder, files, voices.names)
    elif songs:
        layout = _stem_folders(folder, songs)
        others = [file for file in files if not any(song in file.parents for song in songs)]
    else:
        layout, others = _by_names(folder, files)
    if not (layout.pieces or layout.missing):
        raise DatasetError(
            f"{folder} holds no layout that is known",
            f"expected <song>/{STEM_FOLDER}/*.wav, <piece>/{voices.names[0]}.*, or audio files",
        )
    notes = [*found.notes, *twins, *layout.notes]
    if others:
        which = counted(len(others), "recording")
        notes.append(f"{which} beside the stems not used: {_names(folder, others)}")
    return _without_repeats(layout._replace(notes=tuple(notes)))


def fits(piece: Piece, *patterns: str) -> bool:
    """Whether the name of a piece fits one of the shell patterns."""
    return any(fnmatchcase(piece.name, pattern) for pattern in patterns)


def choose_pieces(
    pieces: Iterable[Piece], wanted: Sequence[str], excluded: Sequence[str]
) -> list[Piece]:
    """Pieces whose name fits one of the shell patterns (``BC/1_BC001*``) and none of the excluded.

    Raises:
        DatasetError: a pattern fits nothing, so that a slip of the pen is not an empty set.
    """
    pieces = list(pieces)
    for pattern in (*wanted, *excluded) if pieces else ():
        if not any(fits(piece, pattern) for piece in pieces):
            raise DatasetError(
                f"no piece is called {pattern!r}",
                f"there are {', '.join(piece.name for piece in pieces[:8])}"
                + (" and others" if len(pieces) > 8 else ""),
            )

    return [piece for piece in pieces if fits(piece, *wanted) and not fits(piece, *excluded)]


def choose_singers(piece: Piece, singers: Sequence[int], voices: Sequence[str] = VOICES) -> Piece:
    """The piece with some singers of every voice only: numbers from 1, none for all.

    Those that a voice does not have are passed over, so that pieces of one singer a voice can
    stand beside others.

    Raises:
        DatasetError: a voice has none of them.
    """
    if not singers or not piece.voices:
        return piece
    chosen = tuple(
        tuple(file for number, file in enumerate(files, start=1) if number in singers)
        for files in piece.voices
    )
    for voice, before, after in zip(voices, piece.voices, chosen, strict=True):
        if not after:
            raise DatasetError(
                f"{piece.name} has {counted(len(before), 'recording')} of the {voice}, not "
                f"singer {' or '.join(map(str, singers))}",
                "choose singers that are there",
            )
    return piece._replace(voices=chosen)


def _songs(folder: Path, files: Iterable[Path]) -> dict[Path, list[Path]]:
    """Recordings in folders of the reference's name, by the song or collection above."""
    near = (folder.parent,) if folder.name == STEM_FOLDER else (folder, *_folders(folder))
    songs: dict[Path, list[Path]] = {one: [] for one in near if (one / STEM_FOLDER).is_dir()}
    for file in files:
        if file.parent.name == STEM_FOLDER:
            songs.setdefault(file.parent.parent, []).append(file)
    return songs


def _stem_folders(folder: Path, songs: dict[Path, list[Path]]) -> Layout:
    """Songs or collections of the reference's three datasets, or others in folders of that name."""
    found: list[tuple[str, Piece]] = []
    for song, recordings in songs.items():
        inside = folder in song.parents
        name = readable(song.relative_to(folder).as_posix() if inside else song.resolve().name)
        parts = _by_part(recordings)
        if not parts:
            sections = tuple(
                tuple(file for file in recordings if section in file.stem.lower())
                for section in _SECTIONS
            )
            other = [] if all(sections) else _by_names(song / STEM_FOLDER, recordings)[0].pieces
            whole = [piece for piece in other if piece.voices]
            found += [("stems", one._replace(name=f"{name}/{one.name}")) for one in whole]
            if not whole:
                found.append(("csd", Piece(name, sections)))
        for part, voices in parts.items():
            if len(parts) == 1:
                found.append(("cantoria", Piece(name, voices)))
            else:
                found.append(("bcbsq", Piece(f"{name}/{readable(part)}", voices)))
    kinds = sorted({kind for kind, _ in found})
    return _layout("+".join(kinds), folder, (piece for _, piece in found))


def _by_part(recordings: list[Path]) -> dict[str, tuple[tuple[Path, ...], ...]]:
    """Voices of every part whose files end in a voice's letter."""
    parts: dict[str, list[list[Path]]] = {}
    for file in recordings:
        match = _VOICE_LETTER.match(file.stem)
        if match:
            voices = parts.setdefault(match["part"], [[] for _ in VOICES])
            voices["satb".index(match["voice"].lower())].append(file)
    return {part: tuple(map(tuple, voices)) for part, voices in parts.items()}


def _by_names(folder: Path, files: Sequence[Path]) -> tuple[Layout, list[Path]]:
    """Pieces whose voices are in the names of files or folders, or else mixtures.

    Second, recordings beside the stems.
    """
    groups = group_voices(folder, files)
    if groups:
        used = {file for group in groups for file in group.files}
        others = [file for file in files if file not in used]
        pieces = [Piece(_piece_name(folder, group), group.voices) for group in groups]
        is_plain = all(
            len(group.place) <= 1
            and file.stem.lower() == voice
            and len(file.relative_to(folder).parts) == len(group.place) + 1
            for group in groups
            for voice, singers in zip(VOICES, group.voices, strict=True)
            for file in singers
        )
        if is_plain:
            return _layout("choralsynth", folder, pieces), others
        return _layout("stems", folder, pieces, _guesses(folder, groups, pieces)), others
    like = [file for file in files if any(not one.is_letter for one in voice_names(file.stem))]
    notes: tuple[str, ...] = ()
    if like:
        what = counted(len(like), "recording is", "recordings are")
        notes = (
            f"{what} named like a voice without the others and taken as a mixture: "
            f"{_names(folder, like)}",
        )
    return _mixtures(folder, files, notes), []


def _by_own_names(
    folder: Path, files: Sequence[Path], voices: Sequence[str]
) -> tuple[Layout, list[Path]]:
    """Pieces in folders of files that are called as the voices, or else mixtures."""
    number_of = {voice.casefold(): number for number, voice in enumerate(voices)}
    pieces: dict[Path, list[list[Path]]] = {}
    others = []
    for file in files:
        number = number_of.get(readable(file.stem).casefold())
        if number is None:
            others.append(file)
        else:
            pieces.setdefault(file.parent, [[] for _ in voices])[number].append(file)
    if not pieces:
        return _mixtures(folder, files), []
    found = [
        Piece(
            readable(place.relative_to(folder).as_posix())
            if place != folder
            else readable(folder.resolve().name),
            tuple(map(tuple, singers)),
        )
        for place, singers in pieces.items()
    ]
    return _layout("stems", folder, found, voices=voices), others


def _mixtures(folder: Path, files: Sequence[Path], notes: tuple[str, ...] = ()) -> Layout:
    names = [readable(file.relative_to(folder).with_suffix("").as_posix()) for file in files]
    pieces = [Piece(name, (), file) for name, file in zip(names, files, strict=True)]
    return Layout("mixtures", folder, tuple(pieces), (), notes)


def _piece_name(folder: Path, group: Group) -> str:
    return "/".join((*group.place, *filter(None, [group.title]))) or readable(folder.resolve().name)


def _guesses(folder: Path, groups: Sequence[Group], pieces: Sequence[Piece]) -> list[str]:
    """One line for each kind of guess."""
    whole = [
        (group, piece) for group, piece in zip(groups, pieces, strict=True) if all(piece.voices)
    ]
    if not whole:
        return []
    file = whole[0][0].voices[1][0].relative_to(folder)
    notes = [f"voices are told from names: {readable(str(file))} as the alto of {whole[0][1].name}"]
    several = [piece.name for _, piece in whole if max(map(len, piece.voices)) > 1]
    if several:
        what = "several recordings of a voice are taken as singers of one part"
        notes.append(f"{what}: {some_of(several)}")
    performances = defaultdict(list)
    for group, piece in whole:
        if group.performance_of is not None:
            performances[group.performance_of].append(piece.name)
    numbered = [name for names in performances.values() if len(names) > 1 for name in names]
    if numbered:
        what = "recordings of one number are taken as a performance of their own"
        notes.append(f"{what}: {some_of(numbered)}")
    return notes


def _layout(
    kind: str,
    folder: Path,
    pieces: Iterable[Piece],
    notes: Sequence[str] = (),
    voices: Sequence[str] = VOICES,
) -> Layout:
    complete, missing = [], []
    for piece in sorted(pieces):
        absent = [v for v, files in zip(voices, piece.voices, strict=True) if not files]
        if absent:
            missing.append(f"{piece.name} has no {' and no '.join(absent)}")
        else:
            complete.append(piece)
    return Layout(kind, folder, tuple(complete), tuple(missing), tuple(notes))


def _without_repeats(layout: Layout) -> Layout:
    """Pieces of the same files under other names (links) count once."""
    seen: dict[tuple[object, ...], Piece] = {}
    again = []
    for piece in layout.pieces:
        first = seen.setdefault(tuple(map(file_identity, piece.files)), piece)
        if first is not piece:
            again.append(f"{piece.name} ({first.name})")
    if not again:
        return layout
    note = f"{counted(len(again), 'piece')} linked to the files of another left out: "
    return layout._replace(
        pieces=tuple(seen.values()), notes=(*layout.notes, note + some_of(again))
    )


def _names(folder: Path, files: Sequence[Path]) -> str:
    return some_of([readable(str(file.relative_to(folder))) for file in files])


def _folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir() and not is_foreign(one.name))
