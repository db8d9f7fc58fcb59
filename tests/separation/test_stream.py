"""Segments and how they are joined, with engines that need no network."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stub_engine import StubEngine
from stub_pitch_engine import BINS, StubPitchEngine

from umss_jax.audio.resampling import Sound16k
from umss_jax.audio.segments import (
    SegmentPitches,
    SegmentStems,
    cross_fade,
    plan_segments,
    segment_seed,
)
from umss_jax.config import AudioConfig, EncoderConfig, ModelConfig, SynthConfig
from umss_jax.errors import AudioError, UsageError
from umss_jax.separation.config import SeparationConfig
from umss_jax.separation.stream import (
    segments_of_array,
    separate_array,
    separate_blocks,
    track_array,
    track_blocks,
)

RATES = [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000]
SHORT = SeparationConfig(segment_s=1.0, overlap=0.25)


def planned(config, audio=AudioConfig()):
    return plan_segments(config.segment_s, config.overlap, audio)


def noise(samples, channels=2, peak=0.4, seed=0):
    audio = np.random.default_rng(seed).uniform(-1, 1, (channels, samples))
    return (audio * peak / np.abs(audio).max()).astype(np.float32)


@example(samples=29_441, segment=1.84375, overlap=0.5)
@given(samples=st.integers(1, 2_000_000), segment=st.floats(1, 10), overlap=st.floats(0, 0.5))
def test_segments_cover_every_sample_at_most_twice(samples, segment, overlap):
    plan = planned(SeparationConfig(segment, overlap))
    starts = np.asarray(plan.starts(samples))
    assert plan.segment % 256 == plan.overlap % 256 == 0
    assert starts[0] == 0
    assert starts[-1] + plan.segment >= samples
    if len(starts) > 1:
        assert starts[-1] + plan.overlap < samples  # the last one brings something new
        assert plan.step >= plan.segment / 2


@pytest.mark.parametrize("samples", [0, 1, 2, 256, 2048])
def test_cross_fades_sum_to_one(samples):
    fade = cross_fade(samples)
    np.testing.assert_allclose(fade + fade[::-1], 1, atol=1e-6)
    assert (np.diff(fade) > 0).all()


@settings(max_examples=40, deadline=None)
@given(
    rate=st.sampled_from(RATES),
    samples=st.integers(1, 60_000),
    channels=st.integers(1, 3),
    overlap=st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    batch=st.integers(1, 3),
)
@example(rate=44_100, samples=8820, channels=1, overlap=0.25, batch=1)
@example(rate=16_000, samples=16_000, channels=2, overlap=0.5, batch=2)
def test_stems_and_residual_sum_to_any_recording(rate, samples, channels, overlap, batch):
    audio = noise(samples, channels)
    engine = StubEngine(batch)
    result = separate_array(audio, rate, engine, SeparationConfig(1.0, overlap))
    assert result.stems.shape == (4, channels, samples)
    assert result.residual.shape == audio.shape
    total = result.stems.sum(axis=0, dtype=np.float64) + result.residual
    np.testing.assert_allclose(total, audio, atol=1e-6)
    frames = math.ceil(math.ceil(samples * 16_000 / rate) / 256)
    assert result.f0_hz_synth.shape == (4, frames)
    assert len(result.time_s) == frames


def test_below_8_khz_everything_is_in_the_stems():
    t = np.arange(5 * 44_100) / 44_100
    audio = (0.4 * np.sin(2 * np.pi * 3000 * t)).astype(np.float32)
    result = separate_array(audio, 44_100, StubEngine(), SHORT)
    assert result.stems.shape == (4, *audio.shape)
    # Away from the very ends, where the resampler's filter meets silence.
    assert np.abs(result.residual[2000:-2000]).max() < 1e-5
    high = (0.4 * np.sin(2 * np.pi * 12_000 * t)).astype(np.float32)
    result = separate_array(audio + high, 44_100, StubEngine(), SHORT)
    np.testing.assert_allclose(result.residual[2000:-2000], high[2000:-2000], atol=1e-5)


def test_joined_stems_are_the_faded_segments():
    """Against the definition: every segment whole, weighed by its window, summed."""
    audio = noise(50_000, 2)
    config = SeparationConfig(1.0, 0.4, seed=7)
    plan = planned(config)
    expected = np.zeros((4, 2, 50_000 + plan.segment))
    starts = plan.starts(50_000)
    for index, start in enumerate(starts):
        segment = np.zeros((2, plan.segment), np.float32)
        piece = audio[:, start : start + plan.segment]
        segment[:, : piece.shape[1]] = piece
        seeds = np.array([segment_seed(7, index)], np.uint32)
        stems = StubEngine().separate(segment[:1], segment[None], seeds).stems_16k[0]
        window = np.ones(plan.segment)
        if index:
            window[: plan.overlap] = cross_fade(plan.overlap)
        if index < len(starts) - 1:
            window[-plan.overlap :] = cross_fade(plan.overlap)[::-1]
        expected[..., start : start + plan.segment] += stems * window
    result = separate_array(audio, 16_000, StubEngine(), config)
    np.testing.assert_allclose(result.stems, expected[..., :50_000], atol=1e-6)


def test_f0_changes_over_in_the_middle_of_the_overlap():
    audio = noise(40_000, 1)
    config = SeparationConfig(1.0, 0.5)
    result = separate_array(audio, 16_000, StubEngine(), config)
    plan = planned(config)
    offsets = [segment_seed(0, index) % 50 for index in range(plan.count(40_000))]
    changes = np.flatnonzero(np.diff(result.f0_hz_synth[0]))
    middles = [(k * plan.step + plan.overlap // 2) // 256 for k in range(1, len(offsets))]
    pairs = zip(middles, itertools.pairwise(offsets), strict=True)
    assert list(changes + 1) == [middle for middle, (one, next_) in pairs if one != next_]
    np.testing.assert_array_equal(result.f0_hz_synth[3], 0)


def test_blocks_and_batches_do_not_change_the_result():
    audio = noise(70_000, 2)
    whole = separate_array(audio, 16_000, StubEngine(1), SHORT)
    for block, batch in ((1000, 3), (33_333, 2), (70_000, 9)):
        blocks = [audio[:, k : k + block] for k in range(0, 70_000, block)]
        sound = Sound16k(blocks, 70_000, (0.5, 0.5), 0.4)
        pieces = separate_blocks(sound, StubEngine(batch), SHORT)
        joined = np.concatenate([piece.stems_16k for piece in pieces], axis=-1)
        np.testing.assert_array_equal(joined, whole.stems)


def test_noise_depends_on_seed_and_segment_alone():
    first, second = StubEngine(), StubEngine(3)
    separate_array(noise(70_000), 16_000, first, SHORT)
    separate_array(noise(50_000, seed=1), 16_000, second, SHORT)
    assert second.seeds == first.seeds[: len(second.seeds)]
    assert len(set(first.seeds)) == len(first.seeds)
    other = StubEngine()
    separate_array(noise(70_000), 16_000, other, SeparationConfig(1.0, 0.25, seed=1))
    assert not set(other.seeds) & set(first.seeds)


def test_levels_are_kept_and_the_network_hears_peak_1():
    audio = noise(40_000)
    audio[:, 20_000:] *= 0.01
    loud, quiet = StubEngine(), StubEngine()
    whole = separate_array(audio, 16_000, loud, SHORT)
    scaled = separate_array(audio * np.float32(1e-3), 16_000, quiet, SHORT)
    np.testing.assert_allclose(loud.heard, 1, atol=1e-6)
    np.testing.assert_allclose(quiet.heard, 1, atol=1e-6)
    np.testing.assert_allclose(scaled.stems, whole.stems * 1e-3, atol=1e-9)


def test_silent_segments_stay_silent_and_spare_the_engine():
    audio = noise(64_000, 1)
    audio[:, 16_000:48_000] = 0
    engine = StubEngine(2)
    result = separate_array(audio, 16_000, engine, SeparationConfig(1.0, 0.0))
    assert len(engine.heard) < planned(SeparationConfig(1.0, 0.0)).count(64_000)
    assert np.abs(result.stems[:, :, 17_000:47_000]).max() == 0
    assert result.f0_hz_synth[:, 125:185].max() == 0
    assert result.f0_hz_synth[:3, :60].min() > 0


def test_channels_that_cancel_are_heard_all_the_same():
    one = noise(30_000, 1)[0]
    result = separate_array(np.stack([one, -one]), 16_000, StubEngine(), SHORT)
    np.testing.assert_allclose(result.stems[:, 0], -result.stems[:, 1], atol=1e-7)
    assert np.abs(result.stems).max() > 0.1


def test_segments_of_array_are_what_the_engine_hears():
    starts, mixtures, seeds = zip(
        *segments_of_array(noise(44_100 * 3), 44_100, StubEngine(), SHORT), strict=True
    )
    engine = StubEngine()
    separate_array(noise(44_100 * 3), 44_100, engine, SHORT)
    assert list(seeds) == engine.seeds
    np.testing.assert_allclose([np.abs(m).max() for m in mixtures], engine.heard, atol=1e-6)
    np.testing.assert_allclose(np.diff(starts), planned(SHORT).step / 16_000)


def test_rates_are_those_of_the_model():
    class Coarse(StubEngine):
        config = ModelConfig(
            audio=AudioConfig(sample_rate_hz=8000, hop_samples=512),
            encoder=EncoderConfig(hop_samples=512),
            synth=SynthConfig(sample_rate_hz=8000, hop_samples=512),
        )

        def separate(self, mixture_16k, channels_16k, seeds, sang_before=None):
            good = super().separate(mixture_16k, channels_16k, seeds)
            return SegmentStems(good.stems_16k, good.f0_hz_synth[..., ::2])

    audio = noise(40_000, 1)
    result = separate_array(audio, 16_000, Coarse(), SHORT)
    np.testing.assert_allclose(result.time_s, np.arange(40) * 0.064)
    assert result.f0_hz_synth.shape == (4, 40)
    starts = [start for start, *_ in segments_of_array(audio, 16_000, Coarse(), SHORT)]
    assert starts[1] == planned(SHORT, Coarse.config.audio).step / 8000


@pytest.mark.parametrize(
    ("segment", "overlap"), [(0.5, 0.25), (61, 0.25), (4, -0.1), (4, 0.6), (np.nan, 0.25)]
)
def test_refuses_impossible_plans(segment, overlap):
    with pytest.raises(UsageError):
        SeparationConfig(segment, overlap)


@pytest.mark.parametrize(
    "audio", [np.zeros(0), np.zeros(1000), np.full(1000, np.nan), np.ones((2, 2, 2))]
)
def test_refuses_arrays_without_music(audio):
    with pytest.raises(AudioError):
        separate_array(audio, 16_000, StubEngine())


def test_a_faulty_engine_is_found_out():
    class Faulty(StubEngine):
        def separate(self, mixture_16k, channels_16k, seeds, sang_before=None):
            good = super().separate(mixture_16k, channels_16k, seeds)
            return SegmentStems(good.stems_16k * np.nan, good.f0_hz_synth)

    with pytest.raises(ValueError, match="not numbers"):
        separate_array(noise(20_000), 16_000, Faulty())

    class Short(StubEngine):
        def separate(self, mixture_16k, channels_16k, seeds, sang_before=None):
            good = super().separate(mixture_16k, channels_16k, seeds)
            return SegmentStems(good.stems_16k[..., :-1], good.f0_hz_synth)

    with pytest.raises(ValueError, match="shape"):
        separate_array(noise(20_000), 16_000, Short())


# Pitches


@settings(deadline=None, max_examples=60)
@given(
    samples=st.integers(1, 200_000),
    segment_s=st.floats(1.0, 5.0),
    overlap=st.floats(0.0, 0.5),
    batch=st.integers(1, 3),
)
def test_every_frame_comes_once_from_the_segment_in_whose_middle_it_lies(
    samples, segment_s, overlap, batch
):
    config = SeparationConfig(segment_s, overlap)
    plan = planned(config)
    engine = StubPitchEngine(batch)
    tracks = track_array(noise(samples, 1), 16_000, engine, config)
    frames = -(-samples // 256)
    assert tracks.f0_hz_synth.shape == (4, frames)
    assert tracks.salience_synth.shape == (BINS, frames)
    segment = np.rint(tracks.f0_hz_synth[0] - 100).astype(int)
    within = np.rint(tracks.f0_hz_synth[2] - 300).astype(int) - segment
    np.testing.assert_array_equal(segment * plan.step // 256 + within, np.arange(frames))
    np.testing.assert_allclose(tracks.time_s, np.arange(frames) * 0.016)
    changes = np.flatnonzero(np.diff(segment)) + 1
    half = plan.overlap // 256 // 2
    starts = plan.step // 256 * np.arange(1, plan.count(samples)) + half
    # The last segment may end before its own change-over would be reached.
    np.testing.assert_array_equal(changes, starts[starts < frames])


@settings(deadline=None, max_examples=60)
@given(
    samples=st.integers(1, 200_000),
    segment_s=st.floats(1.0, 5.0),
    overlap=st.floats(0.0, 0.5),
    batch=st.integers(1, 3),
)
def test_saliences_are_cross_faded(samples, segment_s, overlap, batch):
    config = SeparationConfig(segment_s, overlap)
    plan = planned(config)
    found = track_array(noise(samples, 1), 16_000, StubPitchEngine(batch), config).salience_synth
    whole, both, step = plan.segment // 256, plan.overlap // 256, plan.step // 256
    rising = np.sin(np.pi * (np.arange(both) + 0.5) / max(2 * both, 1)) ** 2
    expected = np.zeros((BINS, plan.count(samples) * step + both))
    for index in range(plan.count(samples)):
        weight = np.ones(whole)
        if index > 0:
            weight[:both] = rising
        if index + 1 < plan.count(samples):
            weight[whole - both :] = rising[::-1]
        one = np.arange(whole) / 1000 + np.arange(BINS)[:, None] / 100
        expected[:, index * step : index * step + whole] += weight * one
    np.testing.assert_allclose(found, expected[:, : -(-samples // 256)], atol=1e-6)


def test_silent_segments_spare_the_engine_and_have_no_pitch():
    audio = noise(5 * 64_000, 1)[0]
    audio[64_000 : 4 * 64_000] = 0
    engine = StubPitchEngine(2)
    tracks = track_array(np.stack([audio, audio]), 16_000, engine, SeparationConfig(4.0, 0.0))
    assert engine.heard == pytest.approx([1.0, 1.0])  # each scaled to peak 1
    assert not tracks.f0_hz_synth[:, 250:1000].any()
    assert not tracks.salience_synth[:, 250:1000].any()
    assert (tracks.f0_hz_synth[0, :250] == 100).all()
    assert (tracks.f0_hz_synth[0, 1000:] == 101).all()


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (SegmentPitches([np.zeros((3, 250))], np.zeros((1, BINS, 250))), "F0"),
        (SegmentPitches([np.zeros((4, 249))], np.zeros((1, BINS, 250))), "F0"),
        (SegmentPitches([np.zeros((4, 250))], np.zeros((1, BINS, 249))), "salience"),
        (SegmentPitches([np.full((4, 250), np.nan)], np.zeros((1, BINS, 250))), "not numbers"),
        (SegmentPitches([], np.zeros((1, BINS, 250))), "segments"),
    ],
)
def test_engines_that_break_their_word(result, word):
    engine = StubPitchEngine()
    engine.pitches = lambda mixture, sang_before: result
    with pytest.raises(ValueError, match=word):
        track_array(noise(64_000, 1), 16_000, engine)


def test_memory_does_not_grow_with_the_length():
    def peak_bytes(seconds):
        blocks = (noise(16_000, 1, seed=index) for index in range(seconds))
        sound = Sound16k(blocks, seconds * 16_000, (1.0,), 0.4)
        tracemalloc.start()
        for _ in track_blocks(sound, StubPitchEngine()):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert peak_bytes(200) < 1.2 * peak_bytes(20)
