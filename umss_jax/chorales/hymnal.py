"""Four-part scores from a folder of ABC files, such as the Open Hymnal's.

music21 reads a tune of one voice; here the voices of a file, which ABC writes line by line, are
told apart first. Only files whose own header says ``copyright: public domain`` are taken.
"""

from __future__ import annotations

import re
from pathlib import Path

from umss_jax.chorales.scores import Note, Score, four_parts, music21_voice, need_music21
from umss_jax.config import VOICES
from umss_jax.errors import DatasetError

_FIELD = re.compile(r"^([A-Za-z]):\s*(.*)$")
_INLINE = re.compile(r"^\[V:\s*(\S+?)\s*\]\s*(.*)$")
_TEMPO = re.compile(r"\[?Q:\s*(\d+)/(\d+)\s*=\s*(\d+)\]?")
_LARGEST_GAP_BEATS = 0.01


def abc_scores(folder: Path) -> list[Score]:
    """The public-domain pieces in four voices of a folder's ``.abc`` files, by file name.

    Files in which voices are missing, differ in length or cross on the whole are left out.

    Raises:
        UsageError: music21 is not installed.
        DatasetError: the folder holds no such piece.
    """
    need_music21()
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

    header, voices = _split(text)
    if "public domain" not in header.get("copyright", "").lower() or len(voices) != len(VOICES):
        return None
    parts: list[tuple[Note, ...]] = []
    top = "\n".join(f"{key}: {header[key]}" for key in ("X", "T", "M", "L") if key in header)
    for body in voices.values():
        source = f"{top}\nK: {header.get('K', 'C')}\n{body}\n"
        try:
            parts.append(music21_voice(converter.parse(source, format="abc")))
        except (Music21Exception, ValueError, KeyError, IndexError, AttributeError, TypeError):
            return None  # what music21 cannot read
    ends = [notes[-1].end if notes else 0.0 for notes in parts]
    if max(ends) - min(ends) > _LARGEST_GAP_BEATS * max(ends):
        return None
    tempo = _TEMPO.search(text)
    per_minute = 80.0
    if tempo:
        unit, of, count = (float(group) for group in tempo.groups())
        per_minute = min(max(4 * unit / of * count, 40.0), 160.0)
    return four_parts(title, "Open Hymnal Project, public domain", per_minute, parts)


def _split(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Fields of the header, and the music of every voice, of the first tune of a file."""
    header: dict[str, str] = {}
    voices: dict[str, str] = {}
    current, is_header = "", True
    for raw in text.splitlines():
        line = raw.split("%")[0].strip()
        field, inline = _FIELD.match(line), _INLINE.match(line)
        if field and field[1] == "X" and "X" in header:
            break
        if is_header and field:
            key, value = field.groups()
            if key == "C" and value.lower().startswith("copyright"):
                header["copyright"] = value
            elif key == "V":
                voices.setdefault(value.split()[0], "")
            else:
                header.setdefault(key, value)
            is_header = key != "K"
        elif inline:
            current = inline[1]
            voices[current] = f"{voices.get(current, '')}{_plain(inline[2])}\n"
        elif field and field[1] == "V":
            current = field[2].split()[0]
        elif line and not field and current and not is_header:
            voices[current] = f"{voices.get(current, '')}{_plain(line)}\n"
    return header, {name: body for name, body in voices.items() if body.strip()}


def _plain(music: str) -> str:
    """Without decorations, annotations and tempo marks."""
    music = re.sub(r"![^!]*!|\+[^+]*\+|\"[^\"]*\"", "", music)
    return re.sub(r"\[[QIr]:[^\]]*\]", "", music).replace("\\", "")
