"""The command's options for which files it writes: one line for each error, before any work."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from stub_engine import StubEngine

from umss_jax.cli import run, separate


@pytest.fixture
def stub(monkeypatch):
    engine = StubEngine()
    monkeypatch.setattr(separate, "load_engine", lambda *options: engine)
    return engine


@pytest.fixture
def pieces(tmp_path, monkeypatch):
    """Two folders with a mixture each, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for number, piece in enumerate(("one", "two")):
        Path(piece).mkdir()
        audio = 0.4 * np.random.default_rng(number).uniform(-1, 1, (44_100, 2))
        soundfile.write(f"{piece}/mixture.wav", audio, 44_100)
    return ["one/mixture.wav", "two/mixture.wav"]


def call(*arguments, capfd):
    code = run(["separate", *map(str, arguments)])
    caught = capfd.readouterr()
    return code, caught.out.splitlines(), caught.err.splitlines()


def test_mixtures_of_several_folders_in_one_call(stub, pieces, capfd):
    named = ("-n", "stub", "--filename", "{folder}/{stem}.{ext}", "-q")
    asked = ("--stems", "bass, soprano", "--format", "ogg", "--practice", "--duration", 0.5)
    code, out, err = call(*pieces, *named, *asked, capfd=capfd)
    assert (code, err) == (0, [])
    sounds = [
        *("soprano.ogg", "bass.ogg", "soprano_predominant.ogg", "soprano_missing.ogg"),
        *("bass_predominant.ogg", "bass_missing.ogg", "f0.csv", "manifest.json"),
    ]
    assert out == [f"separated/{piece}/{name}" for piece in ("one", "two") for name in sounds]
    assert all(Path(line).is_file() for line in out)
    assert {soundfile.info(line).frames for line in out if line.endswith("ogg")} == {22_050}
    code, out, err = call(*pieces, *named, *asked, "--skip-existing", capfd=capfd)
    assert (code, out, err) == (0, [], [])
    code, out, err = call(*pieces, *named, *asked, capfd=capfd)
    assert (code, out, len(err)) == (1, [], 3)


def test_a_recording_named_twice_is_done_once(stub, pieces, capfd):
    template = ("--filename", "{folder}-{stem}.{ext}", "-n", "stub", "--stems", "alto")
    code, out, err = call(pieces[0], f"./{pieces[0]}", *template, capfd=capfd)
    assert (code, len(out)) == (0, 3)
    assert "is named twice" in err[0]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--format", "aac"), "--format"),
        (("--format", "mp3", "--flac"), "--flac"),
        (("--format", "flac", "--float32"), "--float32"),
        (("--stems", "soprano,viola"), "viola"),
        (("--stems", ","), "--stems"),
        (("--practice", "--stems", "residual"), "--stems"),
        (("--practice", "--tempo", "0.1"), "--tempo"),
        (("--practice", "--tempo", "nan"), "--tempo"),
        (("--practice", "--others-db", "3"), "--others-db"),
        (("--tempo", "0.8"), "--practice"),
        (("--others-db", "-6"), "--practice"),
        (("--start", "-1"), "--start"),
        (("--start", "inf"), "--start"),
        (("--duration", "0"), "--duration"),
        (("--filename", "{title}/{stem}.{ext}"), "{folder}"),
        (("--filename", "{folder}/../../{stem}.{ext}"), "leads out"),
        (("--filename", "{track}/{stem}.{ext}"), "both be called"),
        (("--filename", "{stem}/{folder}.wav"), ".{ext}"),
    ],
)
def test_usage_errors_are_one_line_and_2(stub, pieces, capfd, options, word):
    code, out, err = call(*pieces, "-n", "stub", *options, capfd=capfd)
    assert (code, out, len(err)) == (2, [], 1)
    assert word in err[0]
    assert stub.heard == []
    assert not Path("separated").exists()


def test_another_tempo_needs_its_library(stub, pieces, capfd, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "python_stretch", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, out, err = call(pieces[0], "--practice", "--tempo", "0.8", capfd=capfd)
    assert (code, out, len(err)) == (2, [], 1)
    assert "umss-jax[practice]" in err[0]


@pytest.mark.parametrize(
    ("options", "word"),
    [(("--start", "5"), "--start"), (("--format", "mp3"), "MP3")],
)
def test_a_recording_that_cannot_be_done_leaves_the_others(stub, pieces, capfd, options, word):
    if "mp3" in options:
        soundfile.write(pieces[0], np.full((9_000, 3), 0.1), 44_100)
    else:
        soundfile.write(pieces[1], np.full((44_100 * 6, 2), 0.1), 44_100)
    named = ("-n", "stub", "--filename", "{folder}/{stem}.{ext}", "-q")
    code, out, err = call(*pieces, *named, *options, capfd=capfd)
    assert (code, len(err)) == (1, 2)
    assert word in err[0]
    assert pieces[0] in err[0]
    assert len(out) == 7
    assert not Path("separated/one").exists()
