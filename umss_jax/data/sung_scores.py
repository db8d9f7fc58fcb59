"""Scores as four singers might sing them: pitch against time, without any sound.

Each performance has its tempo, key and tuning; voices come in a little apart, slide between notes,
drift, vibrate, breathe, and at times sing what another voice sings, in unison or an octave apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from umss_jax.data.config import SungScoreConfig
from umss_jax.errors import DatasetError, ScoreError
from umss_jax.scores.notes import Part
from umss_jax.scores.parts import cast_voices
from umss_jax.scores.reading import SUFFIXES, read_score

Voices = tuple[Part, ...]
"""The parts of a score that are sung, highest first."""

_SLIDE_SEMITONES = 7.0  # a larger step is taken at once
_SHORTEST_S = 0.05
_OCTAVE = 12.0
_UNISON_FRAMES = 40  # at least
_PAIRS = ((0, 1), (1, 2), (2, 3))


def score_files(folder: Path) -> list[Path]:
    """All scores of a folder and of those in it, by name."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def open_scores(folder: Path) -> list[Voices]:
    """The scores of a folder and of those in it that have a part for each voice, by file name.

    Raises:
        DatasetError: there is none.
        UsageError: the package that reads them is not installed.
    """
    found = []
    for path in score_files(folder):
        try:
            cast = cast_voices(read_score(path)[0], str(path))
        except ScoreError:
            continue  # of other voices, or damaged: data for training may be a mixed bag
        found.append(tuple(voice.part.take(voice.is_followed) for voice in cast.voices))
    if not found:
        raise DatasetError(
            f"{folder} holds no score in four parts", "give a folder of MIDI or MusicXML files"
        )
    return found


def sung_pitch(
    scores: Sequence[Voices],
    rng: np.random.Generator,
    frames: int,
    frame_s: float,
    config: SungScoreConfig,
) -> np.ndarray:
    """Pitch of a random stretch of a random score: float64 [J, frames], MIDI, 0 = silent."""
    voices, shift = _in_reach(scores, rng, config)
    shift += rng.uniform(-0.5, 0.5)
    lengths = np.concatenate([part.offset_beats - part.onset_beats for part in voices])
    beat_s = np.exp(rng.uniform(*np.log(config.note_s))) / max(np.median(lengths), 1e-3)
    end_s = max(part.offset_beats[-1] for part in voices) * beat_s
    start_s = rng.uniform(0, max(frame_s, end_s - frames * frame_s))
    time_s = start_s + np.arange(frames) * frame_s
    pitch = np.stack([_sung(part, beat_s, time_s, shift, rng, config) for part in voices])
    _together(pitch, rng, config)
    return pitch


def wander(rng: np.random.Generator, frames: int, memory_frames: float) -> np.ndarray:
    """A random walk that forgets: Gaussian of variance 1, correlated over ``memory_frames``."""
    kept = np.exp(-1.0 / memory_frames)
    noise = rng.normal(size=frames + int(6 * memory_frames))
    walk: np.ndarray = lfilter([np.sqrt(1 - kept * kept)], [1.0, -kept], noise)[-frames:]
    return walk


def _in_reach(
    scores: Sequence[Voices], rng: np.random.Generator, config: SungScoreConfig
) -> tuple[Voices, float]:
    """A score, and a transposition that puts the mean pitch of every voice where it may lie."""
    low, high = np.asarray(config.lowest_mean_midi), np.asarray(config.highest_mean_midi)
    for number in rng.permutation(len(scores)):
        voices = scores[number]
        means = np.asarray(
            [np.average(p.pitch, weights=p.offset_beats - p.onset_beats + 1e-6) for p in voices]
        )
        shifts = [s for s in range(-12, 13) if np.all(means + s > low) and np.all(means + s < high)]
        if shifts:
            return voices, float(rng.choice(shifts))
    raise DatasetError("no score lies where the voices can sing it", "give other scores")


def _sung(
    part: Part,
    beat_s: float,
    time_s: np.ndarray,
    shift: float,
    rng: np.random.Generator,
    config: SungScoreConfig,
) -> np.ndarray:
    """Pitch [frames] of one voice, 0 = silent."""
    notes, frames = len(part.pitch), len(time_s)
    onset_s = part.onset_beats * beat_s
    onset_s = onset_s + rng.normal(0, config.onset_s, notes) + rng.normal(0, config.onset_s)
    held_s = (part.offset_beats - part.onset_beats) * beat_s
    breathes = rng.uniform(size=notes) < config.gap_probability
    held_s = np.maximum(
        held_s - np.where(breathes, rng.uniform(*config.gap_s, notes), 0.0), _SHORTEST_S
    )
    onset_s = np.maximum.accumulate(onset_s)
    note = np.clip(np.searchsorted(onset_s, time_s, side="right") - 1, 0, notes - 1)
    is_sung = (time_s >= onset_s[note]) & (time_s < onset_s[note] + held_s[note])
    written = part.pitch[note] + shift
    reach = int(rng.integers(1, config.slide_frames + 1))
    kernel = np.full(2 * reach + 1, 1.0 / (2 * reach + 1))
    slid = np.convolve(np.pad(written, reach, mode="edge"), kernel, "valid")
    slid = np.where(np.abs(slid - written) < _SLIDE_SEMITONES, slid, written)
    depth = config.vibrato_semitones * rng.uniform() * rng.uniform()
    rate = rng.uniform(*config.vibrato_hz)
    vibrato = depth * np.sin(2 * np.pi * (rate * time_s + rng.uniform()))
    drift = rng.normal(0, config.drift_semitones) + config.drift_semitones * wander(rng, frames, 60)
    return np.where(is_sung, slid + vibrato + drift, 0.0)


def _together(pitch: np.ndarray, rng: np.random.Generator, config: SungScoreConfig) -> None:
    """Lets voices sing what others sing, for a while or all the time; changes ``pitch``."""
    frames = pitch.shape[1]
    first, last = 0, frames
    if rng.uniform() < config.passing_probability:
        first, last = sorted(int(n) for n in rng.integers(0, frames, 2))
        last = min(frames, max(last, first + _UNISON_FRAMES))
    while_ = slice(first, last)

    def follow(leader: int, voice: int, octaves: int = 0) -> None:
        sung = pitch[leader, while_]
        apart = config.unison_semitones * (rng.normal() + 1.5 * wander(rng, last - first, 40))
        pitch[voice, while_] = np.where(sung > 0, sung + _OCTAVE * octaves + apart, 0.0)

    kind = rng.choice(4, p=_shares(config.together_probability))
    if kind == 1:
        upper, lower = _PAIRS[rng.choice(len(_PAIRS), p=config.pair_probability)]
        leader, voice = (upper, lower) if rng.uniform() < 0.5 else (lower, upper)
        sung = pitch[leader, while_][pitch[leader, while_] > 0]
        low, high = config.lowest_midi[voice], config.highest_midi[voice]
        if len(sung) and sung.min() > low and sung.max() < high:
            follow(leader, voice)
    elif kind == 2:
        follow(0, 1)
        follow(2, 3)
        if rng.uniform() < 0.5:
            follow(0, 2, -1)
            follow(0, 3, -1)
    elif kind == 3:
        upper = int(rng.integers(2))
        follow(upper, upper + 2, -1)


def _shares(probabilities: Sequence[float]) -> list[float]:
    """With that of nothing at all before them."""
    return [1.0 - sum(probabilities), *probabilities]
