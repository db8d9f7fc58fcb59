"""What the page about a separation shows, gathered from the folder that `separate` wrote."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from umss_jax.audio.resampling import resampled_samples
from umss_jax.errors import ReportError, UsageError, printable
from umss_jax.evaluate.config import EvaluationConfig
from umss_jax.report.config import ReportConfig
from umss_jax.report.images import clock
from umss_jax.report.pitches import Salience, pitch_panel, read_f0, read_salience, voice_colours
from umss_jax.report.player import Raw, encoded_all, loudest_db, player
from umss_jax.report.scores import MEASURES, VoiceScores, Word, score_voices, words_of
from umss_jax.report.separation_files import AGAIN, read_manifest, stem_files, target_files
from umss_jax.report.sounds import (
    Advance,
    Interval,
    PageAudio,
    at_rate,
    choose_audio,
    nobody,
    read_header,
    read_sound,
)
from umss_jax.separation.outputs import RESIDUAL, track_name
from umss_jax.words import NUMBERS, counted

_LONGEST_PART = 255


class Files(NamedTuple):
    """Files of one kind that a page offers, as words and addresses."""

    kind: str
    links: tuple[tuple[str, str], ...]


class Sources(NamedTuple):
    """What a page may show besides the folder's own files."""

    targets: Path | None = None
    """Folder with ``soprano.*`` … ``bass.*``; by default ``targets`` inside the folder."""
    salience: Path | None = None
    """``.salience.npz`` of `umss-jax f0`; by default ``<track>.salience.npz`` in the folder."""
    start_s: float = 0.0
    duration_s: float | None = None
    files: tuple[Files, ...] = ()
    """To download, where a server has them."""
    home: str = ""
    """Address of the page that leads here."""


def is_separation(folder: Path) -> bool:
    """Whether `separate` wrote it."""
    return (folder / "manifest.json").is_file()


def separation_page(
    folder: Path,
    sources: Sources | None = None,
    config: ReportConfig = ReportConfig(),
    advance: Advance = nobody,
) -> dict[str, Any]:
    """Everything that the template of a separation asks for.

    Sounds are encoded as the template comes to them, and ``advance`` is told then. The mixture is
    the sum of stems and residual, which `separate` promises to be the recording.

    Raises:
        ReportError: A file is missing, damaged or of another recording, or the page too large.
        AudioError: A stem or target is missing or cannot be decoded.
    """
    sources = sources or Sources()
    manifest = read_manifest(folder)
    voices = tuple(manifest["voices"])
    files = stem_files(folder, manifest, voices)
    rate, channels, samples = read_header(files[RESIDUAL])
    if not samples:
        raise ReportError(f"{files[RESIDUAL]} holds no audio", AGAIN)
    for path in files.values():
        if read_header(path) != (rate, channels, samples):
            raise ReportError(f"{path} differs from {files[RESIDUAL]} in rate or length", AGAIN)
    track = track_name(Path(str(manifest["input"]["file"])))
    targets = target_files(folder, sources.targets, samples / rate, voices, config)
    interval = _interval(folder, samples / rate, sources)
    sounds = len(files) + 1 + len(targets)
    audio = choose_audio(str(folder), rate, channels, interval.duration_s, sounds, config)
    raw = _read_all(files, targets, voices, interval, audio)
    pitches = read_f0(folder / "f0.csv", interval, AGAIN, voices)
    salience = _salience(folder, sources.salience, track, samples / rate, config)
    scores = _scores(raw, audio.sample_rate_hz)
    opaque_db = loudest_db(raw[0].audio, audio, config)
    targets_too = " and the targets start" if targets else " starts"
    return {
        "title": printable(manifest["input"]["file"]),
        "subtitle": _subtitle(manifest, interval, samples / rate, rate, channels),
        "player": player(
            encoded_all(raw, audio, opaque_db, config, advance),
            [pitch_panel(pitches, interval, config, salience)],
            interval,
            audio,
            f"Stems and residual together are the recording; its own row{targets_too} muted.",
            config=config,
        ),
        "scores": scores,
        "measures": [(key, MEASURES[key]) for key in scores[0].stems] if scores else [],
        "words": _words(manifest, bool(targets), salience is not None, scores),
        "files": sources.files,
        "home": sources.home,
        "manifest": json.dumps(manifest, indent=2, ensure_ascii=False),
    }


def _words(
    manifest: dict[str, Any], has_targets: bool, has_salience: bool, scores: list[VoiceScores]
) -> list[Word]:
    """What a reader of the page may not know."""
    voices = NUMBERS[len(manifest["voices"])]
    words = [
        Word("Stem", "One voice alone, as the program took it out of the recording."),
        Word(
            "Residual",
            f"What is left of the recording when all {voices} voices are taken out.",
        ),
        Word(
            "Cents",
            "Hundredths of a semitone: how far what is sung is from the note named, high or low. "
            "Where none are said it is within 8.",
        ),
        Word(
            "Spectrogram",
            "The picture beside each stem: time from left to right, low sounds below, high ones "
            "above, loud ones strong.",
        ),
    ]
    if has_salience:
        words.append(
            Word("Salience", "How sure the program is, at each moment, that a pitch is sung.")
        )
    if has_targets:
        words.append(Word("Target", "The true voice, recorded alone, to compare with."))
    if manifest.get("assigner"):
        words.append(Word("Assigner", "What decided which voice each pitch belongs to."))
    return [*words, *words_of(list(scores[0].stems) if scores else [])]


def _interval(folder: Path, duration_s: float, sources: Sources) -> Interval:
    for option, seconds in (("--start", sources.start_s), ("--seconds", sources.duration_s or 1.0)):
        if not math.isfinite(seconds) or seconds < 0:
            raise UsageError(f"{option} is {seconds:g}", "give a number of seconds")
    left = duration_s - sources.start_s
    if left <= 0:
        raise ReportError(
            f"{folder} ends at {duration_s:.2f} s, before --start {sources.start_s:g}",
            "choose an earlier one",
        )
    return Interval(sources.start_s, min(left, sources.duration_s or left))


def _read_all(
    files: dict[str, Path],
    targets: dict[str, Path],
    voices: tuple[str, ...],
    interval: Interval,
    page: PageAudio,
) -> list[Raw]:
    """All sounds in the order of the page, at its rate, at common level and within ±1."""
    stems = {name: read_sound(path, interval, page) for name, path in files.items()}
    mixture = np.sum(list(stems.values()), axis=0)
    true = {voice: read_sound(path, interval, page) for voice, path in targets.items()}
    level = _level(mixture, list(true.values()))
    rows = [Raw("mixture", "mixture", "ink", mixture)]
    colours = voice_colours(voices)
    for voice in voices:
        rows.append(Raw(voice, "stem", colours[voice], stems[voice]))
        if voice in true:
            rows.append(Raw(f"{voice}, target", "target", colours[voice], level * true[voice]))
    rows.append(Raw(RESIDUAL, RESIDUAL, "ink", stems[RESIDUAL]))
    peak = max(float(np.abs(row.audio).max(initial=0.0)) for row in rows)
    down = min(1.0, 0.999 / max(peak, 1e-9))
    return [row._replace(audio=down * row.audio) for row in rows]


def _level(mixture: np.ndarray, targets: list[np.ndarray]) -> float:
    """Gain by which the targets' sum fits the mixture best."""
    if not targets:
        return 1.0
    heard = mixture.mean(axis=1)
    total = np.sum([target.mean(axis=1) for target in targets], axis=0)
    power = float(total @ total)
    gain = float(total @ heard) / power if power > 0 else 0.0
    return gain if gain > 0 else 1.0


def _salience(
    folder: Path, given: Path | None, track_name: str, duration_s: float, config: ReportConfig
) -> Salience | None:
    path = given or folder / f"{track_name}.salience.npz"
    if given is None and not path.is_file():
        path = folder / f"{folder.name}.salience.npz"  # of a track named after its folder
    if given is None and not path.is_file():
        return None
    return read_salience(path, duration_s, "make it with umss-jax f0 RECORDING --salience", config)


def _scores(raw: list[Raw], sample_rate_hz: int) -> list[VoiceScores]:
    """Of the voices that have a target."""
    protocol = EvaluationConfig()
    rate_16k = protocol.sample_rate_hz
    targets = [row for row in raw if row.kind == "target"]
    samples = resampled_samples(len(raw[0].audio), sample_rate_hz, rate_16k)
    if not targets or samples < rate_16k:
        return []

    def mono_16k(row: Raw) -> np.ndarray:
        mono = row.audio.mean(axis=1, keepdims=True)
        return at_rate(mono, sample_rate_hz, rate_16k, samples)[:, 0]

    voices = [row.name.removesuffix(", target") for row in targets]
    stems = [next(row for row in raw if row.name == voice) for voice in voices]
    return score_voices(
        voices,
        np.stack([mono_16k(row) for row in targets]),
        np.stack([mono_16k(row) for row in stems]),
        mono_16k(raw[0]),
        protocol,
    )


def _subtitle(
    manifest: dict[str, Any], interval: Interval, duration_s: float, rate: int, channels: int
) -> list[str]:
    """What a reader wants to know at once."""
    parts = [f"model {manifest.get('model', 'unknown')}"]
    if manifest.get("assigner"):
        parts.append(f"assigner {manifest['assigner']}")
    adaptation = manifest.get("adaptation")
    if isinstance(adaptation, dict) and adaptation.get("steps"):
        brought = "" if adaptation.get("kept") != 0 else ", which brought nothing"
        parts.append(f"adapted in {counted(adaptation['steps'], 'step')}{brought}")
    layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")
    parts.append(f"{duration_s:.1f} s, {rate / 1000:g} kHz, {layout}")
    if interval.duration_s < duration_s - 1e-6:
        end = interval.start_s + interval.duration_s
        parts.append(f"shown: {clock(interval.start_s)} to {clock(end)}")
    return [printable(part[:_LONGEST_PART]) for part in parts]
