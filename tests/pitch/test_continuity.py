"""Heuristic assignment: equal to the recorded 2022 baseline, peak for peak and frame for frame."""

import time

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from umss_jax.config import HcqtConfig
from umss_jax.pitch.continuity import (
    assign_by_continuity,
    heuristic_f0_synth,
    multi_f0_peaks,
)
from umss_jax.pitch.grid import bin_frequencies_hz


def test_bins_are_those_of_the_grid():
    salience = np.zeros((120, 20))
    salience[60] = 0.9
    grid = HcqtConfig(fmin_hz=55.0, bins=120)
    f0_hz = heuristic_f0_synth(salience, 15, grid=grid)
    np.testing.assert_allclose(f0_hz.max(axis=0), 110.0, rtol=1e-6)


def test_equals_the_reference(golden):
    recorded = golden("heuristic_assignment")
    salience = golden("salience_assignment_f0")["salience_nnaudio"]
    peaks = multi_f0_peaks(salience)
    np.testing.assert_array_equal(peaks.astype(np.float32), recorded["multi_f0_hz"])
    # Every pitch is that of a bin, whose power of two the recording's processor rounded otherwise.
    of_bins = np.concatenate([[0.0], bin_frequencies_hz()])
    bins = np.abs(recorded["assigned_f0_hz_344"][..., None] - of_bins).argmin(axis=-1)
    np.testing.assert_array_max_ulp(of_bins[bins], recorded["assigned_f0_hz_344"], maxulp=1)
    np.testing.assert_array_equal(assign_by_continuity(peaks).T, of_bins[bins])
    f0_hz_synth, expected = heuristic_f0_synth(salience).T, recorded["assigned_f0_hz_250"]
    np.testing.assert_array_equal(f0_hz_synth > 0, expected > 0)
    # The recorded interpolation takes its positions in float32: steep edges differ by 4e-5.
    np.testing.assert_allclose(f0_hz_synth, expected, rtol=1e-4)


def test_an_excerpt_takes_less_than_50_ms(golden):
    salience = golden("salience_assignment_f0")["salience_nnaudio"]
    heuristic_f0_synth(salience)
    durations = []
    for _ in range(5):
        start = time.process_time()
        heuristic_f0_synth(salience)
        durations.append(time.process_time() - start)
    assert min(durations) < 0.05


def test_peaks_equal_scipy():
    salience = np.random.default_rng(0).random((360, 50)).round(2)  # rounding makes plateaux
    expected = np.zeros(salience.shape, bool)
    expected[scipy.signal.argrelmax(salience, axis=0)] = True
    expected &= salience >= 0.9
    peaks = multi_f0_peaks(salience, 0.9)
    frequencies = bin_frequencies_hz()
    for t in range(50):
        np.testing.assert_array_equal(peaks[t][peaks[t] > 0], frequencies[expected[:, t]])


def test_no_peaks_give_silence():
    peaks = multi_f0_peaks(np.zeros((360, 9)))
    assert peaks.shape == (9, 1)
    np.testing.assert_array_equal(assign_by_continuity(peaks), np.zeros((4, 9)))
    assert heuristic_f0_synth(np.zeros((360, 344))).shape == (4, 250)


def test_a_rest_of_one_voice_leaves_the_others_where_they_were():
    frame = np.array([110.0, 165.0, 220.0, 330.0])
    multi = np.tile(frame, (30, 1))
    multi[10:20, 1] = 0.0  # the tenor rests
    expected = np.tile(frame[::-1, None], (1, 30))
    expected[2, 10:20] = 0.0
    np.testing.assert_array_equal(assign_by_continuity(multi), expected)


def test_a_spurious_f0_is_left_out():
    frame = np.array([110.0, 165.0, 220.0, 330.0])
    multi = np.zeros((9, 5))
    multi[:, :4] = frame
    multi[4, 4] = 700.0
    np.testing.assert_array_equal(assign_by_continuity(multi), np.tile(frame[::-1, None], (1, 9)))


def test_what_a_voice_sang_before_a_rest_is_remembered():
    frame = np.array([110.0, 165.0, 220.0, 330.0])
    multi = np.zeros((12, 4))
    multi[0] = frame
    multi[1:5, :1] = 110.0
    multi[5:9, 0] = 331.0  # nearest to what the soprano sang four frames ago
    assigned = assign_by_continuity(multi)
    np.testing.assert_array_equal(assigned[0, 5:9], 331.0)
    np.testing.assert_array_equal(assigned[3, 1:5], 110.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.floats(60, 1200), max_size=10, unique=True), min_size=1, max_size=12))
def test_nothing_is_invented_and_nothing_is_lost(frames):
    multi = np.zeros((len(frames), 10))
    for row, hz in zip(multi, frames, strict=True):
        row[: len(hz)] = hz
    assigned = assign_by_continuity(multi)
    assert assigned.shape == (4, len(frames))
    for n, hz in enumerate(frames):
        sung = assigned[:, n][assigned[:, n] > 0]
        assert len(sung) == min(4, len(hz))
        assert len(set(sung)) == len(sung)
        assert set(sung) <= set(hz)
        if len(hz) == 4:
            np.testing.assert_array_equal(assigned[:, n], sorted(hz, reverse=True))


def test_wrong_shapes_are_errors():
    with pytest.raises(ValueError, match="expected \\[360, frames\\]"):
        multi_f0_peaks(np.zeros((2, 360, 5)))
    with pytest.raises(ValueError, match="expected \\[frames, F0s\\]"):
        assign_by_continuity(np.zeros(5))


def test_peaks_between_bins():
    """Two pitches a fifth apart, blurred by a Gaussian of one bin, off their bins."""
    bins, grid = np.arange(360.0), HcqtConfig()
    places = np.array([[100.3, 135.6], [99.8, 134.7], [101.0, 136.0]])
    salience = np.exp(-0.5 * (bins[:, None, None] - places) ** 2).sum(axis=2)
    found = multi_f0_peaks(salience, 0.5, grid, mean_bins=2)
    expected = grid.fmin_hz * 2 ** (places / grid.bins_per_octave)
    assert np.abs(1200 * np.log2(found / expected)).max() < 3
    on_bins = multi_f0_peaks(salience, 0.5, grid)
    assert np.abs(1200 * np.log2(on_bins / expected)).max() > 6
