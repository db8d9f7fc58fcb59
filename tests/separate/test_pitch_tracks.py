"""Joining of segments, and the files that become of them."""

import csv
import tracemalloc

import mir_eval
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_pitch_engine import BINS, StubPitchEngine

from umss_jax.audio.segments import plan_segments
from umss_jax.config import VOICES
from umss_jax.errors import OutputError, UsageError
from umss_jax.pitch.extractor import nearest_frames
from umss_jax.separate.config import SeparationConfig
from umss_jax.separate.pitch_files import PitchOptions, track_file
from umss_jax.separate.pitch_plot import SalienceImage
from umss_jax.separate.pitch_tracks import SegmentPitches, track_array, track_blocks


def noise(samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.4, 0.4, samples).astype(np.float32)


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
    plan = plan_segments(config)
    engine = StubPitchEngine(batch)
    tracks = track_array(noise(samples), 16_000, engine, config)
    frames = -(-samples // 256)
    assert tracks.f0_hz_250.shape == (4, frames)
    assert tracks.salience_250.shape == (BINS, frames)
    segment = np.rint(tracks.f0_hz_250[0] - 100).astype(int)
    within = np.rint(tracks.f0_hz_250[2] - 300).astype(int) - segment
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
    plan = plan_segments(config)
    found = track_array(noise(samples), 16_000, StubPitchEngine(batch), config).salience_250
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
    audio = noise(5 * 64_000)
    audio[64_000 : 4 * 64_000] = 0
    engine = StubPitchEngine(2)
    tracks = track_array(np.stack([audio, audio]), 16_000, engine, SeparationConfig(4.0, 0.0))
    assert engine.heard == pytest.approx([1.0, 1.0])  # each scaled to peak 1
    assert not tracks.f0_hz_250[:, 250:1000].any()
    assert not tracks.salience_250[:, 250:1000].any()
    assert (tracks.f0_hz_250[0, :250] == 100).all()
    assert (tracks.f0_hz_250[0, 1000:] == 101).all()


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
    engine.pitches = lambda mixture: result
    with pytest.raises(ValueError, match=word):
        track_array(noise(64_000), 16_000, engine)


def test_memory_does_not_grow_with_the_length():
    def peak_bytes(seconds):
        blocks = (noise(16_000, index)[None] for index in range(seconds))
        tracemalloc.start()
        for _ in track_blocks(blocks, seconds * 16_000, (1.0,), 0.4, StubPitchEngine()):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert peak_bytes(200) < 1.2 * peak_bytes(20)


@pytest.mark.parametrize(("source", "target"), [(344, 250), (86, 63), (1, 5), (5, 1)])
def test_nearest_frames(source, target):
    centres = (np.arange(source) + 0.5) / source
    wanted = (np.arange(target) + 0.5) / target
    distance = np.abs(centres[nearest_frames(source, target)] - wanted)
    np.testing.assert_allclose(distance, np.abs(centres[:, None] - wanted).min(axis=0), atol=1e-12)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "choir.wav"
    soundfile.write(path, np.stack([noise(150_000), noise(150_000, 1)], axis=1), 22_050)
    return path


def test_files_hold_what_the_array_call_returns(recording, tmp_path):
    options = PitchOptions(midi=True, salience=True, plot=True)
    seconds = []
    written = track_file(
        *(recording, tmp_path / "out", StubPitchEngine(), None, options),
        lambda stage, amount: seconds.append(amount),
    )
    names = ["choir.f0.csv", "choir.f0.mid", "choir.salience.npz", "choir.f0.png"]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    audio, rate = soundfile.read(recording, dtype="float32")
    expected = track_array(audio.T, rate, StubPitchEngine())
    with written[0].open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["time_s", *VOICES]
    table = np.array(rows[1:], float)
    np.testing.assert_allclose(table[:, 0], expected.time_s, atol=1e-9)
    np.testing.assert_allclose(table[:, 1:].T, expected.f0_hz_250, atol=5e-4)
    assert {row[4] for row in rows[1:]} == {"0"}
    with np.load(written[2], allow_pickle=False) as archive:
        assert sorted(archive.files) == ["frequency_hz", "salience", "time_s"]
        np.testing.assert_array_equal(archive["salience"], expected.salience_250)
        np.testing.assert_array_equal(archive["time_s"], expected.time_s)
        np.testing.assert_array_equal(archive["frequency_hz"], expected.frequencies_hz)
    assert written[3].read_bytes().startswith(b"\x89PNG")
    assert sum(seconds) == pytest.approx(len(table) * 0.016)


def test_pitches_of_nobody_are_read_by_mir_eval(recording, tmp_path):
    engine = StubPitchEngine(voices=())
    (path,) = track_file(recording, tmp_path / "out", engine)
    times, values = mir_eval.io.load_ragged_time_series(str(path))
    np.testing.assert_allclose(times, np.arange(len(times)) * 0.016, atol=1e-9)
    assert [list(value) for value in values[:2]] == [[100.0], [100.0]]
    assert list(values[-1]) == [101.0, 201.0]
    with pytest.raises(UsageError, match="--midi"):
        track_file(recording, tmp_path / "midi", engine, options=PitchOptions(midi=True))
    assert not (tmp_path / "midi").exists()


def test_nothing_is_half_written(recording, tmp_path):
    class Failing(StubPitchEngine):
        def pitches(self, mixture_16k):
            if self.heard:
                raise RuntimeError("out of memory")
            return super().pitches(mixture_16k)

    out = tmp_path / "out"
    out.mkdir()
    (out / "choir.f0.csv").write_text("mine\n")
    with pytest.raises(OutputError, match="--overwrite"):
        track_file(recording, out, StubPitchEngine())
    options = PitchOptions(overwrite=True, salience=True)
    with pytest.raises(RuntimeError, match="memory"):
        track_file(recording, out, Failing(), options=options)
    assert [path.name for path in out.iterdir()] == ["choir.f0.csv"]
    assert (out / "choir.f0.csv").read_text() == "mine\n"
    added = track_file(
        *(recording, out, StubPitchEngine()),
        options=PitchOptions(skip_existing=True, salience=True),
    )
    assert [path.name for path in added] == ["choir.salience.npz"]
    assert (out / "choir.f0.csv").read_text() == "mine\n"
    track_file(recording, out, StubPitchEngine(), options=options)
    assert (out / "choir.f0.csv").read_text().startswith("time_s,")
    (out / "folder.f0.csv").mkdir()
    with pytest.raises(OutputError, match="folder"):
        track_file(recording.rename(tmp_path / "folder.wav"), out, StubPitchEngine())


@given(blocks=st.lists(st.integers(1, 40), min_size=1, max_size=6), columns=st.integers(1, 50))
def test_the_image_keeps_the_largest_salience_of_each_column(blocks, columns):
    frames = sum(blocks)
    salience_250 = np.random.default_rng(frames).random((5, frames), np.float32)
    image = SalienceImage(5, frames, columns)
    for part in np.split(salience_250, np.cumsum(blocks)[:-1], axis=1):
        image.push(part)
    width = image.frames_per_column
    expected = [
        salience_250[:, start : start + width].max(axis=1) for start in range(0, frames, width)
    ]
    assert len(expected) <= columns
    np.testing.assert_array_equal(image.image, np.stack(expected, axis=1))
