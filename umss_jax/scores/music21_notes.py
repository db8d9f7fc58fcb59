"""Notes of what `music21` reads: MusicXML, Humdrum and ABC files, and its corpus."""

from __future__ import annotations

import bisect
import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from umss_jax.errors import UsageError
from umss_jax.scores.abc_voices import split_voices, voice_source
from umss_jax.scores.notes import SECONDS_PER_BEAT, Part, Score, part_of

_SAME_BEATS = 1e-6


class Sung(NamedTuple):
    """A note or chord of a part."""

    start_beats: float
    beats: float
    pitches: tuple[tuple[int, bool], ...]
    """Of MIDI, each with whether it is tied to a note before."""
    has_fermata: bool
    element: Any


def need_music21(what: str, remedy: str) -> None:
    """Refuses where music21 is not installed.

    Raises:
        UsageError: it is not.
    """
    try:
        import music21  # noqa: F401
    except ImportError as error:
        raise UsageError(f"{what} the package music21, which is not installed", remedy) from error


def sung(part: Any) -> Iterator[Sung]:
    """The notes and chords of a part in order, without chord symbols and grace notes."""
    for element in part.flatten().notes:
        start, beats = float(element.offset), float(element.quarterLength)
        if beats <= 0 or "Harmony" in element.classes:
            continue
        single = getattr(element, "notes", (element,))
        pitches = tuple(
            (int(note.pitch.midi), note.tie is not None and note.tie.type in ("stop", "continue"))
            for note in single
            if hasattr(note, "pitch")
        )
        fermata = any(type(e).__name__ == "Fermata" for e in element.expressions)
        if pitches:
            yield Sung(start, beats, pitches, fermata, element)


def music21_scores_of(path: Path) -> tuple[Score, ...]:
    """A score as it is written, and with its repeats as music21 plays them where that differs.

    Raises:
        ValueError: music21 cannot read it.
    """
    with _quiet():
        try:
            stream = _parsed(path)
            written = _score(stream, "written")
        except Exception as error:  # of any of music21's readers
            raise ValueError("music21 cannot read it") from error
        try:
            played = _score(stream.expandRepeats(), "expanded")
        except Exception:  # repeats that do not close: the recording tells what was played
            return (written,)
    if [len(part.pitch) for part in played.parts] == [len(part.pitch) for part in written.parts]:
        return (written,)
    return played, written


def _parsed(path: Path) -> Any:
    from music21 import converter, stream

    if path.suffix.lower() == ".abc":
        text = path.read_text(encoding="utf-8", errors="replace")
        header, voices = split_voices(text)
        if not voices or "K" not in header:
            return _first(converter.parseData(text, format="abc"))
        score = stream.Score()
        for name, body in voices.items():
            tune: Any = converter.parseData(voice_source(header, body), format="abc")
            part = next(iter(tune.parts))
            part.partName = name
            score.insert(0, part)
        return score
    parsed = _first(converter.parseFile(path, forceSource=True, storePickle=False))
    with contextlib.suppress(Exception):  # of choirs hardly any part transposes
        parsed = parsed.toSoundingPitch()
    return parsed


def _first(parsed: Any) -> Any:
    """The first piece of a collection."""
    return parsed.scores[0] if type(parsed).__name__ == "Opus" else parsed


def _score(stream: Any, form: str) -> Score:
    seconds = _Clock(stream)
    parts = list(stream.parts) or [stream]
    return Score(tuple(_part(part, seconds) for part in parts), form)


class _Clock:
    """Beats to seconds by the metronome marks of a score."""

    def __init__(self, stream: Any) -> None:
        self._starts = [(0.0, 0.0, 0.5)]
        marks = [(0.0, 0.0, None)]
        with contextlib.suppress(Exception):
            marks = stream.metronomeMarkBoundaries()
        for start, _, mark in marks:
            per_minute = mark.getQuarterBPM() if mark is not None else None
            before, time_s, each_s = self._starts[-1]
            now = 60 / per_minute if per_minute else each_s
            now = min(max(now, SECONDS_PER_BEAT[0]), SECONDS_PER_BEAT[1])
            self._starts.append((float(start), time_s + (float(start) - before) * each_s, now))
        self._beats = [start[0] for start in self._starts]

    def seconds(self, beats: float) -> float:
        at = max(0, bisect.bisect_right(self._beats, beats) - 1)
        start, time_s, each_s = self._starts[at]
        return time_s + (beats - start) * each_s


def _part(part: Any, clock: _Clock) -> Part:
    """The notes of a part, tied ones joined."""
    rows: list[list[float]] = []
    open_rows: dict[int, list[float]] = {}
    for one in sung(part):
        end = one.start_beats + one.beats
        for midi, is_tied in one.pitches:
            before = open_rows.get(midi)
            if is_tied and before is not None and abs(before[1] - one.start_beats) < _SAME_BEATS:
                before[1], before[3] = end, clock.seconds(end)
                continue
            beat = 0.0
            with contextlib.suppress(Exception):  # outside bars there is none
                beat = float(one.element.beat)
            measure = one.element.measureNumber or 0
            times = (clock.seconds(one.start_beats), clock.seconds(end))
            open_rows[midi] = [one.start_beats, end, *times, midi, measure, beat]
            rows.append(open_rows[midi])
    return part_of(_name(part), rows)


def _name(part: Any) -> str:
    """As the file has it; music21 takes the names of Humdrum's spines for other marks."""
    if name := getattr(part, "partName", None):
        return str(name)
    marks = (str(getattr(one, "tandem", "")) for one in part.recurse())
    return next((mark.split('"', 1)[1] for mark in marks if '"' in mark), "")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what music21 says of slips that it can do without."""
    aside = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(aside),
        contextlib.redirect_stdout(aside),
    ):
        warnings.simplefilter("ignore")
        yield
