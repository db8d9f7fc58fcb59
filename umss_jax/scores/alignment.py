"""When the notes of a score are sung in a recording.

First speed, transposition and the form of the repeats are searched on few frames, each combination
by its best course; then the winner's course is found on more frames, and at last on all of them
near it, where the tempo is taken to be steady for some seconds. Every note's onset and offset is
then looked for around that of its chord.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from umss_jax.scores.config import AlignmentConfig
from umss_jax.scores.evidence import Evidence
from umss_jax.scores.following import OUTSIDE, Costs, best_gains, follow, follow_closely
from umss_jax.scores.parts import Cast

_PITCHES = 128


class Reading(NamedTuple):
    """How a score is to be read to fit a recording."""

    form: int
    """Number of the form of its repeats."""
    transposition: int
    """Semitones that the recording is above the score."""
    speed: float
    """Seconds of the score, at its written tempo, in a second of the recording."""
    gain: float
    """Of its course, in seconds of one voice; 0 is that of none."""


class Passage(NamedTuple):
    """A stretch of the recording in which the score goes on without a jump."""

    first_frame: int
    score_s: np.ndarray
    """float64 ``[frames]``, ascending: where in the score each frame is."""


def search(
    evidence: Evidence, casts: Sequence[Cast], config: AlignmentConfig, frame_s: float
) -> Reading:
    """The form, transposition and speed of a score that fit a recording best."""
    group = max(
        _group(evidence, cast, 1.0, config.search_frames, config, frame_s) for cast in casts
    )
    step_s = group * frame_s
    heard = thinned(evidence.heard, group)
    most = config.most_transposed_semitones
    shifts = list(range(-most, most + 1))
    for_against = _for_and_against(heard, config) * np.float32(step_s)
    readings = np.stack([_shifted(for_against, shift) for shift in shifts])
    sounding = np.flatnonzero(heard.max(axis=0) > config.full_salience / 2)
    heard_s = (sounding[-1] - sounding[0] + 1) * step_s if len(sounding) else step_s
    costs = Costs(config.tempo_cost * step_s, config.jump_s)
    best = Reading(0, 0, 1.0, -np.inf)
    for form, cast in enumerate(casts):
        fitted = _length_s(cast) / heard_s
        for speed in _distinct(
            [*(fitted * factor for factor in config.fitted_speeds), *config.speeds]
        ):
            gains = best_gains(readings, chords(cast, step_s * speed), costs)
            gains = gains - _preferences(shifts)
            if gains.max() > best.gain:
                shift = shifts[int(np.argmax(gains))]
                best = Reading(form, shift, speed, float(gains.max()))
    return best


def find_passages(
    evidence: Evidence, cast: Cast, reading: Reading, config: AlignmentConfig, frame_s: float
) -> list[Passage]:
    """Where in the score the recording is, for those frames in which it is anywhere."""
    group = _group(evidence, cast, reading.speed, config.course_frames, config, frame_s)
    step_s = group * frame_s
    for_against = _shifted(_for_and_against(evidence.heard, config), reading.transposition)
    coarse = thinned(for_against, group) * np.float32(step_s)
    costs = Costs(config.tempo_cost * step_s, config.jump_s)
    state_s = step_s * reading.speed
    course = follow(coarse, chords(cast, state_s), costs)
    frames = evidence.heard.shape[1]
    passages = []
    for first, last in _runs(course.state):
        begin, end = first * group, min(last * group, frames)
        middles = (np.arange(first, last) + 0.5) * group - 0.5
        rough = (course.state[first:last] + 0.5) * state_s
        expected = _steady(np.interp(np.arange(begin, end), middles, rough), config, frame_s)
        near = for_against[:, begin:end] * np.float32(frame_s)
        passages.append(Passage(begin, _closer(near, cast, expected, config, frame_s)))
    return passages


def _group(
    evidence: Evidence,
    cast: Cast,
    speed: float,
    least: int,
    config: AlignmentConfig,
    frame_s: float,
) -> int:
    """How many frames are one, so that a course does not outgrow the memory."""
    group, states = least, _length_s(cast) / (speed * frame_s)
    while (evidence.heard.shape[1] / group) * (states / group) > config.most_cells:
        group *= 2
    return group


def _closer(
    evidence: np.ndarray,
    cast: Cast,
    expected_s: np.ndarray,
    config: AlignmentConfig,
    frame_s: float,
) -> np.ndarray:
    """The places in the score of the frames of a passage, near those that are expected."""
    band = max(1, round(config.band_s / frame_s))
    frames = np.arange(len(expected_s))
    slope = np.diff(expected_s).mean() if len(expected_s) > 1 else frame_s
    around = np.arange(-band, len(expected_s) + band)
    places = np.interp(around, frames, expected_s)
    places += np.minimum(around, 0) * slope + np.maximum(around - frames[-1], 0) * slope
    states = sounding_at(cast, places)
    path = follow_closely(evidence, states, config.tempo_cost * frame_s, band)
    return places[band + path]


def _steady(places_s: np.ndarray, config: AlignmentConfig, frame_s: float) -> np.ndarray:
    """The path without the steps of its grid: ascending straight lines over some seconds."""
    from scipy.ndimage import uniform_filter1d

    half = round(config.smoothing_s / frame_s)
    if len(places_s) < 3:
        return places_s
    half = min(half, (len(places_s) - 1) // 2)
    # Mirrored about its ends, a straight line stays one.
    before = 2 * places_s[0] - places_s[half:0:-1]
    after = 2 * places_s[-1] - places_s[-2 : -half - 2 : -1]
    padded = np.concatenate([before, places_s, after])
    smooth: np.ndarray = uniform_filter1d(padded, 2 * half + 1)[half : half + len(places_s)]
    return smooth


def chords(cast: Cast, state_s: float) -> np.ndarray:
    """States of a score ``[states, pitches]``, so many seconds of it apart."""
    count = max(1, int(np.ceil(_length_s(cast) / state_s)))
    return sounding_at(cast, (np.arange(count) + 0.5) * state_s)


def sounding_at(cast: Cast, places_s: np.ndarray) -> np.ndarray:
    """Which pitches sound at ascending places of a score, float32 ``[places, pitches]``."""
    states = np.zeros((len(places_s), _PITCHES), np.float32)
    for voice in cast.voices:
        part = voice.part
        first = np.searchsorted(places_s, part.onset_s)
        last = np.searchsorted(places_s, part.offset_s)
        for pitch, start, end in zip(part.pitch.astype(int), first, last, strict=True):
            states[start:end, pitch] = 1.0
    return states


def thinned(values: np.ndarray, group: int) -> np.ndarray:
    """Means of so many frames, the last of those that are left; ``[rows, frames]``."""
    frames = values.shape[1]
    whole = -(-frames // group) * group
    padded = np.pad(values, ((0, 0), (0, whole - frames)), mode="edge")
    mean: np.ndarray = padded.reshape(len(values), -1, group).mean(axis=2, dtype=np.float32)
    return mean


def _for_and_against(heard: np.ndarray, config: AlignmentConfig) -> np.ndarray:
    return np.minimum(heard / np.float32(config.full_salience), 1) * 2 - np.float32(1)


def _shifted(values: np.ndarray, semitones: int) -> np.ndarray:
    """At row p what is at p + semitones; what is beyond counts as not heard."""
    shifted = np.full_like(values, values.min())
    source = slice(max(semitones, 0), len(values) + min(semitones, 0))
    target = slice(max(-semitones, 0), len(values) - max(semitones, 0))
    shifted[target] = values[source]
    return shifted


def _preferences(shifts: list[int]) -> np.ndarray:
    """Of equals the smallest transposition."""
    return np.abs(np.asarray(shifts)) * np.float32(1e-3)


def _length_s(cast: Cast) -> float:
    return max(float(voice.part.offset_s.max()) for voice in cast.voices)


def _distinct(speeds: list[float]) -> list[float]:
    """Without those within a twelfth of one before."""
    kept: list[float] = []
    for speed in speeds:
        if all(abs(np.log(speed / one)) > 0.08 for one in kept):
            kept.append(speed)
    return kept


def _runs(state: np.ndarray) -> list[tuple[int, int]]:
    """First frame and frame after the last of every passage inside the score, without jumps."""
    is_break = (state[1:] == OUTSIDE) | (state[:-1] == OUTSIDE)
    is_break |= (state[1:] < state[:-1]) | (state[1:] > state[:-1] + 2)
    edges = [0, *(np.flatnonzero(is_break) + 1).tolist(), len(state)]
    return [(first, last) for first, last in itertools.pairwise(edges) if state[first] != OUTSIDE]
