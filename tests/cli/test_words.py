"""What the command says: of groups that stand alone, files named twice, and devices."""

import unicodedata

import numpy as np
import pytest
import soundfile
from stub_engine import StubEngine

from umss_jax.audio import media
from umss_jax.audio.recording import scan
from umss_jax.cli import run, separate
from umss_jax.errors import AudioError, DeviceError


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(separate, "load_engine", lambda *options: StubEngine())


def record(path):
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, 0.3 * np.random.default_rng(0).uniform(-1, 1, 8000), 16_000)
    return path


def call(capfd, *arguments):
    code = run([str(argument) for argument in arguments])
    caught = capfd.readouterr()
    return code, caught.out.splitlines(), caught.err.splitlines()


@pytest.mark.parametrize("group", ["data", "weights", "chorale"])
def test_a_group_alone_shows_its_help(capfd, group):
    code, out, err = call(capfd, group)
    assert (code, out) == (2, [])
    assert err[0].strip() == f"Usage: umss-jax {group} [OPTIONS] COMMAND [ARGS]..."
    assert len(err) > 5


@pytest.mark.parametrize(
    "again", ["q6.wav", "./q6.wav", "below/../q6.wav", "below/q6.wav", "Q6.wav"]
)
def test_the_same_file_twice_is_done_once(capfd, tmp_path, again):
    record(tmp_path / "q6.wav")
    (tmp_path / "below").mkdir()
    for link in (tmp_path / "below" / "q6.wav", tmp_path / "Q6.wav"):
        link.symlink_to(tmp_path / "q6.wav")
    code, out, err = call(capfd, "separate", "q6.wav", again, "-n", "stub")
    assert (code, out, len(err)) == (0, ["separated/stub/q6"], 1)
    assert "q6.wav is named twice" in err[0]
    assert "done once" in err[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/choir.wav", "a/CHOIR.wav"),
        ("a/Größe.wav", unicodedata.normalize("NFD", "a/Größe.wav")),
        ("a/choir..wav", "a/choir_.wav"),
    ],
)
def test_two_recordings_of_one_name_are_refused(capfd, tmp_path, one, other):
    for name in (one, other):
        record(tmp_path / name)
    code, out, err = call(capfd, "separate", one, other)
    assert (code, out, len(err)) == (2, [], 1)
    assert f"the results of {one} and {other} would both be called" in err[0]


@pytest.mark.parametrize("command", ["separate", "f0"])
@pytest.mark.parametrize("stem", ["a" * 251, "ä" * 125])
def test_a_name_too_long_for_the_results_is_told_before_the_work(capfd, tmp_path, command, stem):
    name = f"{stem}.wav"
    record(tmp_path / name)
    (tmp_path / "out").mkdir()
    code, out, err = call(capfd, command, name, "-o", "out", "-d", "tpu")
    if command == "f0":
        assert (code, out, len(err)) == (1, [], 1)
        assert "cannot be written (File name too long)" in err[0]
    else:
        assert (code, len(out)) == (0, 1)
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize("name", ["cpu", "CPU", " Cpu ", "auto", "AUTO"])
def test_devices_in_any_case(capfd, tmp_path, name):
    record(tmp_path / "choir.wav")
    assert call(capfd, "separate", "choir.wav", "-d", name, "-n", "stub")[0] == 0


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("cuda:0", "use -d gpu with CUDA_VISIBLE_DEVICES=0"),
        ("gpu:1", "use -d gpu with CUDA_VISIBLE_DEVICES=1"),
        ("cpu:0", "use -d cpu"),
        ("banana", "choose from auto, cpu, gpu, tpu"),
        ("", "choose from auto, cpu, gpu, tpu"),
    ],
)
def test_other_devices_are_told_what_to_say(capfd, name, word):
    from umss_jax.device import select_device

    code, out, err = call(capfd, "separate", "choir.wav", "-d", name)
    assert (code, out, len(err)) == (2, [], 1)
    assert word in err[0]
    assert "Value error" not in err[0]
    with pytest.raises(DeviceError, match=word):
        select_device(name)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("talk.mp4", "ffmpeg -i talk.mp4 talk.wav"),
        ("talk.wav", "ffmpeg -i talk.wav talk.converted.wav"),
        ("my talk.WAV", "ffmpeg -i 'my talk.WAV' 'my talk.converted.wav'"),
        ("it's.m4a", """ffmpeg -i 'it'"'"'s.m4a' 'it'"'"'s.wav'"""),
        ("-x.m4a", "ffmpeg -i ./-x.m4a ./-x.wav"),
    ],
)
def test_how_to_convert_what_cannot_be_decoded_without_ffmpeg(tmp_path, monkeypatch, name, command):
    monkeypatch.setattr(media, "has_pyav", lambda: False)
    (tmp_path / name).write_text("words " * 1000)
    with pytest.raises(AudioError) as caught:
        scan(name)
    assert f"pip install av, or convert it to WAV ({command})" in str(caught.value)


def test_a_file_called_as_the_standard_input(capfd, tmp_path):
    record(tmp_path / "x.wav").rename(tmp_path / "-")
    code, out, _ = call(capfd, "separate", "-n", "stub", "--", "-")
    assert (code, out) == (0, ["separated/stub/-"])
