"""Pitch files of a recording, with an engine that needs no network."""

import csv

import mir_eval
import numpy as np
import pytest
import soundfile
from stub_pitch_engine import StubPitchEngine

from umss_jax.config import VOICES
from umss_jax.errors import OutputError, UsageError
from umss_jax.separation.pitch_files import PitchOptions, track_file
from umss_jax.separation.stream import track_array


def noise(samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.4, 0.4, samples).astype(np.float32)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "choir.wav"
    soundfile.write(path, np.stack([noise(150_000), noise(150_000, 1)], axis=1), 22_050)
    return path


def test_files_hold_what_the_array_call_returns(recording, tmp_path):
    options = PitchOptions(midi=True, salience=True, plot=True)
    seconds = []
    written = track_file(
        *(recording, tmp_path / "out", StubPitchEngine()),
        options=options,
        progress=lambda stage, amount: seconds.append(amount),
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
    np.testing.assert_allclose(table[:, 1:].T, expected.f0_hz_synth, atol=5e-4)
    assert {row[4] for row in rows[1:]} == {"0"}
    with np.load(written[2], allow_pickle=False) as archive:
        assert sorted(archive.files) == ["frequency_hz", "salience", "time_s"]
        np.testing.assert_array_equal(archive["salience"], expected.salience_synth)
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
        def pitches(self, mixture_16k, sang_before=None):
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
