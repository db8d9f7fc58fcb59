"""Segments, cross-fades and folders, with an engine that needs no network."""

import csv
import itertools
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from places import HELPERS
from stub_engine import StubEngine

from umss_jax.audio.segments import cross_fade, plan_segments, segment_seed
from umss_jax.config import VOICES
from umss_jax.errors import AudioError, OutputError, UsageError
from umss_jax.report.page import write_reports
from umss_jax.separate.config import ClipMode, SeparationConfig
from umss_jax.separate.stems import StemOptions, separate_file
from umss_jax.separate.stream import (
    SegmentResult,
    segments_of_array,
    separate_array,
    separate_blocks,
)

RATES = [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000]
SHORT = SeparationConfig(segment_s=1.0, overlap=0.25)


def noise(samples, channels=2, peak=0.4, seed=0):
    audio = np.random.default_rng(seed).uniform(-1, 1, (channels, samples))
    return (audio * peak / np.abs(audio).max()).astype(np.float32)


def read_stems(folder, extension="wav", dtype="float64"):
    names = (*VOICES, "residual")
    files = [
        soundfile.read(folder / f"{n}.{extension}", dtype=dtype, always_2d=True) for n in names
    ]
    assert len({rate for _, rate in files}) == 1
    return np.stack([audio.T for audio, _ in files]), files[0][1]


@example(samples=29_441, segment=1.84375, overlap=0.5)
@given(samples=st.integers(1, 2_000_000), segment=st.floats(1, 10), overlap=st.floats(0, 0.5))
def test_segments_cover_every_sample_at_most_twice(samples, segment, overlap):
    plan = plan_segments(SeparationConfig(segment, overlap))
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
    assert result.f0_hz_250.shape == (4, frames)
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
    plan = plan_segments(config)
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
    plan = plan_segments(config)
    offsets = [segment_seed(0, index) % 50 for index in range(plan.count(40_000))]
    changes = np.flatnonzero(np.diff(result.f0_hz_250[0]))
    middles = [(k * plan.step + plan.overlap // 2) // 256 for k in range(1, len(offsets))]
    pairs = zip(middles, itertools.pairwise(offsets), strict=True)
    assert list(changes + 1) == [middle for middle, (one, next_) in pairs if one != next_]
    np.testing.assert_array_equal(result.f0_hz_250[3], 0)


def test_blocks_and_batches_do_not_change_the_result():
    audio = noise(70_000, 2)
    whole = separate_array(audio, 16_000, StubEngine(1), SHORT)
    for block, batch in ((1000, 3), (33_333, 2), (70_000, 9)):
        blocks = [audio[:, k : k + block] for k in range(0, 70_000, block)]
        pieces = separate_blocks(blocks, 70_000, (0.5, 0.5), 0.4, StubEngine(batch), SHORT)
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
    assert len(engine.heard) < plan_segments(SeparationConfig(1.0, 0.0)).count(64_000)
    assert np.abs(result.stems[:, :, 17_000:47_000]).max() == 0
    assert result.f0_hz_250[:, 125:185].max() == 0
    assert result.f0_hz_250[:3, :60].min() > 0


def test_channels_that_cancel_are_heard_all_the_same():
    one = noise(30_000, 1)[0]
    result = separate_array(np.stack([one, -one]), 16_000, StubEngine(), SHORT)
    np.testing.assert_allclose(result.stems[:, 0], -result.stems[:, 1], atol=1e-7)
    assert np.abs(result.stems).max() > 0.1


def test_segments_of_array_are_what_the_engine_hears():
    starts, mixtures, seeds = zip(*segments_of_array(noise(44_100 * 3), 44_100, SHORT), strict=True)
    engine = StubEngine()
    separate_array(noise(44_100 * 3), 44_100, engine, SHORT)
    assert list(seeds) == engine.seeds
    np.testing.assert_allclose([np.abs(m).max() for m in mixtures], engine.heard, atol=1e-6)
    np.testing.assert_allclose(np.diff(starts), plan_segments(SHORT).step / 16_000)


@pytest.mark.parametrize(
    ("segment", "overlap"), [(0.5, 0.25), (61, 0.25), (4, -0.1), (4, 0.6), (np.nan, 0.25)]
)
def test_refuses_impossible_plans(segment, overlap):
    with pytest.raises(UsageError):
        plan_segments(SeparationConfig(segment, overlap))


@pytest.mark.parametrize(
    "audio", [np.zeros(0), np.zeros(1000), np.full(1000, np.nan), np.ones((2, 2, 2))]
)
def test_refuses_arrays_without_music(audio):
    with pytest.raises(AudioError):
        separate_array(audio, 16_000, StubEngine())


def test_a_faulty_engine_is_found_out():
    class Faulty(StubEngine):
        def separate(self, mixture_16k, channels_16k, seeds):
            good = super().separate(mixture_16k, channels_16k, seeds)
            return SegmentResult(good.stems_16k * np.nan, good.f0_hz_250)

    with pytest.raises(ValueError, match="not numbers"):
        separate_array(noise(20_000), 16_000, Faulty())

    class Short(StubEngine):
        def separate(self, mixture_16k, channels_16k, seeds):
            good = super().separate(mixture_16k, channels_16k, seeds)
            return SegmentResult(good.stems_16k[..., :-1], good.f0_hz_250)

    with pytest.raises(ValueError, match="shape"):
        separate_array(noise(20_000), 16_000, Short())


# Files


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize(("rate", "channels", "seconds"), [(44_100, 2, 2.7), (16_000, 1, 0.2)])
def test_file_to_folder(tmp_path, extension, rate, channels, seconds):
    path = tmp_path / f"choir.{extension}"
    soundfile.write(path, noise(int(seconds * rate), channels).T, rate)
    audio = soundfile.read(path, dtype="float64", always_2d=True)[0].T
    track = separate_file(path, tmp_path / "out", StubEngine(), SHORT)
    assert track.folder == tmp_path / "out" / "stub" / "choir"
    assert sorted(item.name for item in track.folder.iterdir()) == sorted(
        [f"{name}.wav" for name in (*VOICES, "residual")] + ["f0.csv", "manifest.json"]
    )
    stems, stem_rate = read_stems(track.folder)
    assert stem_rate == rate
    assert stems.shape == (5, *audio.shape)
    assert np.abs(stems.sum(axis=0) - audio).max() <= 1e-3 * np.abs(audio).max()
    assert list((tmp_path / "out" / "stub").iterdir()) == [track.folder]
    assert np.abs(stems[:4]).max(axis=(1, 2)).min() > 0.01


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("flac", [False, True])
def test_integers_sum_to_the_last_bit(tmp_path, subtype, flac):
    path = tmp_path / "choir.wav"
    soundfile.write(path, noise(60_000).T, 44_100, subtype=subtype)
    folder = separate_file(
        path, tmp_path / "out", StubEngine(), SHORT, StemOptions(flac=flac)
    ).folder
    stems, _ = read_stems(folder, "flac" if flac else "wav", "int32")
    audio = soundfile.read(path, dtype="int32")[0].T
    np.testing.assert_array_equal((stems >> 8).sum(axis=0), audio >> 8)


def test_very_quiet_recordings_still_sum(tmp_path):
    path = tmp_path / "low.wav"
    audio = noise(30_000, peak=2e-4)
    soundfile.write(path, audio.T, 44_100, subtype="FLOAT")
    stems, _ = read_stems(separate_file(path, tmp_path, StubEngine(), SHORT).folder)
    assert np.abs(stems.sum(axis=0) - audio).max() <= 1e-3 * 2e-4


@pytest.mark.parametrize(
    ("float32", "clip_mode", "gain_is_1", "clips"),
    [
        (False, ClipMode.RESCALE, False, False),
        (False, ClipMode.CLAMP, True, True),
        (False, ClipMode.NONE, True, True),
        (True, ClipMode.RESCALE, True, False),
        (True, ClipMode.CLAMP, True, True),
        (True, ClipMode.NONE, True, False),
    ],
)
def test_one_gain_where_stems_would_clip(tmp_path, float32, clip_mode, gain_is_1, clips):
    audio = noise(40_000, peak=3.0)
    path = tmp_path / "hot.wav"
    soundfile.write(path, audio.T, 44_100, subtype="FLOAT")
    options = StemOptions(float32=float32, clip_mode=clip_mode)
    track = separate_file(path, tmp_path, StubEngine(), SHORT, options)
    stems, _ = read_stems(track.folder)
    manifest = json.loads((track.folder / "manifest.json").read_text())
    assert (manifest["gain"] == 1) == gain_is_1
    assert (manifest["clipped_samples"] > 0) == clips
    assert (np.abs(stems).max() > 1) == (float32 and clip_mode != ClipMode.CLAMP)
    if not clips:
        error = np.abs(stems.sum(axis=0) / manifest["gain"] - audio).max()
        assert error <= 1e-3 * 3.0


def test_clipping_of_a_stem_goes_to_the_residual(tmp_path):
    class Hot(StubEngine):
        """Stems far louder than the mixture, which still sum to it."""

        def separate(self, mixture_16k, channels_16k, seeds):
            good = super().separate(mixture_16k, channels_16k, seeds)
            stems = channels_16k[:, None] * np.float32([5, -4, 0.3, -0.3])[None, :, None, None]
            return SegmentResult(stems, good.f0_hz_250)

    path = tmp_path / "a.wav"
    audio = noise(30_000, peak=0.3)
    soundfile.write(path, audio.T, 16_000, subtype="FLOAT")
    hot = separate_file(path, tmp_path, Hot(), SHORT)
    assert hot.manifest["clipped_samples"] == 0
    stems, _ = read_stems(hot.folder)
    assert 0.99 < np.abs(stems).max() < 1
    assert np.abs(stems.sum(axis=0) / hot.manifest["gain"] - audio).max() < 1e-3 * 0.3
    options = StemOptions(clip_mode=ClipMode.CLAMP, overwrite=True)
    stems, _ = read_stems(separate_file(path, tmp_path, Hot(), SHORT, options).folder)
    assert np.abs(stems.sum(axis=0) - audio).max() < 1e-3 * 0.3


def test_f0_table_and_manifest(tmp_path):
    path = tmp_path / "choir.flac"
    soundfile.write(path, noise(100_000).T, 44_100)
    config = SeparationConfig(1.0, 0.25, seed=3)
    folder = separate_file(path, tmp_path, StubEngine(), config).folder
    with (folder / "f0.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["time_s", "soprano", "alto", "tenor", "bass"]
    table = np.array(rows, float)
    np.testing.assert_allclose(table[:, 0], np.arange(len(table)) * 0.016, atol=1e-9)
    assert len(table) == math.ceil(math.ceil(100_000 * 16_000 / 44_100) / 256)
    in_memory = separate_array(noise(100_000), 44_100, StubEngine(), config)
    np.testing.assert_allclose(table[:, 1:].T, in_memory.f0_hz_250, atol=1e-3)
    assert {row[4] for row in rows} == {"0"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["model"] == "stub"
    assert manifest["seed"] == 3
    assert manifest["device"] == "none"
    assert manifest["weights"] == {"tensors_sha256": "0" * 64}
    assert manifest["versions"]["umss_jax"]
    assert manifest["input"]["samples"] == 100_000
    assert manifest["options"]["overlap"] == 0.25


def test_same_seed_same_bytes(tmp_path):
    path = tmp_path / "choir.wav"
    soundfile.write(path, noise(60_000).T, 44_100)
    folders = [
        separate_file(path, tmp_path / out, StubEngine(batch), SHORT).folder
        for out, batch in (("a", 1), ("b", 3))
    ]
    for item in folders[0].iterdir():
        assert item.read_bytes() == (folders[1] / item.name).read_bytes(), item.name


def test_existing_folders_are_kept_or_replaced_with_care(tmp_path):
    path = tmp_path / "choir.wav"
    soundfile.write(path, noise(20_000).T, 16_000)
    folder = separate_file(path, tmp_path, StubEngine(), SHORT).folder
    (folder / "my notes.txt").write_text("mine")
    (folder / "report.html").write_text("<p>mine")
    with pytest.raises(OutputError, match="exists"):
        separate_file(path, tmp_path, StubEngine(), SHORT)
    options = StemOptions(flac=True, overwrite=True)
    separate_file(path, tmp_path, StubEngine(), SHORT, options)
    names = {item.name for item in folder.iterdir()}
    assert "my notes.txt" in names
    assert "soprano.flac" in names
    assert "soprano.wav" not in names
    assert (folder / "report.html").read_text() == "<p>mine"
    assert list(folder.parent.iterdir()) == [folder]


def test_what_was_made_of_replaced_stems_does_not_outlive_them(tmp_path):
    path = tmp_path / "choir.wav"
    soundfile.write(path, noise(20_000).T, 16_000)
    folder = separate_file(path, tmp_path, StubEngine(), SHORT).folder
    write_reports(folder)
    salience = folder / "choir.salience.npz"
    salience.write_bytes(b"of this recording")
    options = StemOptions(overwrite=True)
    separate_file(path, tmp_path, StubEngine(), SHORT, options)
    assert not (folder / "report.html").exists()
    assert salience.exists()
    soundfile.write(path, 0.5 * noise(20_000).T, 16_000)
    separate_file(path, tmp_path, StubEngine(), SHORT, options)
    assert not salience.exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_when_the_engine_fails(tmp_path, error):
    class Failing(StubEngine):
        def separate(self, mixture_16k, channels_16k, seeds):
            if len(self.seeds) == 2:
                raise error("enough")
            return super().separate(mixture_16k, channels_16k, seeds)

    path = tmp_path / "choir.wav"
    soundfile.write(path, noise(100_000).T, 16_000)
    separate_file(path, tmp_path, StubEngine(), SHORT)
    before = {item: item.read_bytes() for item in (tmp_path / "stub" / "choir").iterdir()}
    with pytest.raises(error):
        separate_file(path, tmp_path, Failing(), SHORT, StemOptions(overwrite=True))
    assert list((tmp_path / "stub").iterdir()) == [tmp_path / "stub" / "choir"]
    assert {item: item.read_bytes() for item in before} == before


PEAK_MEMORY = """
import resource, sys
import numpy as np, soundfile
sys.path.insert(0, sys.argv[2])
from stub_engine import StubEngine
from umss_jax.separate.stems import separate_file
path, seconds = sys.argv[1] + "/a.wav", int(sys.argv[3])
with soundfile.SoundFile(path, "w", 44_100, 2) as file:
    for second in range(seconds):
        file.write(np.random.default_rng(second).uniform(-0.5, 0.5, (44_100, 2)))
separate_file(path, sys.argv[1], StubEngine())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_is_constant_in_the_length(tmp_path):
    def peak_kib(seconds):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        arguments = [sys.executable, "-c", PEAK_MEMORY, folder, HELPERS, str(seconds)]
        return int(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)

    assert peak_kib(300) < 1.1 * peak_kib(30)
