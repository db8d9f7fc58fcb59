"""Four-part scores: the settings that come with the package, and music21's corpus.

The embedded file ``chorales.txt`` says of each of its settings where it comes from. Its format: a
line ``title:`` begins a piece, ``origin:`` and ``tempo:`` (quarter notes a minute) follow, then any
number of lines for each voice, which are joined. Notes are ``name octave`` with the length in
quarter notes after a colon (``f#4:1.5``), which holds until another is given; ``r`` is a rest, a
comma after a note a breath, bar lines count for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any, NamedTuple

from umss_jax.config import VOICES
from umss_jax.errors import DatasetError
from umss_jax.scores.music21_notes import need_music21, sung

_TOKEN = re.compile(r"^(?:(?P<rest>r)|(?P<name>[a-g])(?P<sign>[#b]?)(?P<octave>\d))"
                    r"(?::(?P<beats>\d*\.?\d+))?(?P<breath>,?)$")  # fmt: skip
_SEMITONES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}


INSTALL = "pip install 'umss-jax[chorales]', or take --scores embedded"


class Note(NamedTuple):
    """One note of one voice."""

    start: float
    """In quarter notes from the beginning."""
    beats: float
    midi: int
    breath: bool
    """Whether the singers breathe after it."""

    @property
    def end(self) -> float:
        """In quarter notes."""
        return self.start + self.beats


class Score(NamedTuple):
    """A piece in parts, four as they are read."""

    title: str
    origin: str
    beats_per_minute: float
    voices: tuple[tuple[Note, ...], ...]
    """The highest first: soprano to bass as they are read."""

    @property
    def beats(self) -> float:
        """Length in quarter notes."""
        return max(notes[-1].end for notes in self.voices)


def embedded_scores() -> list[Score]:
    """The settings in the package, in the order of the file."""
    file = resources.files("umss_jax.chorales") / "chorales.txt"
    return parse_scores(file.read_text(encoding="utf-8"))


def parse_scores(text: str) -> list[Score]:
    """Scores from the text format of this module.

    Raises:
        DatasetError: a note is none, a voice is missing, or voices differ in length.
    """
    pieces: list[dict[str, str]] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        key, colon, value = line.partition(":")
        if key == "title":
            pieces.append({})
        if not colon or not pieces or key not in ("title", "origin", "tempo", *VOICES):
            raise DatasetError(f"line {number} of the scores is {line!r}", "see chorale_scores")
        pieces[-1][key] = f"{pieces[-1].get(key, '')} {value}".strip()
    return [_score(piece) for piece in pieces]


def _score(piece: dict[str, str]) -> Score:
    title = piece["title"]
    absent = [voice for voice in VOICES if voice not in piece]
    if absent:
        raise DatasetError(f"{title} has no {' and no '.join(absent)}", "write four voices")
    parsed = [_voice(title, piece[voice]) for voice in VOICES]
    lengths = {voice: beats for voice, (_, beats) in zip(VOICES, parsed, strict=True)}
    if len(set(lengths.values())) > 1:
        raise DatasetError(f"the voices of {title} differ in length ({lengths})", "mend it")
    voices = tuple(notes for notes, _ in parsed)
    return Score(title, piece.get("origin", ""), float(piece.get("tempo", "72")), voices)


def _voice(title: str, text: str) -> tuple[tuple[Note, ...], float]:
    """Notes and length of one voice."""
    notes: list[Note] = []
    time, beats = 0.0, 1.0
    for token in text.split():
        if token == "|":
            continue
        match = _TOKEN.match(token)
        if match is None:
            raise DatasetError(f"{title} has a note {token!r}", "write as in f#4:1.5")
        beats = float(match["beats"]) if match["beats"] else beats
        if match["name"]:
            sign = {"": 0, "#": 1, "b": -1}[match["sign"]]
            midi = 12 * (int(match["octave"]) + 1) + _SEMITONES[match["name"]] + sign
            notes.append(Note(time, beats, midi, bool(match["breath"])))
        time += beats
    return tuple(notes), time


def music21_scores(composers: Sequence[str] = ("bach",)) -> Iterator[Score]:
    """The four-part pieces of some composers in music21's corpus, by file name: Bach's chorales.

    Taken are the pieces with parts named after the four voices, or of just four parts, in which
    every voice sings; a voice's highest note counts where it divides. A fermata is a breath. They
    are read anew each time, about an eighth of a second a piece.

    Raises:
        UsageError: music21 is not installed.
    """
    need_music21("these scores need", INSTALL)
    from music21 import corpus
    from music21.exceptions21 import Music21Exception

    for composer in composers:
        for path in sorted(corpus.getComposer(composer), key=lambda one: one.name):
            try:
                stream = corpus.parse(path)
            except (Music21Exception, ValueError, KeyError, IndexError, AttributeError, TypeError):
                continue  # what music21 cannot read
            for title, work in _works(path.stem, stream):
                score = _from_music21(title, work, f"music21 corpus, {composer}")
                if score is not None:
                    yield score


def _works(title: str, stream: Any) -> list[tuple[str, Any]]:
    """What a file holds: one work, or several, which are numbered."""
    works = getattr(stream, "scores", None)  # of an Opus
    if works is None:
        return [(title, stream)]
    return [(f"{title}_{number}", work) for number, work in enumerate(works, start=1)]


def bach_chorales() -> list[Score]:
    """Those of Bach, by file name; see :func:`music21_scores`."""
    return list(music21_scores())


def _from_music21(title: str, stream: Any, origin: str) -> Score | None:
    """A score, or None where it is not in four parts."""
    parts = list(stream.parts)
    by_name = {str(part.partName).lower(): part for part in parts}
    if all(voice in by_name for voice in VOICES):
        parts = [by_name[voice] for voice in VOICES]
    if len(parts) != len(VOICES):
        return None
    voices = [music21_voice(part) for part in parts]
    return four_parts(title, origin, 72.0, voices)


def four_parts(
    title: str, origin: str, beats_per_minute: float, voices: Sequence[tuple[Note, ...]]
) -> Score | None:
    """A score; None where a voice hardly sings, or lies above the one before it on the whole."""
    if any(len(notes) < 8 for notes in voices):
        return None
    means = [sum(n.midi * n.beats for n in v) / sum(n.beats for n in v) for v in voices]
    if means != sorted(means, reverse=True):
        return None
    return Score(title, origin, beats_per_minute, tuple(voices))


def music21_voice(part: Any) -> tuple[Note, ...]:
    """The notes of a part: the highest where it divides, tied ones joined."""
    notes: list[Note] = []
    for start, beats, pitches, fermata, element in sung(part):
        midi = max(pitch for pitch, _ in pitches)
        tied = element.tie is not None and element.tie.type in ("stop", "continue")
        if notes and tied and notes[-1].midi == midi and abs(notes[-1].end - start) < 1e-6:
            notes[-1] = notes[-1]._replace(
                beats=notes[-1].beats + beats, breath=notes[-1].breath or fermata
            )
        elif not notes or start >= notes[-1].end - 1e-6:
            notes.append(Note(start, beats, midi, fermata))
    return tuple(notes)
