"""A score file to its notes."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

from umss_jax.errors import ScoreError, UsageError
from umss_jax.files import open_regular
from umss_jax.scores.midi_notes import midi_score
from umss_jax.scores.music21_notes import music21_scores_of, need_music21
from umss_jax.scores.notes import Score

MIDI_SUFFIXES = (".mid", ".midi", ".smf", ".kar")
MUSIC21_SUFFIXES = (".musicxml", ".xml", ".mxl", ".krn", ".abc")
SUFFIXES = (*MIDI_SUFFIXES, *MUSIC21_SUFFIXES)
"""Of all files that :func:`read_score` reads."""
_MOST_BYTES, _MOST_MIDI_BYTES = 2**25, 2**22
_MOST_UNPACKED_BYTES = 2**28
_MOST_NOTES = 100_000
_LONGEST_S = 6 * 3600.0
_INSTALL = "pip install 'umss-jax[scores]'"


def read_score(path: str | os.PathLike[str]) -> tuple[Score, ...]:
    """The notes of a score, in as many forms as its repeats may have been played.

    MIDI files (``.mid``, ``.midi``, …) are read by `mido`, as they are played; MusicXML
    (``.musicxml``, ``.xml``, ``.mxl``), Humdrum (``.krn``) and ABC (``.abc``) files by `music21`.
    Drums, grace notes and chord symbols are left out, and tied notes are one.

    Raises:
        ScoreError: the file is none of these, is damaged, or holds no notes.
        UsageError: the package that reads it is not installed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise ScoreError(f"{path} is no score that can be read", f"give one of {known}")
    try:
        is_midi = suffix in MIDI_SUFFIXES
        with open_regular(path, _MOST_MIDI_BYTES if is_midi else _MOST_BYTES) as file:
            content = file.read()
    except OSError as error:
        raise ScoreError(
            f"score {path} cannot be read ({error.strerror or error})", "check its name"
        ) from error
    except ValueError as error:
        raise ScoreError(f"score {path} cannot be read ({error})", "give a score") from error
    try:
        if is_midi:
            need_mido()
            scores: tuple[Score, ...] = (midi_score(content),)
        else:
            need_music21(f"score {path} needs", _INSTALL)
            _refuse_large(content)
            scores = music21_scores_of(path)
    except ValueError as error:
        raise ScoreError(f"score {path} cannot be read ({error})", "export it again") from error
    kept = [score._replace(parts=tuple(p for p in score.parts if len(p.pitch))) for score in scores]
    if not kept[0].parts:
        raise ScoreError(
            f"score {path} holds no notes but drums, if any", "give a score that is sung"
        )
    for part in (part for score in kept for part in score.parts):
        if len(part.pitch) > _MOST_NOTES or part.offset_s.max() > _LONGEST_S:
            raise ScoreError(
                f"score {path} is too long",
                f"give one of at most {_LONGEST_S / 3600:.0f} hours and {_MOST_NOTES} notes a part",
            )
    return tuple(kept)


def _refuse_large(content: bytes) -> None:
    """Refuses with ValueError an archive (.mxl) that would unpack to more than any score has."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(one.file_size for one in archive.infolist()) > _MOST_UNPACKED_BYTES:
                raise ValueError("it unpacks to more than any score has")


def need_mido() -> None:
    """Refuses where mido is not installed.

    Raises:
        UsageError: it is not.
    """
    try:
        import mido  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "MIDI scores need the package mido, which is not installed", _INSTALL
        ) from error
