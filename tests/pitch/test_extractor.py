"""F0 extractor: peaks, thresholds, the copied gradient, and the change of frame rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from umss_jax.config import F0Config, HcqtConfig
from umss_jax.pitch.extractor import (
    extract_f0,
    f0_to_synth_frames,
    f0_within_notes,
    middle_frames,
    nearest_frames,
)
from umss_jax.pitch.grid import bin_frequencies_hz

CONFIG = F0Config()


@pytest.fixture(scope="module")
def recorded(golden):
    return golden("salience_assignment_f0")


def test_pitch_grid_and_thresholds(recorded):
    np.testing.assert_allclose(bin_frequencies_hz(), recorded["freq_grid_hz"], rtol=1e-12)
    np.testing.assert_allclose(CONFIG.thresholds, recorded["thresholds"], rtol=1e-7)
    assert CONFIG.multi_f0_threshold == recorded["multi_f0_threshold"]


def test_f0_equals_the_recorded_one(recorded):
    """In every frame whose top two bins differ by more than 1e-3; here in the others as well."""
    assigned = recorded["assigned_nnaudio"]
    tracks = extract_f0(jnp.asarray(assigned)[None])
    top = np.sort(assigned, axis=1)[:, -2:]
    clear = top[:, 1] - top[:, 0] > 1e-3
    away = np.abs(top[:, 1] - recorded["thresholds"][:, None]) > 1e-6
    assert (clear & away).mean() > 0.9
    difference = np.abs(np.asarray(tracks.f0_hz_cqt[0]) - recorded["f0_hz_344"])
    assert difference[clear & away].max() < 1e-3
    assert np.mean(difference > 1e-3) == 0.0


def test_binary_map_equals_the_recorded_one(recorded, golden):
    maps = golden("f0_losses")
    binary = np.asarray(extract_f0(jnp.asarray(recorded["assigned_nnaudio"])[None]).binary[0])
    voiced = maps["binary_maps_voiced"]
    np.testing.assert_array_equal(binary.sum(axis=1), voiced)
    np.testing.assert_array_equal(binary.argmax(axis=1)[voiced], maps["binary_maps_bins"][voiced])


def test_f0_at_250_frames_equals_the_recorded_one(recorded):
    got = f0_to_synth_frames(jnp.asarray(recorded["f0_hz_344"]), 250, CONFIG.floor_hz)
    # A rounding of float32 positions, at borders of hundreds of Hz.
    np.testing.assert_allclose(got, recorded["f0_hz_250"], rtol=1e-6, atol=1e-3)


def test_f0_at_250_frames_equals_pytorch():
    torch = pytest.importorskip("torch")
    f0_hz = np.random.default_rng(0).uniform(60, 900, (4, 344)).astype(np.float32)
    f0_hz[:, 100:150] = 0.0
    floored = torch.from_numpy(f0_hz).clamp(min=1e-5)
    expected = torch.nn.functional.interpolate(
        floored[None, :, :, None], (250, 1), mode="bilinear", align_corners=False
    )[0, :, :, 0].numpy()
    got = f0_to_synth_frames(jnp.asarray(f0_hz), 250, CONFIG.floor_hz)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=2e-3)


def interpolate_float64(values, target):
    at = (np.arange(target) + 0.5) * len(values) / target - 0.5
    return np.interp(at, np.arange(len(values)), values)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 400), st.integers(1, 400), st.integers(0, 2**32 - 1))
def test_change_of_rate_is_half_pixel_linear_interpolation(source, target, seed):
    rng = np.random.default_rng(seed)
    f0_hz = (rng.uniform(60, 900, source) * (rng.uniform(size=source) > 0.2)).astype(np.float32)
    got = f0_to_synth_frames(jnp.asarray(f0_hz), target, CONFIG.floor_hz)
    expected = interpolate_float64(np.maximum(f0_hz.astype(np.float64), 1e-5), target)
    # Float32 positions up to 400 are exact to 3e-5 of a frame; a border may leap by 900 Hz.
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=0.06)
    assert np.asarray(got).min() >= np.float32(1e-5) * (1 - 1e-6)


def test_constant_f0_stays():
    got = f0_to_synth_frames(jnp.full((2, 3, 344), 440.0), 250, CONFIG.floor_hz)
    assert got.shape == (2, 3, 250)
    np.testing.assert_allclose(got, 440.0, rtol=2e-7)


@settings(max_examples=40, deadline=None)
# A few sizes: each is compiled anew.
@given(
    st.sampled_from([2, 57, 344, 400]), st.sampled_from([1, 250, 399]), st.integers(0, 2**32 - 1)
)
def test_within_notes_no_pitch_is_made_up(source, target, seed):
    """A frame is linear between two of one note; else it is one that was there."""
    rng = np.random.default_rng(seed)
    note = np.repeat(rng.choice([0.0, 220.0, 330.0, 440.0], source), 3)[:source]
    f0_hz = (note * 2 ** rng.uniform(-0.02, 0.02, source)).astype(np.float32)
    got, other = f0_within_notes(jnp.stack([f0_hz, 2 * f0_hz]), target, CONFIG.floor_hz)
    np.testing.assert_allclose(other, np.where(got > 1, 2 * got, got), rtol=1e-6)
    got = np.asarray(got)
    floored = np.maximum(f0_hz.astype(np.float64), CONFIG.floor_hz)
    at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.floor(at).astype(int)
    pair = np.stack([floored[low], floored[np.minimum(low + 1, source - 1)]])
    is_joined = np.abs(np.log2(pair[1] / pair[0])) < 1 / 12
    straight = interpolate_float64(floored, target)
    np.testing.assert_allclose(got[is_joined], straight[is_joined], rtol=2e-5)
    nearest = np.where(at - low < 0.5, *pair)
    clear = ~is_joined & (np.abs(at - low - 0.5) > 1e-3)
    np.testing.assert_allclose(got[clear], nearest[clear], rtol=1e-6)


def test_within_notes_the_gradient_is_that_of_the_frames_taken():
    f0_hz = jnp.asarray([0.0, 220.0, 221.0, 440.0, 0.0, 300.0, 301.0, 302.0], jnp.float32)
    check_grads(lambda f: f0_within_notes(f, 5, CONFIG.floor_hz), (f0_hz + 0.25,), 1, ["rev"],
                eps=1e-2, atol=1e-2, rtol=1e-2)  # fmt: skip


def test_gradient_at_synth_frames():
    """The transpose of the interpolation; none through the floor of unvoiced frames."""
    f0_hz = np.full(344, 300.0, np.float32)
    f0_hz[40:60] = 0.0
    cotangent = np.random.default_rng(1).normal(size=250).astype(np.float32)
    _, pull_back = jax.vjp(
        lambda f: f0_to_synth_frames(f, 250, CONFIG.floor_hz), jnp.asarray(f0_hz)
    )
    (slope,) = pull_back(jnp.asarray(cotangent))
    matrix = np.stack([interpolate_float64(unit, 250) for unit in np.eye(344)], axis=1)
    expected = matrix.T @ cotangent.astype(np.float64)
    expected[40:60] = 0.0
    np.testing.assert_allclose(slope, expected, rtol=0, atol=2e-4)
    np.testing.assert_array_equal(slope[40:60], 0.0)


saliences = st.integers(0, 2**32 - 1).map(
    lambda seed: (
        np.random.default_rng(seed).uniform(0, 1, (2, 4, 360, 5))
        * np.random.default_rng(seed + 1).choice([0.1, 0.2, 1.0], (2, 4, 1, 5))
    ).astype(np.float32)
)


@settings(max_examples=25, deadline=None)
@given(saliences)
def test_peak_and_threshold_of_every_frame(assigned):
    tracks = extract_f0(jnp.asarray(assigned))
    frequencies_hz = bin_frequencies_hz()
    for batch, voice, frame in np.ndindex(2, 4, 5):
        column = assigned[batch, voice, :, frame]
        peak = int(np.argmax(column))
        voiced = column[peak] >= np.float32(CONFIG.thresholds[voice])
        expected = np.zeros(360)
        expected[peak] = voiced
        np.testing.assert_array_equal(tracks.binary[batch, voice, :, frame], expected)
        assert float(tracks.f0_hz_cqt[batch, voice, frame]) == (
            np.float32(frequencies_hz[peak]) if voiced else 0.0
        )


def test_threshold_is_reached_by_equality():
    assigned = np.zeros((1, 4, 360, 2), np.float32)
    for voice, threshold in enumerate(CONFIG.thresholds):
        assigned[0, voice, 100, 0] = np.float32(threshold)
        assigned[0, voice, 100, 1] = np.nextafter(np.float32(threshold), np.float32(0))
    f0_hz = np.asarray(extract_f0(jnp.asarray(assigned)).f0_hz_cqt)
    np.testing.assert_allclose(f0_hz[0, :, 0], bin_frequencies_hz()[100], rtol=1e-6)
    np.testing.assert_array_equal(f0_hz[0, :, 1], 0.0)


def test_one_bin_also_where_frequencies_share_their_integer_part():
    """Below 86 Hz neighbouring bins do; the F0 must not double there."""
    frequencies_hz = bin_frequencies_hz()
    twins = np.flatnonzero(np.floor(frequencies_hz[1:]) == np.floor(frequencies_hz[:-1]))
    assert twins.size > 0
    assigned = np.zeros((1, 4, 360, twins.size), np.float32)
    assigned[:, :, twins, np.arange(twins.size)] = 0.9
    tracks = extract_f0(jnp.asarray(assigned))
    np.testing.assert_array_equal(np.asarray(tracks.binary).sum(axis=2), 1.0)
    np.testing.assert_allclose(tracks.f0_hz_cqt[0, 0], frequencies_hz[twins], rtol=1e-6)


@settings(max_examples=15, deadline=None)
@given(saliences)
def test_straight_through_rule_exactly(assigned):
    """Every bin of a frame receives dF0 unscaled, voiced or not; the binary map passes nothing."""
    cotangent = np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32)
    primal, pull_back = jax.vjp(lambda a: extract_f0(a).f0_hz_cqt, jnp.asarray(assigned))
    (slope,) = pull_back(jnp.asarray(cotangent))
    expected = np.broadcast_to(cotangent[:, :, None, :], assigned.shape)
    np.testing.assert_array_equal(slope, expected)
    np.testing.assert_array_equal(primal, extract_f0(jnp.asarray(assigned)).f0_hz_cqt)
    _, pull_back = jax.vjp(lambda a: extract_f0(a).binary, jnp.asarray(assigned))
    np.testing.assert_array_equal(pull_back(jnp.ones(assigned.shape))[0], 0.0)


def test_straight_through_equals_the_written_rule():
    """F0 = Σ_i (S^a_i + stop_gradient(S^b_i f_i − S^a_i)): the same values, the same gradient."""
    assigned = jnp.asarray(
        np.random.default_rng(3).uniform(0, 0.4, (1, 4, 360, 6)).astype(np.float32)
    )
    frequencies_hz = jnp.asarray(bin_frequencies_hz(), jnp.float32)[None, None, :, None]
    binary = extract_f0(assigned).binary

    def written(a):
        return jnp.sum(a + jax.lax.stop_gradient(binary * frequencies_hz - a), axis=2)

    cotangent = jnp.asarray(np.random.default_rng(4).normal(size=(1, 4, 6)), jnp.float32)
    value, pull_back = jax.vjp(lambda a: extract_f0(a).f0_hz_cqt, assigned)
    expected, expected_pull_back = jax.vjp(written, assigned)
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(pull_back(cotangent)[0], expected_pull_back(cotangent)[0])


def test_grid_and_thresholds_are_settings():
    grid = HcqtConfig(bins=10, bins_per_octave=5, fmin_hz=100.0)
    assigned = np.zeros((1, 1, 10, 1), np.float32)
    assigned[0, 0, 5, 0] = 0.5
    tracks = extract_f0(jnp.asarray(assigned), F0Config(thresholds=(0.5,)), grid)
    assert float(tracks.f0_hz_cqt[0, 0, 0]) == pytest.approx(200.0)
    tracks = extract_f0(jnp.asarray(assigned), F0Config(thresholds=(0.51,)), grid)
    assert float(tracks.f0_hz_cqt[0, 0, 0]) == 0.0


@pytest.mark.parametrize(("source", "target"), [(344, 250), (86, 63), (1, 5), (5, 1)])
def test_nearest_frames(source, target):
    centres = (np.arange(source) + 0.5) / source
    wanted = (np.arange(target) + 0.5) / target
    distance = np.abs(centres[nearest_frames(source, target)] - wanted)
    np.testing.assert_allclose(distance, np.abs(centres[:, None] - wanted).min(axis=0), atol=1e-12)


@pytest.mark.parametrize(("source", "target"), [(344, 250), (86, 63), (1, 5), (5, 1)])
def test_the_middle_of_a_hop_is_heard_in_the_frame_centred_there(source, target):
    centres, middles = np.arange(source) / source, (np.arange(target) + 0.5) / target
    distance = np.abs(centres[middle_frames(source, target)] - middles)
    np.testing.assert_allclose(distance, np.abs(centres[:, None] - middles).min(axis=0), atol=1e-12)


@pytest.mark.parametrize("offset", [-0.45, -0.2, 0.0, 0.3, 0.49])
@pytest.mark.parametrize("bin_", [0, 1, 120, 358, 359])
def test_f0_lies_between_bins_where_the_salience_does(bin_, offset):
    """A salience blurred by a Gaussian of one bin; at the ends of the grid part is missing."""
    grid, bins = HcqtConfig(), np.arange(360.0)
    salience = np.exp(-0.5 * (bins - bin_ - offset) ** 2).astype(np.float32)[None, :, None]
    tracks = extract_f0(
        jnp.asarray(0.9 * salience)[:, None], F0Config(mean_bins=2, thresholds=(0.1,)), grid
    )
    window = np.clip(np.arange(bin_ - 2, bin_ + 3), 0, 359)
    inside = np.unique(window)
    weights = salience[0, inside, 0].astype(np.float64)
    place = np.sum(inside * weights) / np.sum(weights)
    expected = grid.fmin_hz * 2 ** (place / grid.bins_per_octave)
    assert float(tracks.f0_hz_cqt[0, 0, 0]) == pytest.approx(expected, rel=1e-5)
    if 2 <= bin_ <= 357:
        true_hz = grid.fmin_hz * 2 ** ((bin_ + offset) / grid.bins_per_octave)
        cents = 1200 * np.log2(float(tracks.f0_hz_cqt[0, 0, 0]) / true_hz)
        assert abs(cents) < 3
    assert int(tracks.binary.sum()) == 1


def test_f0_between_bins_keeps_voicing_peaks_and_gradient():
    """What is voiced, the binary map and the copied gradient do not depend on it."""
    rng = np.random.default_rng(3)
    assigned = jnp.asarray(rng.uniform(0, 0.4, (1, 4, 360, 5)).astype(np.float32))
    salience = jnp.asarray(rng.uniform(0, 1, (1, 360, 5)).astype(np.float32))
    fine = F0Config(mean_bins=2)
    plain, between = extract_f0(assigned), extract_f0(assigned, fine, HcqtConfig(), salience)
    np.testing.assert_array_equal(plain.binary, between.binary)
    np.testing.assert_array_equal(plain.f0_hz_cqt > 0, between.f0_hz_cqt > 0)
    ratio = np.asarray(between.f0_hz_cqt / jnp.maximum(plain.f0_hz_cqt, 1e-9))
    voiced = np.asarray(plain.f0_hz_cqt) > 0
    assert np.all(np.abs(60 * np.log2(ratio[voiced])) <= 2)
    weights = jnp.asarray(rng.normal(size=(1, 4, 5)).astype(np.float32))

    def total(x, config):
        return jnp.sum(weights * extract_f0(x, config, HcqtConfig(), salience).f0_hz_cqt)

    np.testing.assert_array_equal(
        jax.grad(total)(assigned, fine), jax.grad(total)(assigned, CONFIG)
    )
