"""``umss-jax f0``: exit codes, one line for each error, nothing half-written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from places import HELPERS, ROOT
from stub_pitch_engine import StubPitchEngine

from umss_jax.cli import f0, run
from umss_jax.config import VOICES

COMMAND = f"""
import sys
sys.path[:0] = [{str(HELPERS)!r}, {str(ROOT)!r}]
from stub_pitch_engine import StubPitchEngine
from umss_jax.cli import f0, main
f0.load_engine = lambda *options: StubPitchEngine(delay_s=float(sys.argv[1]))
main(sys.argv[2:])
"""


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))


@pytest.fixture
def loaded(monkeypatch):
    """The options of every load, which gives a stub."""
    calls = []

    def load(*options):
        calls.append(options)
        return StubPitchEngine(voices=VOICES if options[1] != "none" else ())

    monkeypatch.setattr(f0, "load_engine", load)
    return calls


@pytest.fixture
def choir(tmp_path):
    return record(tmp_path / "choir.wav")


def record(path, seconds=1.0, rate=44_100):
    audio = 0.4 * np.random.default_rng(0).uniform(-1, 1, (int(seconds * rate), 2))
    soundfile.write(path, audio, rate)
    return path


def call(capfd, *arguments):
    """Exit code and the lines of stdout and stderr."""
    code = run(["f0", *(str(argument) for argument in arguments)])
    caught = capfd.readouterr()
    return code, caught.out.splitlines(), caught.err.splitlines()


def test_help_does_not_import_jax():
    code = (
        "import sys; from umss_jax.cli import run\n"
        "run(['f0', '--help'])\n"
        "heavy = {'jax', 'flax', 'librosa', 'scipy', 'numpy', 'matplotlib', 'mido'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    for option in ("--assigner", "voas-clstm", "--midi", "--salience", "--plot", "--name"):
        assert option in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_writes_and_prints_the_files(loaded, choir, tmp_path, capfd):
    out = tmp_path / "out"
    other = record(tmp_path / "other.flac", 9.0)
    code, printed, err = call(capfd, choir, other, "-o", out, "--midi", "--plot", "--salience")
    assert (code, err) == (0, [])
    endings = ("f0.csv", "f0.mid", "salience.npz", "f0.png")
    expected = [str(out / f"{name}.{ending}") for name in ("choir", "other") for ending in endings]
    assert printed == expected
    assert sorted(str(path) for path in out.iterdir()) == sorted(expected)
    assert len(loaded) == 1
    lines = (out / "choir.f0.csv").read_text().splitlines()
    assert lines[0] == "time_s,soprano,alto,tenor,bass"
    assert lines[1] == "0.000,100.000,200.000,300.000,0"
    assert lines[-1].startswith("0.992,")
    assert len(lines) == 1 + 63
    file = mido.MidiFile(out / "choir.f0.mid")
    assert [track.name for track in file.tracks[1:]] == list(VOICES)


def test_options_reach_the_networks(loaded, choir, tmp_path, capfd):
    arguments = (
        "-n",
        "a+b",
        "--assigner",
        "none",
        "-d",
        "cpu",
        "--chain",
        "paper",
        "--segment",
        2,
        "--overlap",
        0.5,
    )
    code, _, err = call(capfd, choir, "-o", tmp_path, *arguments, "-q")
    assert (code, err) == (0, [])
    ((name, assigner, chain, device, config, voices),) = loaded
    assert voices is None
    assert (name, assigner, chain, device) == ("a+b", "none", "paper", "cpu")
    assert (config.segment_s, config.overlap) == (2.0, 0.5)
    assert (tmp_path / "choir.f0.csv").read_text().startswith("0.000\t100.000")


def test_existing_files(loaded, choir, tmp_path, capfd):
    arguments = (choir, "-o", tmp_path)
    assert call(capfd, *arguments)[0] == 0
    code, printed, err = call(capfd, *arguments)
    assert (code, printed, len(err), len(loaded)) == (1, [], 1, 1)
    assert str(choir) in err[0]
    assert "--skip-existing" in err[0]
    code, printed, err = call(capfd, *arguments, "--skip-existing")
    assert (code, printed, len(err)) == (0, [], 1)
    assert f"passed over, since results are there: {choir} (1 of 1)" in err[0]
    assert len(loaded) == 1  # no model is loaded for nothing
    code, printed, err = call(capfd, *arguments, "--skip-existing", "--midi")
    assert (code, printed, err) == (0, [str(tmp_path / "choir.f0.mid")], [])
    assert call(capfd, *arguments, "--overwrite")[:2] == (0, [str(tmp_path / "choir.f0.csv")])


def test_bad_files_are_named_and_the_others_done(loaded, tmp_path, capfd):
    missing, text = tmp_path / "missing.wav", tmp_path / "text.ogg"
    text.write_text("words " * 1000)
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(5000), 16_000)
    good = [record(tmp_path / "first.wav"), record(tmp_path / "last.wav")]
    files = (good[0], missing, text, silent, good[1])
    code, printed, err = call(capfd, *files, "-o", tmp_path / "out")
    assert code == 1
    assert [Path(line).name for line in printed] == ["first.f0.csv", "last.f0.csv"]
    assert len(err) == 4
    for path, line in zip((missing, text, silent), err, strict=False):
        assert line.startswith(f"umss-jax: {path} ")
    assert "3 of 5 files failed" in err[-1]
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "FILE..."),
        (("{choir}", "--assigner", "dice"), "dice"),
        (("{choir}", "--segment", "0.2"), "--segment"),
        (("{choir}", "--overlap", "0.7"), "--overlap"),
        (("{choir}", "-q", "-v"), "--quiet"),
        (("{choir}", "--overwrite", "--skip-existing"), "--overwrite"),
        (("{choir}", "--assigner", "none", "--midi"), "--midi"),
        (("{choir}", "-o", "{choir}/out"), "-o"),
        (("elsewhere/choir.wav", "elsewhere/CHOIR.flac"), "elsewhere/CHOIR.flac"),
    ],
)
def test_usage_errors_are_one_line_and_2(loaded, choir, capfd, arguments, word):
    code, printed, err = call(capfd, *(argument.format(choir=choir) for argument in arguments))
    assert (code, printed, len(err)) == (2, [], 1)
    assert word in err[0]
    assert loaded == []


@pytest.mark.parametrize(("option", "package"), [("--midi", "mido"), ("--plot", "matplotlib")])
def test_absent_extras_are_named(loaded, choir, tmp_path, capfd, monkeypatch, option, package):
    monkeypatch.setattr(
        "umss_jax.separation.pitch_files.importlib.util.find_spec",
        lambda name: None if name == package else object(),
    )
    code, printed, err = call(capfd, choir, "-o", tmp_path / "out", option)
    assert (code, printed, len(err)) == (2, [], 1)
    assert package in err[0]
    assert f"umss-jax[{option.removeprefix('--')}]" in err[0]
    assert loaded == []


@pytest.mark.parametrize("options", [("-n", "no-such-model"), ("-n", "x+"), ("-d", "tpu")])
def test_unknown_model_and_absent_device(choir, tmp_path, capfd, options):
    code, printed, err = call(capfd, choir, "-o", tmp_path / "out", *options)
    assert (code, printed, len(err)) == (2, [], 1)
    assert options[1] in err[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_interruption_leaves_nothing_half_written(tmp_path, number, code):
    done, running = record(tmp_path / "done.wav"), record(tmp_path / "running.wav", 40.0)
    out = tmp_path / "out"
    child = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "0.5", "f0", done, running, "-o", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(600):
        if (out / "done.f0.csv").exists() and list(out.glob(".partial-*/*/running.f0.csv")):
            break
        time.sleep(0.05)
    child.send_signal(number)
    printed, messages = child.communicate(timeout=30)
    assert child.returncode == code
    assert [path.name for path in out.iterdir()] == ["done.f0.csv"]
    assert printed.splitlines() == [str(out / "done.f0.csv")]
    assert "Traceback" not in messages


@pytest.mark.skipif(os.name != "posix", reason="file names are text there")
def test_names_that_are_not_utf_8(tmp_path):
    path = record(tmp_path / "choir.wav").rename(tmp_path / os.fsdecode(b"b\xe4sse.wav"))
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "0", "f0", path, "-o", tmp_path, "--plot", "--midi"],
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines()[0] == os.fsencode(tmp_path) + b"/b\xe4sse.f0.csv"


@pytest.mark.slow
def test_published_networks_on_real_voices(shared, tmp_path, capfd, monkeypatch):
    """Four solo singers, mixed: the continuity rule finds most of what CREPE heard in each."""
    from umss_jax.config import AudioConfig
    from umss_jax.data.excerpts import NINO_DIOS, csd_excerpts

    monkeypatch.setenv("UMSS_SHARED", str(shared))
    root = shared / "datasets" / "ChoralSingingDataset"
    excerpt = next(csd_excerpts(root, [NINO_DIOS], audio=AudioConfig()))
    path = tmp_path / "nino.wav"
    soundfile.write(path, 0.9 * excerpt.mixture, 16_000)
    reference = excerpt.f0_hz_synth
    accuracy = {}
    for assigner in ("voas-cnn", "heuristic"):
        out = tmp_path / assigner
        options = ("-o", out, "--assigner", assigner, "--salience", "-d", "cpu", "-q")
        assert call(capfd, path, "-n", "published", *options)[0] == 0
        table = np.genfromtxt(out / "nino.f0.csv", delimiter=",", names=True)
        found = np.stack([table[voice] for voice in VOICES])
        assert found.shape == reference.shape
        voiced = reference > 20
        cents = 1200 * np.abs(np.log2(np.maximum(found, 1e-3) / np.maximum(reference, 1e-3)))
        accuracy[assigner] = (cents[voiced] <= 50).mean()
    assert accuracy["heuristic"] > 0.6
    assert accuracy["voas-cnn"] > 0.5
    out = tmp_path / "none"
    options = ("-n", "published", "--assigner", "none", "-q")
    assert call(capfd, path, "-o", out, *options)[0] == 0
    rows = [line.split("\t") for line in (out / "nino.f0.csv").read_text().splitlines()]
    pitches = [np.array(row[1:], float) for row in rows]
    near = [
        any(1200 * np.abs(np.log2(pitches[t] / reference[voice, t])) <= 50)
        for voice, t in zip(*np.nonzero(voiced), strict=True)
    ]
    assert np.mean(near) >= max(accuracy.values()) - 0.02
