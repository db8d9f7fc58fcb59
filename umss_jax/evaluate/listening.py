"""Excerpts of an evaluation to listen to: what every row made of them, kept beside the scores.

::

    index.json                     what the last run kept, in the order of its table
    <excerpt>/reference/           mixture.flac, soprano.flac …, f0.csv (where there is a reference)
    <excerpt>/<row>/               soprano.flac …, f0.csv and salience.npz where the row has them

Each of these folders has an ``about.json``: what its files depend on, and their gain. A folder
that depends on the same is not made again.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

import umss_jax
from umss_jax.audio.segments import frame_times_s
from umss_jax.audio.writing import write_sound
from umss_jax.config import VOICES, AudioConfig
from umss_jax.data.excerpts import Excerpt, Quartet, excerpt_name
from umss_jax.documents import read_json
from umss_jax.errors import ReportError, UsageError, brief
from umss_jax.evaluate.config import EvaluationConfig
from umss_jax.evaluate.rows import Estimate, Row
from umss_jax.evaluate.score_store import excerpt_digest
from umss_jax.files import working_folder, write_text
from umss_jax.pitch.grid import bin_frequencies_hz
from umss_jax.pitch.tables import voice_rows, voices_header
from umss_jax.range_checks import check_voice_names

INDEX, REFERENCE = "index.json", "reference"
AGAIN = "evaluate again with --audio"
"""What to do where files are missing or damaged."""
_DEFAULT = EvaluationConfig()
_VERSION = 1
"""Of the files: another one when they are written otherwise."""
_LATEST_S = 1e6
"""Start of an excerpt."""
_LEAST_GAIN = 1e-6
_LONGEST_NAME = 255


class KeptRow(NamedTuple):
    """What a row made of an excerpt, in a folder below that of the excerpt."""

    label: str
    folder: str


class KeptExcerpt(NamedTuple):
    """An excerpt that can be heard."""

    name: str
    song: str
    start_s: float
    folder: str
    rows: list[KeptRow]
    voices: Sequence[str] = VOICES


def spread_excerpts(quartets: Sequence[Quartet], count: int, audio: AudioConfig) -> list[str]:
    """Names of the excerpts to keep: the first of each quartet, then the second of each."""
    names = [[excerpt_name(one, start, audio) for start in one.start_frames] for one in quartets]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*names))
    return list(itertools.islice((name for name in turns if name is not None), count))


class ExcerptAudio:
    """Keeps the audio of the excerpts of these names in a folder, which is made if missing."""

    def __init__(
        self,
        folder: Path,
        names: Collection[str],
        config: EvaluationConfig = _DEFAULT,
        voices: tuple[str, ...] = VOICES,
    ) -> None:
        self._folder, self._config, self._voices = folder, config, voices
        self._names = frozenset(names)
        self._kept: dict[str, KeptExcerpt] = {}

    def begin(self, excerpt: Excerpt) -> None:
        """Keeps mixture, true voices and their F0, if the excerpt is among the names.

        Raises:
            OutputError: they cannot be written.
        """
        if excerpt.name not in self._names:
            return
        name = _folder_name(excerpt.name)
        self._kept[excerpt.name] = KeptExcerpt(
            excerpt.name, excerpt.song, excerpt.start_s, name, [], self._voices
        )
        about = _about(excerpt, {})
        folder = self._folder / name / REFERENCE
        if not _is_there(folder, about):
            voices = dict(zip(self._voices, excerpt.sources, strict=True))
            sounds = {"mixture": excerpt.mixture, **voices}
            _write(folder, sounds, excerpt.f0_hz_synth, None, about, self._config, self._voices)

    def lacks(self, excerpt: Excerpt, row: Row) -> bool:
        """Whether what the row makes of the excerpt is to be kept and not there."""
        if excerpt.name not in self._names or not row.has_stems:
            return False
        kept = self._kept[excerpt.name]
        kept.rows.append(KeptRow(row.label, _folder_name(row.label)))
        return not _is_there(self._row_folder(excerpt, row), _about(excerpt, row.identity))

    def put(self, excerpt: Excerpt, row: Row, estimate: Estimate) -> None:
        """Keeps what the row made of the excerpt.

        Raises:
            OutputError: it cannot be written.
        """
        stems = dict(zip(self._voices, estimate.stems, strict=True))
        salience = row.salience(excerpt) if row.salience is not None else None
        about = _about(excerpt, row.identity)
        f0_hz_synth = estimate.reported_f0_hz_synth
        if f0_hz_synth is None:
            f0_hz_synth = estimate.f0_hz_synth
        folder = self._row_folder(excerpt, row)
        _write(folder, stems, f0_hz_synth, salience, about, self._config, self._voices)

    def finish(self) -> None:
        """Writes the index; without excerpts, takes away the one of an earlier run.

        Raises:
            OutputError: it cannot be written.
        """
        index = self._folder / INDEX
        if not self._kept:
            index.unlink(missing_ok=True)
            return
        excerpts = [
            {**kept._asdict(), "rows": [row._asdict() for row in kept.rows]}
            for kept in self._kept.values()
        ]
        write_text(index, json.dumps({"excerpts": excerpts}, indent=2) + "\n")

    def _row_folder(self, excerpt: Excerpt, row: Row) -> Path:
        return self._folder / _folder_name(excerpt.name) / _folder_name(row.label)


def read_index(folder: Path) -> list[KeptExcerpt]:
    """The excerpts that the last run kept; none where there is no index.

    Raises:
        ReportError: it is something else.
    """
    path = folder / INDEX
    try:
        excerpts = [
            KeptExcerpt(**{**one, "rows": [KeptRow(**row) for row in one["rows"]]})
            for one in read_json(path)["excerpts"]
        ]
        for one in excerpts:
            _check_kept(one)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, AttributeError, UsageError) as error:
        raise ReportError(f"{path} is no index of excerpts", AGAIN) from error
    for one in excerpts:
        names = (REFERENCE, *(row.folder for row in one.rows))
        for place in (one.folder, *(f"{one.folder}/{name}" for name in names)):
            _refuse_outside(folder, place)
    return excerpts


def _check_kept(one: KeptExcerpt) -> None:
    """Raises a ValueError where an entry of the index has values of other types."""
    texts = (one.name, one.song, *(row.label for row in one.rows))
    is_time = type(one.start_s) in (int, float) and 0 <= one.start_s <= _LATEST_S
    if not is_time or not all(isinstance(text, str) for text in texts):
        raise ValueError("values of other types")
    check_voice_names(one.voices)
    for name in (one.folder, *(row.folder for row in one.rows)):
        if not isinstance(name, str) or "\0" in name:
            raise ValueError("values of other types")


def _refuse_outside(folder: Path, place: str) -> None:
    """Refuses a folder of the index, or a file in it, that lies elsewhere."""
    inside = folder.resolve()
    try:
        parts = place.split("/")
        is_name = all(
            part not in ("", ".", "..") and len(part.encode("utf-8", "replace")) <= _LONGEST_NAME
            for part in parts
        )
        is_plain = is_name and len(parts) <= 2 and "\\" not in place
        is_below = is_plain and all(
            path.resolve().is_relative_to(inside)
            for path in (folder / place, *(folder / place).glob("*"))
        )
    except (OSError, RuntimeError, ValueError):  # a circle of links, half a character
        is_below = False
    if not is_below:
        raise ReportError(f"{folder / INDEX} names {brief(place)}, outside of its folder", AGAIN)


def read_gain(folder: Path) -> float:
    """Of the files of a folder: they hold the audio times this.

    Raises:
        ReportError: there is none.
    """
    path = folder / "about.json"
    try:
        gain = float(read_json(path)["gain"])
        if not _LEAST_GAIN <= gain <= 1.0:
            raise ValueError(gain)
    except (OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise ReportError(f"{path} names no gain", AGAIN) from error
    return gain


def is_of_model(folder: Path) -> bool:
    """Whether the files of a folder are a model's, and not what the table has for scale."""
    try:
        about = read_json(folder / "about.json")
        return isinstance(about, dict) and about.get("row") == "model"
    except (OSError, ValueError):
        return False


def _about(excerpt: Excerpt, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What a folder depends on, as JSON holds it."""
    about = {"audio": _VERSION, "umss_jax": umss_jax.__version__, **identity}
    plain: dict[str, Any] = json.loads(json.dumps(about))
    return {**plain, "content": excerpt_digest(excerpt)}


def _is_there(folder: Path, about: Mapping[str, Any]) -> bool:
    try:
        known = read_json(folder / "about.json")
        return {key: value for key, value in known.items() if key != "gain"} == about
    except (OSError, ValueError, AttributeError):
        return False


def _write(
    folder: Path,
    sounds: Mapping[str, np.ndarray],
    f0_hz_synth: np.ndarray | None,
    salience: np.ndarray | None,
    about: Mapping[str, Any],
    config: EvaluationConfig,
    voices: Sequence[str],
) -> None:
    """Writes a folder aside and puts it in its place."""
    audio = config.audio
    peak = max(float(np.abs(sound).max(initial=0.0)) for sound in sounds.values())
    gain = min(1.0, 0.999 / max(peak, 1e-9))
    with working_folder(folder) as work:
        made = work / "made"
        made.mkdir()
        for name, sound in sounds.items():
            path = made / f"{name}.flac"
            write_sound(path, gain * sound, audio.sample_rate_hz, "PCM_16")
        if f0_hz_synth is not None:
            # What is below the pitch grid is unvoiced.
            voiced = np.where(f0_hz_synth < 0.99 * config.hcqt.fmin_hz, 0.0, f0_hz_synth)
            rows = voice_rows(frame_times_s(voiced.shape[1], audio), voiced)
            (made / "f0.csv").write_text(voices_header(voices) + rows, encoding="utf-8")
        if salience is not None:
            step_s = audio.example_samples / audio.sample_rate_hz / salience.shape[1]
            np.savez_compressed(
                made / "salience.npz",
                salience=salience.astype(np.float16),
                time_s=np.arange(salience.shape[1]) * step_s,
                frequency_hz=bin_frequencies_hz(config.hcqt),
            )
        text = json.dumps({**about, "gain": gain}, indent=2) + "\n"
        (made / "about.json").write_text(text, encoding="ascii")
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)


def _folder_name(name: str) -> str:
    """A name that every file system takes, another one for every name."""
    quoted = quote(name, safe=" ,()+=")
    return f"%{quoted}" if quoted in (REFERENCE, ".", "..") else quoted
