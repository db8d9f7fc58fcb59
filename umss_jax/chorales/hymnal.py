"""Four-part scores from a folder of ABC files, such as the Open Hymnal's.

music21 reads a tune of one voice; here the voices of a file, which ABC writes line by line, are
told apart first. Only files whose own header says ``copyright: public domain`` are taken.
"""

from __future__ import annotations

from pathlib import Path

from umss_jax.chorales.scores import INSTALL, Note, Score, four_parts, music21_voice
from umss_jax.config import VOICES
from umss_jax.errors import DatasetError
from umss_jax.scores.abc_voices import TEMPO, split_voices, voice_source
from umss_jax.scores.music21_notes import need_music21

_LARGEST_GAP_BEATS = 0.01


def abc_scores(folder: Path) -> list[Score]:
    """The public-domain pieces in four voices of a folder's ``.abc`` files, by file name.

    Files in which voices are missing, differ in length or cross on the whole are left out.

    Raises:
        UsageError: music21 is not installed.
        DatasetError: the folder holds no such piece.
    """
    need_music21("these scores need", INSTALL)
    scores = []
    for path in sorted(folder.glob("*.abc")):
        score = _score(path.stem, path.read_text(encoding="latin-1"))
        if score is not None:
            scores.append(score)
    if not scores:
        raise DatasetError(
            f"{folder} holds no ABC file in four voices that is in the public domain",
            "give the folder of the files",
        )
    return scores


def _score(title: str, text: str) -> Score | None:
    """The first tune of a file; None where it cannot be taken."""
    from music21 import converter
    from music21.exceptions21 import Music21Exception

    header, voices = split_voices(text)
    if "public domain" not in header.get("copyright", "").lower() or len(voices) != len(VOICES):
        return None
    parts: list[tuple[Note, ...]] = []
    for body in voices.values():
        source = voice_source(header, body)
        try:
            parts.append(music21_voice(converter.parse(source, format="abc")))
        except (Music21Exception, ValueError, KeyError, IndexError, AttributeError, TypeError):
            return None  # what music21 cannot read
    ends = [notes[-1].end if notes else 0.0 for notes in parts]
    if max(ends) - min(ends) > _LARGEST_GAP_BEATS * max(ends):
        return None
    tempo = TEMPO.search(text)
    per_minute = 80.0
    if tempo:
        unit, of, count = (float(group) for group in tempo.groups())
        per_minute = min(max(4 * unit / of * count, 40.0), 160.0)
    return four_parts(title, "Open Hymnal Project, public domain", per_minute, parts)
