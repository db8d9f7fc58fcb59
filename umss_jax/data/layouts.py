"""Which dataset a folder holds: its pieces, the files of each voice, and what is missing.

Told from folder and file names alone; no audio is opened here. Known layouts:

- ``csd``: ``<Song>/audio_16kHz/*.wav``, one file per singer, section in the name (Soprano,
  ContraAlt, tenor, Bajos), singers in alphabetical order (Choral Singing Dataset).
- ``cantoria``: ``<Song>/audio_16kHz/*_{s,a,t,b}.wav``, one singer per voice.
- ``bcbsq``: ``<BC|BQ>/audio_16kHz/<part>_{s,a,t,b}_1ch.wav`` (Bach Chorales, Barbershop Quartet).
- ``choralsynth``: ``<piece>/{soprano,alto,tenor,bass}.*``.
- ``mixtures``: audio files without stems, at any depth: enough for training without labels.

The first three are the reference's (``data.py`` of PierreChouteau/umss_icassp).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from umss_jax.config import VOICES
from umss_jax.errors import DatasetError

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff"})

STEM_FOLDER = "audio_16kHz"
_SECTIONS = ("soprano", "contraalt", "tenor", "bajos")
_VOICE_LETTER = re.compile(r"^(?P<part>.+)_(?P<voice>[satb])(?:_1ch)?$", re.IGNORECASE)


class Piece(NamedTuple):
    """One piece of music and the recordings of it."""

    name: str
    """Unique in its layout; of parts in a collection, ``BC/1_BC001_part1``."""
    voices: tuple[tuple[Path, ...], ...]
    """Files of the singers of each voice, soprano to bass; empty for a mixture."""
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


def find_layout(folder: Path) -> Layout:
    """Recognises the layout of a dataset's folder, or of that of one song or collection in it.

    Raises:
        DatasetError: there is no such folder, or nothing in it is known.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder", "point at the folder of a dataset")
    songs = [folder] if (folder / STEM_FOLDER).is_dir() else _folders(folder)
    songs = [song for song in songs if (song / STEM_FOLDER).is_dir()]
    if songs:
        return _stem_folders(folder, songs)
    voice_files = {one: _voice_files(one) for one in (folder, *_folders(folder))}
    stems = [
        Piece(one.name, tuple((found[voice],) if voice in found else () for voice in VOICES))
        for one, found in voice_files.items()
        if found
    ]
    if stems:
        return _layout("choralsynth", folder, stems)
    recordings = sorted(file for file in folder.rglob("*") if is_audio(file))
    if recordings:
        names = [file.relative_to(folder).with_suffix("").as_posix() for file in recordings]
        pieces = [Piece(name, (), file) for name, file in zip(names, recordings, strict=True)]
        return Layout("mixtures", folder, tuple(pieces), ())
    raise DatasetError(
        f"{folder} holds no layout that is known",
        f"expected <song>/{STEM_FOLDER}/*.wav, <piece>/soprano.*, or audio files",
    )


def is_audio(path: Path) -> bool:
    """Whether a path is a file that may be audio, by its name."""
    hidden = path.name.startswith(".")
    return path.suffix.lower() in AUDIO_SUFFIXES and path.is_file() and not hidden


def choose_pieces(
    pieces: Iterable[Piece], wanted: Sequence[str], excluded: Sequence[str]
) -> list[Piece]:
    """Pieces whose name fits one of the shell patterns (``BC/1_BC001*``) and none of the excluded.

    Raises:
        DatasetError: a pattern fits nothing, so that a slip of the pen is not an empty set.
    """

    def fits(piece: Piece, *patterns: str) -> bool:
        return any(fnmatchcase(piece.name, pattern) for pattern in patterns)

    pieces = list(pieces)
    for pattern in (*wanted, *excluded) if pieces else ():
        if not any(fits(piece, pattern) for piece in pieces):
            raise DatasetError(
                f"no piece is called {pattern!r}",
                f"there are {', '.join(piece.name for piece in pieces[:8])}"
                + (" and others" if len(pieces) > 8 else ""),
            )

    return [piece for piece in pieces if fits(piece, *wanted) and not fits(piece, *excluded)]


def choose_singers(piece: Piece, singers: Sequence[int]) -> Piece:
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
    for voice, before, after in zip(VOICES, piece.voices, chosen, strict=True):
        if not after:
            raise DatasetError(
                f"{piece.name} has {len(before)} recordings of the {voice}, not "
                f"singer {' or '.join(map(str, singers))}",
                "choose singers that are there",
            )
    return piece._replace(voices=chosen)


def _stem_folders(folder: Path, songs: list[Path]) -> Layout:
    """Songs or collections of the reference's three datasets."""
    found: list[tuple[str, Piece]] = []
    for song in songs:
        recordings = sorted(file for file in (song / STEM_FOLDER).iterdir() if is_audio(file))
        parts = _by_part(recordings)
        if not parts:
            files = (
                tuple(file for file in recordings if section in file.stem.lower())
                for section in _SECTIONS
            )
            found.append(("csd", Piece(song.name, tuple(files))))
        for part, voices in parts.items():
            if len(parts) == 1:
                found.append(("cantoria", Piece(song.name, voices)))
            else:
                found.append(("bcbsq", Piece(f"{song.name}/{part}", voices)))
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


def _voice_files(folder: Path) -> dict[str, Path]:
    return {
        file.stem.lower(): file
        for file in sorted(folder.iterdir())
        if file.stem.lower() in VOICES and is_audio(file)
    }


def _layout(kind: str, folder: Path, pieces: Iterable[Piece]) -> Layout:
    complete, missing = [], []
    for piece in sorted(pieces):
        absent = [v for v, files in zip(VOICES, piece.voices, strict=True) if not files]
        if absent:
            missing.append(f"{piece.name} has no {' and no '.join(absent)}")
        else:
            complete.append(piece)
    return Layout(kind, folder, tuple(complete), tuple(missing))


def _folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
