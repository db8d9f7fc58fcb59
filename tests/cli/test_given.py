"""What arguments of `separate` and `f0` stand for: folders, patterns, the standard input, names."""

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from media_files import KINDS, encode, song
from places import ROOT
from stub_engine import StubEngine

from umss_jax.cli import run, separate
from umss_jax.cli.given import listed
from umss_jax.separation.outputs import distinct_tracks


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(separate, "load_engine", lambda *options: StubEngine())


def record(name, seed=0):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.random.default_rng(seed).uniform(-1, 1, 8000), 16_000)
    return path


def call(capfd, *arguments):
    code = run([*map(str, arguments), "-n", "stub"])
    caught = capfd.readouterr()
    return code, caught.out.splitlines(), caught.err.splitlines()


def tracks(out):
    return [Path(line).name for line in out]


def test_a_folder_is_the_recordings_in_it(capfd):
    for name in ("b.wav", "a.WAV", "c.flac", "below/d.wav"):
        record(f"choir/{name}")
    encode(Path("choir/e.m4a"), [song(0.5)], KINDS["m4a"])
    encode(Path("choir/film.mp4"), [song(0.5)], KINDS["mp4"], video=True)
    for name in ("notes.txt", "score.mid", ".hidden.wav", "._b.wav", "cover.jpg"):
        Path("choir", name).write_bytes(b"no recording")
    code, out, err = call(capfd, "separate", "choir/")
    assert (code, err) == (0, [])
    assert tracks(out) == ["a", "b", "c", "e", "film"]
    assert all(Path(line, "manifest.json").is_file() for line in out)


def test_a_folder_of_results_is_none_of_recordings(capfd):
    folder = Path(call(capfd, "separate", record("choir.wav"))[1][0])
    assert len(list(folder.glob("*.wav"))) == 5
    code, out, err = call(capfd, "separate", folder)
    assert (code, out, len(err)) == (1, [], 1)
    assert f"{folder} is a directory without recordings" in err[0]
    other = record(folder / "rehearsal.wav")
    assert listed([folder]) == [other]
    code, out, err = call(capfd, "separate", ".", "--overwrite")
    assert (code, tracks(out), err) == (0, ["choir"], [])


def test_notes_as_tones_are_no_recordings(capfd, monkeypatch):
    from stub_pitch_engine import StubPitchEngine

    from umss_jax.cli import f0

    monkeypatch.setattr(f0, "load_engine", lambda *options: StubPitchEngine())
    recordings = [record("choir/a.wav"), record("choir/high.notes.wav")]
    asked = ("f0", "choir", "-o", "choir", "--sonify")
    first = call(capfd, *asked)
    assert (first[0], len(first[1]), first[2]) == (0, 4, [])
    assert call(capfd, *asked, "--overwrite") == first
    assert listed([Path("choir")]) == recordings


def test_a_folder_without_recordings_names_one_below(capfd):
    record("year/2024/choir.wav")
    Path("empty").mkdir()
    code, out, err = call(capfd, "separate", "year", "empty", record("one.wav"))
    assert (code, tracks(out)) == (1, ["one"])
    assert "year is a directory without recordings: name those in it that do" in err[0]
    assert "year/2024" in err[0]
    assert "empty is a directory without recordings: name another" in err[1]


def test_of_one_recording_in_two_formats_the_better_is_taken(capfd):
    record("choir/a.flac")
    soundfile.write("choir/a.mp3", song(0.5).T, 44_100)
    record("choir/b.wav")
    code, out, err = call(capfd, "separate", "choir")
    assert (code, tracks(out), len(err)) == (0, ["a", "b"], 1)
    assert "instead of a.mp3" in err[0]
    manifest = json.loads(Path(out[0], "manifest.json").read_text())
    assert manifest["input"]["file"] == "a.flac"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.wav", ["a.wav", "b.wav"]),
        ("[a]*.wav", ["a.wav"]),
        ("choir/*", ["choir/c.flac", "choir/d.ogg"]),
        ("**/*.ogg", ["choir/d.ogg"]),
        ("cho?r", ["choir/c.flac", "choir/d.ogg"]),
        ("x[1].wav", ["x[1].wav"]),
    ],
)
def test_patterns_that_no_shell_expanded(pattern, expected):
    for name in ("b.wav", "a.wav", "choir/d.ogg", "choir/c.flac"):
        record(name)
    if pattern.startswith("x"):
        record("x[1].wav")
    assert [path.as_posix() for path in listed([Path(pattern)])] == expected


def test_a_pattern_that_matches_nothing(capfd):
    code, out, err = call(capfd, "separate", "*.wav")
    assert (code, out) == (1, [])
    assert err == ["umss-jax: *.wav does not exist, nor is anything called so: check the path"]


class Input:
    """A standard input that is a pipe."""

    def __init__(self, content):
        self.buffer = io.BytesIO(content)

    def isatty(self):
        return False


@pytest.mark.parametrize("kind", ["wav", "m4a"])
def test_the_standard_input(capfd, monkeypatch, tmp_path, kind):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spool"))
    (tmp_path / "spool").mkdir()
    path = record("x.wav")
    if kind == "m4a":
        path = encode(Path("x.m4a"), [song(0.5)], KINDS["m4a"])
    monkeypatch.setattr(sys, "stdin", Input(path.read_bytes()))
    code, out, err = call(capfd, "separate", "-", path)
    assert (code, out, err) == (0, ["separated/stub/stdin", "separated/stub/x"], [])
    one, other = (json.loads(Path(line, "manifest.json").read_text())["input"] for line in out)
    assert (one["file"], other["file"]) == ("stdin", path.name)
    assert one["sha256"] == other["sha256"]
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "stdin is empty"), (b"words " * 100, "stdin is not audio")]
)
def test_a_standard_input_without_sound_is_called_so(capfd, monkeypatch, content, words):
    monkeypatch.setattr(sys, "stdin", Input(content))
    code, out, err = call(capfd, "separate", "-")
    assert (code, out, len(err)) == (1, [], 1)
    assert err[0].startswith(f"umss-jax: {words}")


def test_a_standard_input_that_is_a_terminal(capfd, monkeypatch):
    terminal = Input(b"")
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    code, out, err = call(capfd, "separate", "-")
    assert (code, out, len(err)) == (2, [], 1)
    assert "nothing is piped into it" in err[0]


def test_ctrl_c_while_nothing_comes_through_the_pipe(tmp_path):
    (tmp_path / "spool").mkdir()
    child = subprocess.Popen(
        [sys.executable, "-m", "umss_jax", "separate", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path / "spool"), "PYTHONPATH": str(ROOT)},
    )
    child.stdin.write(b"RIFF")
    child.stdin.flush()
    for _ in range(600):
        if [file for file in tmp_path.glob("spool/*/stdin/stdin") if file.is_file()]:
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=30) == 130
    assert b"interrupted" in child.stderr.read()
    assert list((tmp_path / "spool").iterdir()) == []
    child.stdin.close()
    child.stderr.close()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["2023/credo.wav", "2024/credo.flac"], ["2023_credo", "2024_credo"]),
        (["2023/live/credo.wav", "2024/live/credo.wav"], ["2023_credo", "2024_credo"]),
        (["credo.wav", "old/credo.wav"], ["credo", "old_credo"]),
        (["a/x/credo.wav", "a/y/z/credo.wav"], ["x_credo", "y_z_credo"]),
        (["1/a/c.wav", "1/b/c.wav", "2/a/c.wav"], ["1_a_c", "1_b_c", "2_a_c"]),
        (["../.old/c.wav", "new/c.wav"], ["_old_c", None]),
    ],
)
def test_recordings_of_one_name_are_told_apart_by_their_folders(files, expected):
    names = distinct_tracks([Path(file) for file in files])
    assert len({*names}) == len(files)
    for name, wanted in zip(names, expected, strict=True):
        assert name == wanted or wanted is None
        assert not name.startswith(".")


def test_windows_names_of_drives_are_no_folders():
    (name, _) = distinct_tracks([Path("con:/c.wav"), Path("d/c.wav")], windows=True)
    assert ":" not in name


@pytest.mark.parametrize("command", ["separate", "f0"])
def test_two_recordings_of_one_name_have_results_of_their_own(capfd, monkeypatch, command):
    from stub_pitch_engine import StubPitchEngine

    from umss_jax.cli import f0

    monkeypatch.setattr(f0, "load_engine", lambda *options: StubPitchEngine())
    files = [record("2023/credo.wav", 1), record("2024/credo.wav", 2), record("gloria.wav", 3)]
    code, out, err = call(capfd, command, *files)
    assert (code, err) == (0, [])
    assert [name.split(".")[0] for name in tracks(out)] == ["2023_credo", "2024_credo", "gloria"]
    again = call(capfd, command, *files, "--skip-existing", "-q")
    assert again == (0, [], [])


def test_a_missing_recording_does_not_change_the_names_of_others(capfd):
    files = [record("credo.wav"), "elsewhere/credo.wav"]
    code, out, _ = call(capfd, "separate", *files)
    assert (code, tracks(out)) == (1, ["credo"])
    files = [record("2023/credo.wav"), record("2024/credo.wav"), "a/b/c/credo.wav"]
    code, out, _ = call(capfd, "separate", *files)
    assert (code, tracks(out)) == (1, ["2023_credo", "2024_credo"])


def test_a_name_that_is_taken_by_another_is_refused(capfd):
    files = [record("a/c.wav"), record("b/c.wav"), record("a_c.wav")]
    code, out, err = call(capfd, "separate", *files)
    assert (code, out, len(err)) == (2, [], 1)
    assert "would both be called 'a_c'" in err[0]


def test_the_choice_among_tracks_is_told(capfd):
    path = Path("two.mka")
    encode(path, [song(0.5), song(0.5)], KINDS["mka flac"], languages=("eng", "cat"))
    code, _, err = call(capfd, "separate", path)
    assert (code, len(err)) == (0, 1)
    assert "two.mka has 2 sound tracks: number 1 (eng) is taken" in err[0]
    assert call(capfd, "separate", path, "-q", "--overwrite")[2] == []


def test_one_model_is_kept_of_one_recording_only(capfd):
    record("choir/a.wav")
    record("choir/b.wav")
    code, _, err = call(capfd, "separate", "choir", "--adapt", 1, "--save-adapted", "mine")
    assert (code, len(err)) == (2, 1)
    assert "here are 2 recordings" in err[0]
