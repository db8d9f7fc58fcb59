"""One job: stems, practice files, notes and pages from a recording, by the package's functions."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from umss_jax.app.jobs import Outcome, Page
from umss_jax.app.stages import LOADING, PAGES, READING, Told, stage_name
from umss_jax.audio.recording import Recording, scan
from umss_jax.errors import AudioError, UmssError
from umss_jax.files import make_whole
from umss_jax.pitch.tables import read_voices
from umss_jax.report.config import ReportConfig
from umss_jax.report.images import clock
from umss_jax.report.page import write_reports
from umss_jax.report.separation import Files, Sources
from umss_jax.scores.fit import open_score
from umss_jax.separation.config import PracticeConfig, SeparationConfig, SoundFormat
from umss_jax.separation.encodings import check_encoding
from umss_jax.separation.midi import notes, write_midi
from umss_jax.separation.outputs import (
    ALIGNMENT,
    F0_TABLE,
    IN_FRONT,
    MANIFEST,
    MISSING,
    sounds_of,
)
from umss_jax.separation.request import StemOptions, request_of
from umss_jax.separation.stems import Track, separate_file

if TYPE_CHECKING:
    from umss_jax.config import VoicesConfig
    from umss_jax.inference import ModelEngine

ARCHIVE = "all.zip"
"""What everything together is called."""
HOME = "../../"
"""From a page of results to the page of all."""
_MIDI = "notes.mid"
_PRACTICE = {IN_FRONT: "{voice} in front", MISSING: "without {voice}"}
"""What a singer is told of practice files."""
_NOTES = (_MIDI, F0_TABLE, ALIGNMENT)
Tell = Callable[[Told], None]


class Task(NamedTuple):
    """What a job is to do."""

    recording: Path
    score: Path | None
    job_folder: Path
    made: str
    """Name of the folder in it that results go to."""
    practice: bool
    page_s: float


def do(task: Task, engine: Callable[[], ModelEngine], tell: Tell) -> Outcome:
    """Does a job; ``engine`` gives the model when asked for.

    Raises:
        UmssError: what its owner can put right.
    """
    tell(Told(READING))
    recording = scan(task.recording)
    duration_s = recording.duration_s
    tell(Told(LOADING, 0.0, duration_s))
    model = engine()
    voices = model.config.voices
    score = None if task.score is None else open_score(task.score, voices.names)
    track = separate_file(
        task.recording,
        task.job_folder / task.made,
        model,
        SeparationConfig(),
        _options(recording, task.practice),
        _advance(duration_s, tell),
        recording,
        score,
    )
    tell(Told(PAGES, 0.0, duration_s))
    if importlib.util.find_spec("mido") is not None:
        _write_notes(track.folder, voices.names)
    files = _files(track.folder)
    offered = grouped(files, voices.names)
    pages = _write_pages(track.folder, offered, duration_s, task.page_s, tell)
    place = track.folder.relative_to(task.job_folder).as_posix()
    return Outcome(place, files, pages, _notes(track, task.recording.name, voices))


def _options(recording: Recording, practice: bool) -> StemOptions:
    """FLAC, which every browser and phone plays, or WAV where that cannot hold the recording."""
    options = StemOptions(
        sound_format=SoundFormat.FLAC, practice=PracticeConfig() if practice else None
    )
    try:
        check_encoding(request_of(options).encoding, recording)
    except AudioError:
        return options._replace(sound_format=SoundFormat.WAV)
    return options


def _advance(total_s: float, tell: Tell) -> Callable[[str, float], None]:
    done_s: dict[str, float] = {}

    def advance(stage: str, seconds: float) -> None:
        done_s[stage] = done_s.get(stage, 0.0) + seconds
        tell(Told(stage_name(stage), min(done_s[stage], total_s), total_s))

    return advance


def _write_notes(folder: Path, voices: Sequence[str]) -> None:
    """The notes of all voices as MIDI, from the pitches that were written."""
    table = read_voices(folder / F0_TABLE, voices)
    frame_s = float(table.time_s[1] - table.time_s[0]) if len(table.time_s) > 1 else 0.016
    sung = {v: notes(hz, frame_s) for v, hz in zip(voices, table.f0_hz, strict=True)}
    make_whole(folder / _MIDI, lambda path: write_midi(path, sung))


def _files(folder: Path) -> tuple[str, ...]:
    """What may be downloaded: stems, practice files, notes."""
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_file()))


def grouped(files: Sequence[str], voices: Sequence[str]) -> tuple[Files, ...]:
    """The files of a job by kind, as its page offers them, in the order of the voices."""
    sounds = {name: Path(name) for name in files if Path(name).suffix[1:] in list(SoundFormat)}
    stems = sounds_of(voices)
    by_kind = {
        "Voices": {name: name for voice in stems for name in _named(sounds, voice)},
        "Practice": {
            name: words.format(voice=voice)
            for voice in voices
            for mix, words in _PRACTICE.items()
            for name in _named(sounds, voice + mix)
        },
        "Notes and pitches": {name: name for name in _NOTES if name in files},
        "How it was made": {name: name for name in (MANIFEST,) if name in files},
        "Everything": {ARCHIVE: ARCHIVE},
    }
    return tuple(
        Files(kind, tuple((words, name) for name, words in named.items()))
        for kind, named in by_kind.items()
        if named
    )


def _named(sounds: Mapping[str, Path], stem: str) -> list[str]:
    """The files of a sound: one, or none."""
    return [name for name, path in sounds.items() if path.stem == stem]


def _write_pages(
    folder: Path, files: tuple[Files, ...], duration_s: float, page_s: float, tell: Tell
) -> tuple[Page, ...]:
    """Pages to listen to, each of a part that a browser can hold."""
    parts = max(1, math.ceil(duration_s / page_s - 1e-6))
    length_s = duration_s / parts
    pages = []
    for number in range(parts):
        start_s = number * length_s
        last = number == parts - 1
        sources = Sources(
            start_s=start_s,
            duration_s=None if last else length_s,
            files=files,
            home=HOME,
        )

        def advance(part: float, before_s: float = start_s) -> None:
            tell(Told(PAGES, before_s + part * length_s, duration_s))

        config = ReportConfig(most_megabytes=1000.0)
        (written,) = write_reports(folder, sources, config=config, advance=advance)
        name = f"listen-{number + 1}.html"
        os.replace(written.path, folder / name)
        label = f"{clock(start_s)}–{clock(start_s + length_s)}" if parts > 1 else ""
        pages.append(Page(name, label))
    return tuple(pages)


def _notes(track: Track, name: str, voices: VoicesConfig) -> tuple[str, ...]:
    """What the owner should read."""
    lines = [track.likeness.warning(name, voices), track.score_warning]
    gain = track.manifest["gain"]
    if gain != 1.0:
        lines.append(f"All files were turned down by {gain:.4f} so that none clips.")
    return tuple(line for line in lines if line)


def told_of(error: BaseException, task: Task) -> str:
    """What a job's owner reads of what went wrong: with names of files, not of our folders."""
    text = str(error) if isinstance(error, UmssError) else f"{type(error).__name__}: {error}"
    for path in (task.recording, task.score, task.job_folder):
        if path is not None:
            text = text.replace(str(path), path.name)
    return " ".join(text.split())
