"""The command's options for which files it writes: one line for each error, before any work."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from media_files import KINDS, encode, song

from umss_jax.audio.recording import read_blocks, scan
from umss_jax.cli import run
from umss_jax.separation.outputs import SOUNDS


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


def test_two_folders_as_arguments(stub, pieces, capfd):
    encode(Path("two/gloria.m4a"), [song(0.5)], KINDS["m4a"])
    asked = ("-n", "stub", "--stems", "alto", "--filename", "{folder}/{track}/{stem}.{ext}")
    code, out, err = call("one", "two/", *asked, capfd=capfd)
    assert (code, err) == (0, [])
    assert [line for line in out if line.endswith("alto.wav")] == [
        f"separated/{name}/alto.wav" for name in ("one/mixture", "two/gloria", "two/mixture")
    ]
    Path("two/gloria.m4a").unlink()
    asked = ("-n", "stub", "-o", "all", "--filename", "{folder}/{stem}.{ext}")
    code, out, err = call("one", "two", *asked, capfd=capfd)
    assert (code, err, len(out)) == (0, [], 14)
    assert {line.split("/")[1] for line in out} == {"one", "two"}
    for piece in ("one", "two"):
        stems = [soundfile.read(f"all/{piece}/{name}.wav")[0] for name in SOUNDS]
        mixture = soundfile.read(f"{piece}/mixture.wav")[0]
        np.testing.assert_allclose(sum(stems), mixture, atol=2.0**-22)


def test_results_called_by_a_template_are_no_recordings(stub, pieces, capfd):
    asked = ("-n", "stub", "-o", ".", "--filename", "{folder}/{stem}-of-{track}.{ext}")
    for more in ((), ("--overwrite",)):
        code, out, err = call("one", *asked, "--practice", *more, capfd=capfd)
        assert (code, len(out), err) == (0, 15, [])
    assert len(list(Path("one").glob("*.wav"))) == 14


def test_folders_whose_results_would_meet(stub, pieces, capfd):
    asked = ("-n", "stub", "--filename", "{track}/{stem}.{ext}")
    code, out, err = call("one", "two", *asked, capfd=capfd)
    assert (code, out, len(err)) == (2, [], 1)
    assert "one/mixture.wav and two/mixture.wav would both be called" in err[0]
    code, out, err = call("one", "two", "-n", "stub", capfd=capfd)
    assert (code, err) == (0, [])
    assert out == ["separated/stub/one_mixture", "separated/stub/two_mixture"]


def test_albums_of_recordings_of_one_name_are_told_apart(stub, pieces, capfd):
    code, out, err = call(*pieces, "-n", "stub", "--stems", "alto", capfd=capfd)
    assert (code, err) == (0, [])
    titles = [soundfile.SoundFile(f"{line}/alto.wav").copy_metadata()["title"] for line in out]
    assert titles == ["one_mixture - alto", "two_mixture - alto"]


def test_a_part_of_an_m4a(stub, pieces, capfd):
    path = encode(Path("choir.m4a"), [song(2.0)], KINDS["m4a"])
    asked = ("-n", "stub", "--start", 0.5, "--duration", 0.75, "--format", "flac")
    code, out, err = call(path, *asked, capfd=capfd)
    assert (code, out, err) == (0, ["separated/stub/choir"], [])
    stems = [soundfile.read(f"{out[0]}/{name}.flac")[0] for name in SOUNDS]
    (heard,) = read_blocks(scan(path), 1 << 20)
    expected = heard.T[22_050 : 22_050 + 33_075]
    np.testing.assert_allclose(sum(stems), expected, atol=2.0**-21)
    told = json.loads(Path(out[0], "manifest.json").read_text())["input"]
    assert (told["start_s"], told["duration_s"], told["file"]) == (0.5, 0.75, "choir.m4a")


@pytest.mark.parametrize("kind", ["m4a", "wav"])
def test_the_standard_input_with_practice_files(stub, pieces, capfd, monkeypatch, kind):
    path = Path(pieces[0])
    if kind == "m4a":
        path = encode(Path("x.m4a"), [song(1.0)], KINDS["m4a"])
    piped = SimpleNamespace(buffer=io.BytesIO(path.read_bytes()), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", piped)
    asked = ("-n", "stub", "--practice", "--start", 0.25, "--stems", "bass")
    named = ("--filename", "{folder}/{track}-{stem}.{ext}")
    code, out, err = call("-", pieces[1], *asked, *named, capfd=capfd)
    assert (code, err) == (0, [])
    names = ("bass.wav", "bass_predominant.wav", "bass_missing.wav", "f0.csv", "manifest.json")
    places = ("stdin/stdin", "two/mixture")
    assert out == [f"separated/{place}-{name}" for place in places for name in names]
    bass, rest = (soundfile.read(out[number])[0] for number in (0, 2))
    (heard,) = read_blocks(scan(path), 1 << 20)
    np.testing.assert_allclose(bass + rest, heard.T[11_025:], atol=2.0**-21)


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
