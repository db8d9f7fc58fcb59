"""The course of F0 near notes, beside saliences whose voices' pitches are known."""

import itertools

import numpy as np
import pytest

from umss_jax.config import HcqtConfig
from umss_jax.scores.config import PathConfig
from umss_jax.scores.evidence import bin_to_midi, midi_to_bin
from umss_jax.scores.path import singing_paths

GRID = HcqtConfig()
FRAME_S = 0.016


def blobs(*lines):
    """A salience ``[bins, frames]`` of lines (pitches of MIDI ``[frames]``, level)."""
    bins = np.arange(GRID.bins)[:, None]
    return np.max(
        [
            level * np.exp(-0.5 * np.square((bins - midi_to_bin(np.asarray(midi), GRID)) / 1.2))
            for midi, level in lines
        ],
        axis=0,
    )


def sung(salience, targets, **numbers):
    targets = np.asarray(targets, float)
    path = singing_paths(salience, targets, GRID, FRAME_S, PathConfig(**numbers))
    return bin_to_midi(path, GRID)


def cheapest(salience, target, config):
    """The same by trying every course of one voice on a few bins, one note throughout."""
    bins = range(salience.shape[0])
    midi = bin_to_midi(np.arange(GRID.bins), GRID)
    per_step = config.step_cost * 12 / GRID.bins_per_octave
    best = None
    for path in itertools.product(bins, repeat=salience.shape[1]):
        away = np.abs(midi[list(path)] - target)
        if (away > config.reach_semitones).any():
            continue
        cost = config.note_cost * away.sum() + per_step * np.abs(np.diff(path)).sum()
        cost -= sum(salience[one, frame] for frame, one in enumerate(path))
        if best is None or cost < best[0]:
            best = cost, path
    return best[1]


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_cheapest_of_all_courses(seed):
    random = np.random.default_rng(seed)
    config = PathConfig(note_cost=0.3, step_cost=0.5, reach_semitones=0.7)
    few = random.random((7, 5)).astype(np.float32)
    target = float(bin_to_midi(np.array(3), GRID))
    salience = np.zeros((GRID.bins, 5), np.float32)
    salience[:7] = few
    found = singing_paths(salience, np.full((1, 5), target), GRID, FRAME_S, config)[0]
    assert tuple(found) == cheapest(few, target, config)


def test_a_glide_between_two_notes_is_followed():
    """From 60 to 67 in 0.2 s, which frames that look a semitone around their note cannot see."""
    truth = np.interp(np.arange(60), [24, 36], [60, 67])
    found = sung(blobs((truth, 0.8)), [np.where(np.arange(60) < 30, 60.0, 67.0)])[0]
    assert np.abs(found - truth).max() < 0.3


def test_a_late_score_does_not_make_the_voice_late():
    truth = np.where(np.arange(80) < 37, 60.0, 64.0)
    for late in (-8, 8):
        found = sung(blobs((truth, 0.8)), [np.where(np.arange(80) < 37 + late, 60.0, 64.0)])[0]
        assert np.abs(found - truth).max() < 0.3


def test_a_scoop_before_the_first_note_of_a_phrase_is_followed():
    truth = np.interp(np.arange(60), [10, 20], [58.5, 60])
    target = np.where(np.arange(60) < 10, np.nan, 60.0)
    found = sung(blobs((truth, 0.8)), [target])[0]
    assert np.abs(found - truth)[10:].max() < 0.3


def test_another_voice_near_by_is_left_to_it():
    """Soft, a semitone and a half below one that is loud."""
    low, high = np.full(50, 60.0), np.full(50, 61.5)
    found = sung(blobs((low, 0.3), (high, 0.9)), [high, low])
    assert np.abs(found[0] - high).max() < 0.15
    assert np.abs(found[1] - low).max() < 0.15


def test_voices_may_cross():
    up, down = np.where(np.arange(80) < 40, 60.0, 67.0), np.where(np.arange(80) < 40, 67.0, 60.0)
    found = sung(blobs((up, 0.7), (down, 0.8)), [up, down])
    assert np.abs(found[0] - up).max() < 0.15
    assert np.abs(found[1] - down).max() < 0.15


def test_what_is_out_of_reach_is_not_sung():
    truth = np.full(50, 63.0)
    found = sung(blobs((truth, 1.0)), [np.full(50, 60.0)], reach_semitones=2.0)[0]
    assert found.max() <= 62.0


@pytest.mark.parametrize("targets", [np.full((1, 5), np.nan), np.full((2, 1), 60.0)])
def test_nothing_to_sing_and_one_frame(targets):
    found = singing_paths(np.zeros((GRID.bins, targets.shape[1])), targets, GRID, FRAME_S)
    assert found.shape == targets.shape
    assert ((found >= 0) & (found < GRID.bins)).all()


def test_notes_off_the_grid_stay_on_it():
    targets = np.array([np.full(5, 10.0), np.full(5, 120.0), np.full(5, 60.0)])
    found = singing_paths(np.zeros((GRID.bins, 5)), targets, GRID, FRAME_S)
    assert ((found >= 0) & (found < GRID.bins)).all()
