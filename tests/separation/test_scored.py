"""Separation with a score: the engine gets the pitches of the notes, and files tell of them."""

import csv
import json

import numpy as np
import pytest
import soundfile
from scored_engine import ROWS, SECONDS, ScoredEngine, noise
from small_engine import small_engine
from sung_score import piece, write_midi

from umss_jax.api import PitchTracker, Separator
from umss_jax.cli import f0, run, separate
from umss_jax.config import VOICES
from umss_jax.errors import ScoreError, UsageError
from umss_jax.scores.fit import open_score
from umss_jax.separation.stems import StemOptions

FRAMES = round(SECONDS / 0.016)


@pytest.fixture
def midi(tmp_path):
    return write_midi(tmp_path / "piece.mid", ROWS)


@pytest.fixture
def choir(tmp_path):
    soundfile.write(tmp_path / "choir.wav", noise(), 16_000, subtype="FLOAT")
    return tmp_path / "choir.wav"


@pytest.fixture
def engine(monkeypatch):
    made = ScoredEngine()
    for command in (separate, f0):
        monkeypatch.setattr(command, "load_engine", lambda *options: made)
    return made


def accuracy(f0_hz, true_hz):
    frames = min(f0_hz.shape[1], true_hz.shape[1])
    f0_hz, true_hz = f0_hz[:, :frames], true_hz[:, :frames]
    voiced = true_hz > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        return (np.abs(1200 * np.log2(f0_hz / true_hz))[voiced] < 25).mean()


def test_an_array_is_separated_by_its_score(engine, midi):
    separator = Separator(engine)
    result = separator.separate(noise(), 16_000, score=midi)
    assert accuracy(result.f0_hz_synth, engine.true_f0_hz) > 0.97
    np.testing.assert_allclose(result.stems.sum(axis=0) + result.residual, noise(), atol=1e-6)
    for number, given in enumerate(engine.given):  # segments get their own part of the whole
        start = number * engine.step
        part = np.pad(result.fit.f0_hz_synth, ((0, 0), (0, 250)))[:, start : start + 250]
        np.testing.assert_array_equal(given, part)
    assert result.likeness.five_or_more == 0.0  # the salience of the first pass counts
    without = separator.separate(noise(), 16_000)
    assert without.fit is None


def test_tracks_of_an_array(engine, midi):
    tracks = PitchTracker(engine).track(noise(), 16_000, score=open_score(midi))
    assert accuracy(tracks.f0_hz_synth, engine.true_f0_hz) > 0.97
    assert tracks.fit.followed > 0.99
    np.testing.assert_allclose(tracks.salience_synth, engine.salience[:, :FRAMES], atol=1e-6)


def test_the_folder_tells_of_every_note(engine, midi, choir, tmp_path):
    options = StemOptions(plot=True)
    track = Separator(engine).separate_file(choir, tmp_path / "out", options, score=midi)
    with (track.folder / "alignment.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(map(len, ROWS.values()))
    for voice in VOICES:
        sung = [row for row in rows if row["voice"] == voice]
        for row, (onset, offset, pitch) in zip(sung, ROWS[voice], strict=True):
            assert float(row["onset_s"]) == pytest.approx(1 + onset / 2, abs=0.05)
            assert float(row["offset_s"]) == pytest.approx(1 + offset / 2, abs=0.05)
            assert int(row["pitch_midi"]) == pitch
            assert (int(row["measure"]), float(row["beat"])) == (onset // 4 + 1, onset % 4 + 1)
            assert float(row["confidence"]) > 0.8
            assert row["used"] == "1"
    times = [float(row["onset_s"]) for row in rows]
    assert times == sorted(times)
    assert (track.folder / "alignment.png").read_bytes().startswith(b"\x89PNG")
    said = json.loads((track.folder / "manifest.json").read_text())
    assert said["score"]["file"] == "piece.mid"
    assert len(said["score"]["sha256"]) == 64
    assert said["score"]["transposition_semitones"] == 0
    assert said["score"]["followed"] > 0.99
    assert said["outputs"][-2:] == ["alignment.csv", "alignment.png"]
    table = np.loadtxt(track.folder / "f0.csv", delimiter=",", skiprows=1)
    assert accuracy(table[:, 1:].T, engine.true_f0_hz) > 0.97


def test_what_a_score_left_goes_with_the_folder_that_it_is_of(engine, midi, choir, tmp_path):
    separator, out = Separator(engine), tmp_path / "out"
    folder = separator.separate_file(choir, out, score=midi).folder
    (folder / "mine.txt").write_text("kept")
    separator.separate_file(choir, out, StemOptions(overwrite=True))
    assert not (folder / "alignment.csv").exists()
    assert (folder / "mine.txt").exists()
    assert "score" not in json.loads((folder / "manifest.json").read_text())


def call(*arguments, capfd):
    code = run([str(argument) for argument in arguments])
    caught = capfd.readouterr()
    return code, caught.out.splitlines(), caught.err.splitlines()


def test_the_commands(engine, midi, choir, tmp_path, capfd):
    out = tmp_path / "out"
    code, printed, said = call("separate", choir, "-o", out, "--score", midi, "-q", capfd=capfd)
    assert (code, printed, said) == (0, [str(out / "stub" / "choir")], [])
    engine.tracked = 0
    code, printed, said = call("f0", choir, "-o", out, "--score", midi, "--plot", capfd=capfd)
    files = [out / f"choir{suffix}" for suffix in (".f0.csv", ".f0.png", ".alignment.csv")]
    assert (code, printed, said) == (0, [str(file) for file in files], [])
    table = np.loadtxt(files[0], delimiter=",", skiprows=1)
    assert accuracy(table[:, 1:].T, engine.true_f0_hz) > 0.97


def test_a_poor_fit_is_said_on_one_line(engine, choir, tmp_path, capfd):
    first = {voice: [one for one in notes if one[1] < 14] for voice, notes in ROWS.items()}
    half = write_midi(tmp_path / "half.mid", first)
    line = "choir.wav: score half.mid fits "
    for command in ("separate", "f0"):
        for quiet in ([], ["-q"]):
            engine.tracked = 0
            out = tmp_path / f"{command}{len(quiet)}"
            _, _, said = call(command, choir, "-o", out, "--score", half, *quiet, capfd=capfd)
            told = [one for one in said if line in one]
            assert len(told) == (0 if quiet else 1)
            assert len(said) - len(told) <= (command == "separate")  # that it is no quartet
            for one in told:
                assert " to 0:11)" in one


@pytest.mark.parametrize("command", ["separate", "f0"])
def test_scores_that_do_not_fit_leave_nothing(engine, choir, tmp_path, capfd, command):
    text = tmp_path / "text.mid"
    text.write_text("no score")
    without = {voice: notes for voice, notes in ROWS.items() if voice != "bass"}
    bad = {
        text: "no MIDI file",
        tmp_path / "missing.mid": "No such file",
        write_midi(tmp_path / "three.mid", without): "no bass",
        write_midi(tmp_path / "other.mid", piece(24, seed=5)): "fits",
    }
    out = tmp_path / "out"
    for path, words in bad.items():
        engine.tracked = 0
        code, printed, said = call(command, choir, "-o", out, "--score", path, capfd=capfd)
        assert (code, printed, len(said)) == (1, [], 1)
        assert words in said[0]
        assert path.name in said[0]
        assert not out.exists() or not any(item.is_file() for item in out.rglob("*"))


def test_options_that_need_each_other(engine, choir, midi, tmp_path, capfd):
    for arguments, words in (
        (("separate", choir, "--plot"), "--score"),
        (("f0", choir, "--score", midi, "--assigner", "none"), "--assigner none"),
    ):
        code, _, said = call(*arguments, "-o", tmp_path / "out", capfd=capfd)
        assert (code, len(said)) == (2, 1)
        assert words in said[0]
    engine.voices = ()
    with pytest.raises(UsageError, match="needs voices"):
        PitchTracker(engine).track(noise(), 16_000, score=midi)
    with pytest.raises(ScoreError):
        Separator(engine).separate(noise(), 16_000, score=tmp_path / "missing.mid")


@pytest.mark.slow
def test_a_model_separates_by_the_pitches_that_it_is_given():
    """Two voices that swap their F0 swap their stems; F0 and silence come back as they were."""
    time_s = np.arange(16_128) / 16_000
    tones = [np.sin(2 * np.pi * hz * time_s) for hz in (440.0, 294.0)]
    mixture = np.sum(tones, axis=0, dtype=np.float32)[None] / 2
    given = np.zeros((1, 4, 63), np.float32)
    given[0, 0], given[0, 1] = 440.0, 294.0
    engine, seeds = small_engine(), np.zeros(1, np.uint32)
    stems, f0_hz, pitches = engine.separate(mixture, mixture[:, None], seeds, given)
    np.testing.assert_allclose(f0_hz, given, rtol=1e-6)
    assert pitches is None
    np.testing.assert_allclose(stems.sum(axis=1), mixture[:, None], atol=1e-5)
    swapped = engine.separate(mixture, mixture[:, None], seeds, given[:, [1, 0, 2, 3]]).stems_16k

    def heard(stem):
        return [abs(np.dot(stem, tone)) for tone in tones]

    for voice, other in ((0, 1), (1, 0)):
        ours, theirs = heard(stems[0, voice, 0]), heard(swapped[0, other, 0])
        assert int(np.argmax(ours)) == voice
        assert int(np.argmax(theirs)) == voice
