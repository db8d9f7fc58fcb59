"""A score file to its notes."""

from __future__ import annotations

import os
from pathlib import Path

from umss_jax.errors import ScoreError, UsageError
from umss_jax.files import open_regular
from umss_jax.scores.midi_notes import midi_score
from umss_jax.scores.music21_notes import music21_scores_of, need_music21
from umss_jax.scores.notes import Score

MIDI_SUFFIXES = (".mid", ".midi", ".smf", ".kar")
MUSIC21_SUFFIXES = (".musicxml", ".xml", ".mxl", ".krn", ".abc")
_MOST_BYTES = 2**25
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
    if suffix not in (*MIDI_SUFFIXES, *MUSIC21_SUFFIXES):
        known = ", ".join((*MIDI_SUFFIXES, *MUSIC21_SUFFIXES))
        raise ScoreError(f"{path} is no score that can be read", f"give one of {known}")
    try:
        with open_regular(path, _MOST_BYTES) as file:
            content = file.read()
    except OSError as error:
        raise ScoreError(
            f"score {path} cannot be read ({error.strerror or error})", "check its name"
        ) from error
    except ValueError as error:
        raise ScoreError(f"score {path} cannot be read ({error})", "give a score") from error
    try:
        if suffix in MIDI_SUFFIXES:
            need_mido()
            scores: tuple[Score, ...] = (midi_score(content),)
        else:
            need_music21(f"score {path} needs", _INSTALL)
            scores = music21_scores_of(path)
    except ValueError as error:
        raise ScoreError(f"score {path} cannot be read ({error})", "export it again") from error
    kept = [score._replace(parts=tuple(p for p in score.parts if len(p.pitch))) for score in scores]
    if not kept[0].parts:
        raise ScoreError(
            f"score {path} holds no notes but drums, if any", "give a score that is sung"
        )
    return tuple(kept)


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
