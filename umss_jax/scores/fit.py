"""A score fitted to a recording: its notes in time, and the F0 that they give."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from umss_jax.config import VOICES, ModelConfig
from umss_jax.errors import ScoreError
from umss_jax.scores.aligned import NOWHERE, AlignedNotes, aligned_notes
from umss_jax.scores.alignment import Reading, find_passages, search
from umss_jax.scores.config import AlignmentConfig, ConstraintConfig
from umss_jax.scores.constraint import constrained_tracks
from umss_jax.scores.evidence import gather_evidence
from umss_jax.scores.parts import Cast, cast_voices
from umss_jax.scores.reading import read_score

_BRIEF_S = 0.5
"""Stretches without the score that are shorter are not named."""


class ScoreFile(NamedTuple):
    """A score whose parts were given to the voices."""

    path: Path
    casts: tuple[Cast, ...]
    """One for each form that its repeats may have been played in."""

    @property
    def voices(self) -> tuple[str, ...]:
        """That its parts were given to."""
        return tuple(voice.part.name for voice in self.casts[0].voices)


class Fit(NamedTuple):
    """A score beside a recording."""

    score: ScoreFile
    cast: Cast
    """The form that fits."""
    reading: Reading
    tuning_semitones: float
    """Median, above 440 Hz."""
    notes: tuple[AlignedNotes, ...]
    """Of each voice."""
    is_used: tuple[np.ndarray, ...]
    """bool ``[notes]`` of each voice: the voice's F0 is that of the note."""
    f0_hz_synth: np.ndarray
    """float32 ``[J, frames]`` in Hz, 0 where unvoiced."""
    is_by_score: np.ndarray
    """bool ``[J, frames]``: else by the networks."""
    sounds: np.ndarray
    """bool ``[frames]``: a pitch is heard."""
    frame_s: float

    @property
    def followed(self) -> float:
        """Share of the voices' time in which the score is believed, where anything sounds."""
        return float(self.is_by_score[:, self.sounds].mean()) if self.sounds.any() else 0.0

    @property
    def confidence(self) -> float:
        """Mean over the recording's notes of the voices' own lines, by their written length."""
        total = weights = 0.0
        for notes, voice in zip(self.notes, self.cast.voices, strict=True):
            length = (voice.part.offset_beats - voice.part.onset_beats)[notes.note]
            length = length * (notes.is_followed & (notes.onset != NOWHERE))
            total, weights = total + float(notes.confidence @ length), weights + float(length.sum())
        return total / weights if weights else 0.0

    def poor_stretches_s(self) -> list[tuple[float, float]]:
        """Where most voices sound without the score, in seconds of the recording."""
        poor = (self.is_by_score.mean(axis=0) < 0.5) & self.sounds
        # What lies between two of them, and is silent, belongs to them.
        frames = np.flatnonzero(poor)
        if not len(frames):
            return []
        breaks = np.flatnonzero(np.diff(frames) * self.frame_s > _BRIEF_S)
        firsts, lasts = frames[np.r_[0, breaks + 1]], frames[np.r_[breaks, len(frames) - 1]]
        spans = zip(firsts * self.frame_s, (lasts + 1) * self.frame_s, strict=True)
        return [(float(first), float(last)) for first, last in spans if last - first >= _BRIEF_S]

    def summary(self) -> dict[str, object]:
        """What a manifest says of the score, but for the file (JSON values)."""
        placed = sum(int((notes.onset != NOWHERE).sum()) for notes in self.notes)
        counted = sum(len(notes.onset) for notes in self.notes)
        return {
            "form": self.cast.form,
            "parts_left_out": list(self.cast.left_out),
            "transposition_semitones": self.reading.transposition,
            "tuning_semitones": self.tuning_semitones,
            "speed": float(self.reading.speed),
            "notes": counted,
            "notes_in_the_recording": placed,
            "confidence": self.confidence,
            "followed": self.followed,
            "without_score_s": [list(span) for span in self.poor_stretches_s()],
        }

    def warning(self, name: str, config: ConstraintConfig = ConstraintConfig()) -> str | None:
        """One line where much of a recording of this name is without the score."""
        if self.followed >= 1 - config.told_share:
            return None
        spans = self.poor_stretches_s()
        longest = sorted(sorted(spans, key=lambda one: one[0] - one[1])[:3])
        where = ", ".join(f"{_clock(first)} to {_clock(last)}" for first, last in longest)
        more = f" and {len(spans) - 3} more" if len(spans) > 3 else ""
        place = f" ({where}{more})" if where else ""
        return (
            f"{name}: score {self.score.path.name} fits {100 * self.followed:.0f} % of it, "
            f"elsewhere the networks' own pitches are taken{place}: see alignment.csv"
        )


def open_score(path: str | os.PathLike[str], voices: tuple[str, ...] = VOICES) -> ScoreFile:
    """Reads a score and gives its parts to the voices.

    Raises:
        ScoreError: it cannot be read, or its parts are not those of the voices.
        UsageError: the package that reads it is not installed.
    """
    path = Path(path)
    casts = tuple(cast_voices(score, str(path), voices) for score in read_score(path))
    return ScoreFile(path, casts)


def fit_score(
    score: ScoreFile,
    salience: np.ndarray,
    own_f0_hz: np.ndarray,
    model: ModelConfig,
    name: str,
    alignment: AlignmentConfig = AlignmentConfig(),
    constraint: ConstraintConfig = ConstraintConfig(),
) -> Fit:
    """Aligns a score with a recording and takes the voices' F0 by it.

    Args:
        score: its parts are those of the voices.
        salience: ``[bins, frames]`` in [0, 1], every 16 ms.
        own_f0_hz: ``[J, frames]`` by the networks, 0 where unvoiced.
        model: for the pitch grid and the frames.
        name: of the recording, for messages.
        alignment: how it is aligned.
        constraint: what is believed.

    Raises:
        ScoreError: the recording is of something else.
    """
    frame_s = model.audio.hop_s
    evidence = gather_evidence(salience, model.hcqt, alignment, frame_s)
    reading = search(evidence, score.casts, alignment, frame_s)
    cast = score.casts[reading.form]
    passages = find_passages(evidence, cast, reading, alignment, frame_s)
    notes = aligned_notes(evidence, cast, reading, passages, alignment, frame_s)
    covered = np.zeros(salience.shape[1], bool)
    for passage in passages:
        covered[passage.first_frame : passage.first_frame + len(passage.score_s)] = True
    tracks = constrained_tracks(
        salience, own_f0_hz, evidence.tuning_semitones, notes, covered, model, constraint
    )
    fit = Fit(
        score,
        cast,
        reading,
        float(np.median(evidence.tuning_semitones)),
        tuple(notes),
        tracks.is_used,
        tracks.f0_hz_synth,
        tracks.is_by_score,
        evidence.heard.max(axis=0) >= alignment.full_salience / 2,
        frame_s,
    )
    if fit.followed < constraint.least_followed:
        raise ScoreError(
            f"{name}: score {score.path} fits {100 * fit.followed:.0f} % of it",
            "give the score of what is sung, at most "
            f"{alignment.most_transposed_semitones} semitones higher or lower",
        )
    return fit


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
