"""Assignment by ranges: against every possible way, and in plain cases."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from umss_jax.config import HcqtConfig, VoicesConfig
from umss_jax.pitch.config import WITH_NETWORK, RangesConfig
from umss_jax.pitch.grid import bin_frequencies_hz, midi_to_hz
from umss_jax.pitch.ranges import assign_by_ranges, ranges_f0, sang_last
from umss_jax.voice_sets import parse_voices

CONFIG = RangesConfig()
SELDOM_SHARED = RangesConfig(shared_cost=3.0)


def peaks_of(*frames):
    """Peaks in Hz of frames of MIDI notes, all equally salient."""
    most = max(map(len, frames))
    hz = np.zeros((len(frames), most))
    for row, notes in zip(hz, frames, strict=True):
        row[: len(notes)] = [midi_to_hz(note) for note in notes]
    return hz, np.where(hz > 0, 0.9, 0.0)


def notes_of(assigned):
    with np.errstate(divide="ignore"):
        midi = 69 + 12 * np.log2(assigned / 440)
    return np.where(np.isfinite(midi), np.round(midi), 0).astype(int).T.tolist()


def cost_of(path, hz, heights, voices, config):
    """What a path costs, written out: one number of a peak (or None) for each frame and voice."""
    total, pitch = 0.0, []
    for frame, way in enumerate(path):
        used, row = set(), []
        for voice, peak in enumerate(way):
            if peak is None:
                total += config.silent_cost
                row.append(None)
                continue
            midi = 69 + 12 * np.log2(hz[frame, peak] / 440)
            low, high = voices.lowest_notes[voice], voices.highest_notes[voice]
            total += config.centre_cost * ((midi - (low + high) / 2) / ((high - low) / 2)) ** 2
            total += config.outside_cost * max(low - midi, midi - high, 0)
            if peak in used:
                total += config.shared_cost
            else:
                total += config.overtone_cost * overtone_doubt(hz[frame], heights[frame], peak)
                total -= config.reward * heights[frame, peak]
            used.add(peak)
            row.append(midi)
        pitch.append(row)
    for before, here in itertools.pairwise(pitch):
        for one, other in zip(before, here, strict=True):
            if (one is None) != (other is None):
                total += config.change_cost
            elif one is not None:
                far = max(abs(one - other) - config.still_semitones, 0)
                total += min(config.step_cost * far, config.leap_cost)
    return total


def overtone_doubt(hz, heights, peak):
    """The largest over the peaks whose second, third or fourth harmonic it may be."""
    doubts = [0.0]
    for other, below_hz in enumerate(hz):
        number = hz[peak] / below_hz if below_hz > 0 else 0.0
        cents = [1200 * abs(np.log2(number / k)) for k in (2, 3, 4) if number > 0]
        if cents and min(cents) < 40:
            doubts.append(heights[other] * max(heights[other] - heights[peak], 0))
    return max(doubts)


@pytest.mark.parametrize("seed", range(6))
def test_no_way_through_the_frames_costs_less(seed):
    rng = np.random.default_rng(seed)
    voices = parse_voices("duet" if seed % 2 else "tb")
    config = replace(CONFIG, overtone_cost=4.0 if seed > 2 else 0.0)
    hz = midi_to_hz(rng.uniform(42, 72, (3, 3)))
    hz[:, 2] = hz[:, 1] * rng.choice([2, 3, 4], 3)
    hz[rng.uniform(size=hz.shape) < 0.2] = 0
    heights = np.where(hz > 0, rng.uniform(0.3, 1, hz.shape), 0)
    found = assign_by_ranges(hz, heights, voices, config)
    options = []
    for row in hz:
        there = [n for n in np.argsort(-row) if row[n] > 0]
        ways = []
        for way in itertools.product([None, *range(len(there))], repeat=2):
            sung = [place for place in way if place is not None]
            if sung == sorted(sung):  # voices do not cross
                ways.append([None if place is None else int(there[place]) for place in way])
        options.append(ways)
    paths = list(itertools.product(*options))
    costs = [cost_of(path, hz, heights, voices, config) for path in paths]
    best = paths[int(np.argmin(costs))]
    expected = [
        [0.0 if peak is None else hz[frame, peak] for peak in way] for frame, way in enumerate(best)
    ]
    np.testing.assert_allclose(found.T, expected)


def test_a_full_chord_is_given_out_in_order():
    hz, heights = peaks_of(*[(43, 55, 60, 67)] * 5)
    assert notes_of(assign_by_ranges(hz, heights, parse_voices("ttbb"))) == [[67, 60, 55, 43]] * 5


def test_the_range_tells_who_is_silent():
    hz, heights = peaks_of(*[(43, 72)] * 30)
    found = notes_of(assign_by_ranges(hz, heights, VoicesConfig(), SELDOM_SHARED))
    assert found == [[72, 0, 0, 43]] * 30


def test_two_may_sing_one_pitch():
    hz, heights = peaks_of(*[(60,)] * 30)
    assert notes_of(assign_by_ranges(hz, heights, parse_voices("duet"))) == [[60, 60]] * 30


def test_what_was_sung_before_tells_who_goes_on():
    frames = [(48, 64)] * 20 + [(64,)] * 20
    found = notes_of(assign_by_ranges(*peaks_of(*frames), parse_voices("duet"), SELDOM_SHARED))
    assert found == [[64, 48]] * 20 + [[64, 0]] * 20


def test_one_frame_of_noise_is_nobody_s():
    hz, heights = peaks_of(*[(50, 62)] * 10, (50, 62, 77), *[(50, 62)] * 10)
    heights[10, 2] = 0.4
    assert notes_of(assign_by_ranges(hz, heights, parse_voices("duet"))) == [[62, 50]] * 21


def test_the_order_of_the_peaks_does_not_matter():
    rng = np.random.default_rng(1)
    hz = midi_to_hz(rng.uniform(45, 75, (20, 4)))
    heights = rng.uniform(0.3, 1, hz.shape)
    order = rng.permuted(np.tile(np.arange(4), (20, 1)), axis=1)
    shuffled = [np.take_along_axis(one, order, axis=1) for one in (hz, heights)]
    voices = parse_voices("ssa")
    np.testing.assert_array_equal(
        assign_by_ranges(hz, heights, voices), assign_by_ranges(*shuffled, voices)
    )


@pytest.mark.parametrize("preset", ["duet", "sab", "ssatb", "ssaattbb"])
def test_silence_and_few_frames(preset):
    voices = parse_voices(preset)
    salience = np.zeros((HcqtConfig().bins, 12), np.float32)
    found = ranges_f0(salience, voices)
    assert found.shape == (len(voices), 12)
    assert found.dtype == np.float32
    assert not found.any()
    salience[100] = 0.8
    hz = bin_frequencies_hz()[100]
    found = ranges_f0(salience, voices)
    assert np.allclose(found.max(axis=0), hz)
    assert np.isin(found, [0, np.float32(hz)]).all()
    assert assign_by_ranges(np.zeros((0, 1)), np.zeros((0, 1)), voices).shape == (len(voices), 0)


@pytest.mark.parametrize("voice", [1, 2])
def test_a_network_has_its_say(voice):
    """Middle C is in reach of alto and tenor; who sings it alone is who the network says."""
    hz, heights = peaks_of(*[[60]] * 12)
    grid = HcqtConfig()
    assigned = np.full((4, grid.bins, 12), 0.01)
    assigned[voice, round(60 * np.log2(midi_to_hz(60) / grid.fmin_hz))] = 0.9
    found = assign_by_ranges(hz, heights, VoicesConfig(), WITH_NETWORK, assigned, grid)
    assert notes_of(found[voice]) == [60] * 12
    # Without doubt they are those of ranges alone.
    config = replace(WITH_NETWORK, doubt_cost=0.0)
    with_it = assign_by_ranges(hz, heights, VoicesConfig(), config, assigned, grid)
    np.testing.assert_array_equal(with_it, assign_by_ranges(hz, heights, VoicesConfig(), config))


def test_a_networks_moment_of_error_is_passed_over():
    """One frame given to another voice, amid a note that the network gives to the alto."""
    hz, heights = peaks_of(*[[67, 60]] * 21)
    grid = HcqtConfig()
    upper, lower = (round(60 * np.log2(midi_to_hz(n) / grid.fmin_hz)) for n in (67, 60))
    assigned = np.full((4, grid.bins, 21), 0.01)
    assigned[0, upper], assigned[1, lower] = 0.9, 0.9
    assigned[1, lower, 10], assigned[0, lower, 10] = 0.3, 0.9
    found = assign_by_ranges(hz, heights, VoicesConfig(), WITH_NETWORK, assigned, grid)
    assert notes_of(found[0]) == [67] * 21
    assert notes_of(found[1]) == [60] * 21


def test_a_weak_octave_is_an_overtone_and_a_strong_one_a_voice():
    hz, heights = peaks_of(*[(50, 57, 69)] * 20)
    overtones = replace(CONFIG, overtone_cost=8.0)
    voices = parse_voices("sab")
    assert notes_of(assign_by_ranges(hz, heights, voices, overtones)) == [[69, 57, 50]] * 20
    heights[:, 2] = 0.4
    assert notes_of(assign_by_ranges(hz, heights, voices)) == [[69, 57, 50]] * 20
    assert 69 not in np.array(notes_of(assign_by_ranges(hz, heights, voices, overtones)))


@pytest.mark.parametrize("notes", [(43,), (60,), (72,)])
def test_of_a_solo_the_other_voices_are_silent_throughout(notes):
    fewer, chord = replace(CONFIG, solo_frames=30), [(43, 50, 60, 72)]
    frames = [notes] * 97 + chord * 25  # what sounds on, or what nobody sings
    found = assign_by_ranges(*peaks_of(*frames), VoicesConfig(), fewer)
    assert np.count_nonzero(found.any(axis=1)) == 1
    assert set(np.array(notes_of(found))[:97].ravel()) == {0, *notes}
    longer = [notes] * 97 + chord * 31
    in_two = [notes] * 97 + chord * 15 + [notes] * 2 + chord * 15
    often = ([notes] * 30 + chord * 15) * 4
    for more in (longer, in_two, often):  # those are other voices
        found = assign_by_ranges(*peaks_of(*more), VoicesConfig(), fewer)
        assert found.any(axis=1).all()


def test_faint_pitches_make_no_voice():
    hz, heights = peaks_of(*[(48, 72)] * 50)
    heights[:, 0] = 0.4
    fewer = replace(CONFIG, solo_frames=30)
    assert assign_by_ranges(hz, heights, parse_voices("sb"), CONFIG).any(axis=1).all()
    found = assign_by_ranges(hz, heights, parse_voices("sb"), fewer)
    assert notes_of(found) == [[72, 0]] * 50


def test_a_solo_stays_with_the_voice_that_began_it():
    """A low phrase of the soprano lies better for the alto."""
    hz, heights = peaks_of(*[(62,)] * 40)
    solo = replace(CONFIG, solo_frames=30, newcomer_cost=1.5)
    found = assign_by_ranges(hz, heights, VoicesConfig(), solo)
    assert found.any(axis=1).tolist() == [False, True, False, False]
    sang = np.array([True, False, False, False])
    found = assign_by_ranges(hz, heights, VoicesConfig(), solo, sang_before=sang)
    assert found.any(axis=1).tolist() == sang.tolist()
    # Not where it is far out of reach, nor where all sang.
    low = peaks_of(*[(43,)] * 40)
    found = assign_by_ranges(*low, VoicesConfig(), solo, sang_before=sang)
    assert found.any(axis=1).tolist() == [False, False, False, True]
    found = assign_by_ranges(hz, heights, VoicesConfig(), solo, sang_before=np.ones(4, bool))
    assert found.any(axis=1).tolist() == [False, True, False, False]


def test_voices_that_come_and_go_are_not_taken_for_resting():
    """Never more than two at a time, but three sing."""
    hz, heights = peaks_of(*[(72, 60)] * 40, *[(60, 50)] * 40)
    some = replace(CONFIG, solo_frames=30, newcomer_cost=1.5)
    found = assign_by_ranges(hz, heights, VoicesConfig(), some)
    np.testing.assert_array_equal(found, assign_by_ranges(hz, heights, VoicesConfig()))
    assert np.count_nonzero(found.any(axis=1)) >= 3


def test_who_sang_last_is_told_over_silence_and_moments():
    some, nobody = np.eye(3)[:2], np.zeros((2, 3))
    moment = np.zeros((2, 30))
    moment[1, :3] = 200.0
    assert sang_last([nobody], None) is None
    assert sang_last([some * [[1], [0]], nobody, moment], None).tolist() == [True, False]
    assert sang_last([moment], None) is None
    assert sang_last([nobody], np.array([False, True])).tolist() == [False, True]
    assert sang_last([some * [[0], [1]], some], None).tolist() == [True, True]
