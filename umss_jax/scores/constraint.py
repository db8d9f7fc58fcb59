"""F0 of the voices by a score: the salience's near each note, and the networks' where it fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from umss_jax.config import ModelConfig
from umss_jax.scores.aligned import NOWHERE, AlignedNotes
from umss_jax.scores.config import ConstraintConfig, PathConfig
from umss_jax.scores.evidence import SAME_SEMITONES, SEMITONES, bin_to_midi, midi_to_bin
from umss_jax.scores.path import singing_paths


class ScoredTracks(NamedTuple):
    """F0 by a score."""

    f0_hz_synth: np.ndarray
    """float32 ``[J, frames]`` in Hz, 0 where unvoiced."""
    is_by_score: np.ndarray
    """bool ``[J, frames]``: else by the networks."""
    is_used: tuple[np.ndarray, ...]
    """bool ``[notes]`` for each voice: the note was followed in most of its frames."""


def constrained_tracks(
    salience: np.ndarray,
    own_f0_hz: np.ndarray,
    tuning_semitones: np.ndarray,
    voices: Sequence[AlignedNotes],
    covered: np.ndarray,
    model: ModelConfig,
    config: ConstraintConfig = ConstraintConfig(),
    path: PathConfig = PathConfig(),
) -> ScoredTracks:
    """The F0 of every voice by its notes where they can be believed.

    Args:
        salience: ``[bins, frames]``, every 16 ms.
        own_f0_hz: ``[J, frames]`` by the networks, 0 where unvoiced.
        tuning_semitones: ``[frames]``, of the recording.
        voices: the notes of each voice.
        covered: bool ``[frames]``: where the recording is in the score.
        model: for the pitch grid and the frames.
        config: what is believed.
        path: what the course of F0 costs.
    """
    frame_s = model.audio.hop_s
    frames = salience.shape[1]
    notes = [_note_of_frame(voice, frames) for voice in voices]
    believed = covered & ~_poor_stretches(voices, notes, frame_s, config)
    believed &= ~_unexplained_stretches(salience, tuning_semitones, voices, model, config)
    is_silent = _silences(salience, frame_s, config)
    targets = np.stack(
        [
            np.where(note >= 0, voice.pitch[note], np.nan) + tuning_semitones
            for voice, note in zip(voices, notes, strict=True)
        ]
    )
    paths = singing_paths(salience, targets, model.hcqt, frame_s, path)
    f0, by_score, used = own_f0_hz.astype(np.float32), np.zeros(own_f0_hz.shape, bool), []
    for number, (voice, note) in enumerate(zip(voices, notes, strict=True)):
        mine = believed[number]
        sung = mine & (note >= 0) & ~is_silent
        track = np.zeros(frames, np.float32)
        near = _on_path(salience, paths[number], targets[number], note, model, config)
        track[sung] = near[sung]
        others = np.delete(targets, number, axis=0)
        denied = _contradicted(salience, own_f0_hz[number], track, note, others, model, config)
        mine = mine & ~denied
        f0[number, mine] = track[mine]
        by_score[number] = mine
        spans = zip(voice.onset, voice.offset, strict=True)
        shares = [by_score[number, a:b].mean() if a != NOWHERE and b > a else 0 for a, b in spans]
        used.append(voice.is_followed & (np.asarray(shares) > 0.5))
    return ScoredTracks(f0, by_score, tuple(used))


def _note_of_frame(voice: AlignedNotes, frames: int) -> np.ndarray:
    """Which note of its own line a voice sings in every frame; -1 in rests."""
    note = np.full(frames, -1)
    for n in np.flatnonzero(voice.is_followed & (voice.onset != NOWHERE)):
        note[voice.onset[n] : voice.offset[n]] = n
    return note


def _poor_stretches(
    voices: Sequence[AlignedNotes],
    notes: Sequence[np.ndarray],
    frame_s: float,
    config: ConstraintConfig,
) -> np.ndarray:
    """Where notes are heard little more than by chance, bool ``[J, frames]``."""
    known = np.stack([note >= 0 for note in notes])
    confidence = np.stack(
        [
            np.where(note >= 0, voice.confidence[note], 0)
            for voice, note in zip(voices, notes, strict=True)
        ]
    )
    together = _mean_of_known(confidence.sum(axis=0), known.sum(axis=0), config.stretch_s / frame_s)
    alone = _mean_of_known(confidence, known, config.voice_stretch_s / frame_s)
    poor: np.ndarray = (together < config.poor_confidence) | (alone < config.poor_voice_confidence)
    return poor


def _unexplained_stretches(
    salience: np.ndarray,
    tuning_semitones: np.ndarray,
    voices: Sequence[AlignedNotes],
    model: ModelConfig,
    config: ConstraintConfig,
) -> np.ndarray:
    """Where much of what is clearly heard is no note of any voice, bool ``[frames]``.

    Wrong notes are often heard too, since some other voice sings them; then the right ones are
    left over.
    """
    grid = model.hcqt
    reach = round(SAME_SEMITONES * grid.bins_per_octave / SEMITONES)
    is_note = np.zeros(salience.shape, bool)
    for voice in voices:
        for n in np.flatnonzero(voice.onset != NOWHERE):
            span = slice(voice.onset[n], voice.offset[n])
            midi = voice.pitch[n] + tuning_semitones[span].mean()
            place = round(float(midi_to_bin(midi, grid)))
            is_note[max(place - reach, 0) : max(place + reach + 1, 0), span] = True
    clear = np.where(salience >= config.clear_salience, salience, 0)
    total, explained = clear.sum(axis=0), np.where(is_note, clear, 0).sum(axis=0)
    share = _mean_of_known(explained, total, config.stretch_s / model.audio.hop_s)
    poor: np.ndarray = share < config.least_explained
    return poor


def _mean_of_known(total: np.ndarray, count: np.ndarray, frames: float) -> np.ndarray:
    """Running mean over frames in which anything is known; 1 where nothing is for so long."""
    from scipy.ndimage import uniform_filter1d

    size = max(1, round(frames))
    above = uniform_filter1d(total.astype(float), size, mode="constant", axis=-1)
    below = uniform_filter1d(count.astype(float), size, mode="constant", axis=-1)
    mean: np.ndarray = np.where(below > 0.05, above / np.maximum(below, 1e-9), 1.0)
    return mean


def _silences(salience: np.ndarray, frame_s: float, config: ConstraintConfig) -> np.ndarray:
    """Frames of pauses in which no voice is heard."""
    from scipy.ndimage import binary_opening

    quiet = salience.max(axis=0) < config.least_salience
    silent: np.ndarray = binary_opening(quiet, np.ones(max(1, round(config.breath_s / frame_s))))
    return silent


def _on_path(
    salience: np.ndarray,
    path: np.ndarray,
    target: np.ndarray,
    note: np.ndarray,
    model: ModelConfig,
    config: ConstraintConfig,
) -> np.ndarray:
    """The F0 of a path of bins ``[frames]`` in Hz; what is not heard is filled in."""
    grid, mean_bins = model.hcqt, model.f0.mean_bins
    place = midi_to_bin(np.where(np.isnan(target), 69.0, target), grid)
    columns = np.arange(salience.shape[1])
    offsets = np.arange(-mean_bins, mean_bins + 1)[:, None]
    around = path + offsets
    is_there = (around >= 0) & (around < grid.bins)
    values = salience[np.clip(around, 0, grid.bins - 1), columns] * is_there
    exact = path + (offsets * values).sum(axis=0) / np.maximum(values.sum(axis=0), 1e-9)
    is_heard = (salience[path, columns] >= config.least_salience) & ~np.isnan(target)
    deviation = _filled(exact - place, is_heard, note)
    hz: np.ndarray = grid.fmin_hz * 2.0 ** ((place + deviation) / grid.bins_per_octave)
    return hz.astype(np.float32)


def _filled(deviation: np.ndarray, is_heard: np.ndarray, note: np.ndarray) -> np.ndarray:
    """Deviations from a note where it is heard, between them in lines; 0 in notes never heard."""
    filled = np.zeros(len(deviation))
    for first, last in _runs(note):
        heard = first + np.flatnonzero(is_heard[first:last])
        if note[first] >= 0 and len(heard):
            filled[first:last] = np.interp(np.arange(first, last), heard, deviation[heard])
    return filled


def _runs(note: np.ndarray) -> Iterator[tuple[int, int]]:
    """First frame of every note and rest, and the one after its last."""
    edges = np.flatnonzero(np.diff(note)) + 1
    return zip([0, *edges], [*edges, len(note)], strict=True)


def _contradicted(
    salience: np.ndarray,
    own_hz: np.ndarray,
    track_hz: np.ndarray,
    note: np.ndarray,
    others: np.ndarray,
    model: ModelConfig,
    config: ConstraintConfig,
) -> np.ndarray:
    """Frames of notes and rests in which a voice clearly sings what its score does not have.

    Its own track must be salient there, be nobody else's note, and be so in more than half of the
    note or rest.
    """
    own = _salience_at(salience, own_hz, model)
    mine = _salience_at(salience, track_hz, model)
    midi = bin_to_midi(_bins(own_hz, model), model.hcqt)
    with np.errstate(invalid="ignore"):
        is_other = (np.abs(midi - others) < SAME_SEMITONES).any(axis=0)
        is_same = np.abs(midi - bin_to_midi(_bins(track_hz, model), model.hcqt)) < SAME_SEMITONES
    strange = (own_hz > 0) & ~is_other & ~is_same
    denied = np.zeros(len(note), bool)
    for first, last in _runs(note):
        span = slice(first, last)
        if strange[span].mean() > 0.5:
            here = own[span][strange[span]].mean()
            denied[span] = here > config.contradiction and here > 2 * mine[span].mean()
    return denied


def _bins(f0_hz: np.ndarray, model: ModelConfig) -> np.ndarray:
    """Places on the pitch grid; NaN where unvoiced."""
    grid = model.hcqt
    hz = np.where(f0_hz > 0, f0_hz, np.nan)
    place: np.ndarray = grid.bins_per_octave * np.log2(hz / grid.fmin_hz)
    return place


def _salience_at(salience: np.ndarray, f0_hz: np.ndarray, model: ModelConfig) -> np.ndarray:
    """The salience of a track, 0 where unvoiced."""
    place = np.nan_to_num(_bins(f0_hz, model), nan=-1.0)
    bins = np.rint(place).astype(int)
    is_there = (bins >= 0) & (bins < len(salience))
    value: np.ndarray = (
        salience[np.clip(bins, 0, len(salience) - 1), np.arange(len(bins))] * is_there
    )
    return value
