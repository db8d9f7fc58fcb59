"""What a salience says for and against each pitch, at the tuning of the recording."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from umss_jax.config import HcqtConfig
from umss_jax.scores.config import AlignmentConfig

SAME_SEMITONES = 0.7
"""Pitches that are nearer are of one note."""
SEMITONES = 12
_LOWEST, _HIGHEST = 0, 127


class Evidence(NamedTuple):
    """Of a recording, on frames of 16 ms."""

    heard: np.ndarray
    """float32 ``[pitches, frames]``: salience at the pitches of MIDI 0 to 127, in [0, 1]."""
    tuning_semitones: np.ndarray
    """float64 ``[frames]``: how far the recording is above 440 Hz; it may drift."""


def gather_evidence(
    salience: np.ndarray, grid: HcqtConfig, config: AlignmentConfig, frame_s: float
) -> Evidence:
    """The salience at every pitch of MIDI.

    Args:
        salience: ``[bins, frames]`` in [0, 1].
        grid: of the bins.
        config: of the alignment.
        frame_s: distance of the frames.
    """
    # In functions, since it takes a quarter of a second that only those with a score need.
    from scipy.ndimage import maximum_filter1d

    tuning = tuning_semitones(salience, grid, config, frame_s)
    near = maximum_filter1d(salience, 2 * config.pitch_bins + 1, axis=0, mode="constant")
    place = np.arange(_LOWEST, _HIGHEST + 1)[:, None] + tuning
    bins = np.rint(midi_to_bin(place, grid)).astype(int)
    is_there = (bins >= 0) & (bins < grid.bins)
    columns = np.arange(salience.shape[1])
    heard = np.zeros(bins.shape, np.float32)
    for pitch in np.flatnonzero(is_there.any(axis=1)):
        row = near[np.clip(bins[pitch], 0, grid.bins - 1), columns]
        heard[pitch] = row * is_there[pitch]
    return Evidence(heard, tuning)


def tuning_semitones(
    salience: np.ndarray, grid: HcqtConfig, config: AlignmentConfig, frame_s: float
) -> np.ndarray:
    """How far pitches lie above the equal temperament of 440 Hz, ``[frames]``.

    The mean direction of all salience on a circle of one semitone, over some seconds, followed
    without leaps: a choir that sinks by more than half a semitone is not taken for one that rose.
    """
    from scipy.ndimage import uniform_filter1d

    semitones = bin_to_midi(np.arange(grid.bins), grid)
    circle = np.exp(2j * np.pi * semitones)
    weights = np.square(salience, dtype=np.float32)
    direction = circle.real.astype(np.float32) @ weights + 1j * (
        circle.imag.astype(np.float32) @ weights
    )
    frames = max(1, min(salience.shape[1], round(config.tuning_s / frame_s)))
    mean = uniform_filter1d(direction.real, frames, mode="nearest") + 1j * uniform_filter1d(
        direction.imag, frames, mode="nearest"
    )
    silent = np.abs(mean) < 1e-9
    if silent.all():
        return np.zeros(len(mean))
    known = np.flatnonzero(~silent)
    angle = np.unwrap(np.angle(mean[known])) / (2 * np.pi)
    # A whole number of semitones is the transposition's.
    angle -= np.rint(np.median(angle))
    return np.interp(np.arange(len(mean)), known, angle)


def midi_to_bin(midi: np.ndarray, grid: HcqtConfig) -> np.ndarray:
    """Places on the pitch grid, in bins, of pitches of MIDI."""
    octaves = (midi - 69) / SEMITONES + np.log2(440.0 / grid.fmin_hz)
    return grid.bins_per_octave * octaves


def bin_to_midi(place: np.ndarray, grid: HcqtConfig) -> np.ndarray:
    """Pitches of MIDI of places on the pitch grid, in bins."""
    return 69 + SEMITONES * (place / grid.bins_per_octave - np.log2(440.0 / grid.fmin_hz))
