"""``umss-jax demo``: what it writes and prints, and that the starter weights do the job."""

import csv
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from places import ROOT
from stub_engine import StubEngine

from umss_jax import api, demo
from umss_jax.chorales.config import DemoConfig
from umss_jax.chorales.render import Rendering
from umss_jax.chorales.scores import embedded_scores
from umss_jax.cli import run
from umss_jax.config import VOICES
from umss_jax.errors import AudioError, OutputError

F0_HZ = np.float32([440, 300, 200, 110])
FILES = {
    *(f"{name}.wav" for name in (*VOICES, "residual", "mixture")),
    *("f0.csv", "manifest.json", "report.html", "targets"),
}


class Untidy(StubEngine):
    """Fails in the middle of its work."""

    def separate(self, *arguments, **_):
        raise AudioError("the engine broke", "mend it")


@pytest.fixture
def sung(monkeypatch):
    """Four tones in place of the synthesiser, and what it was asked for."""
    asked = []

    def render(score, seed, config):
        asked.append((score.title, seed, config.longest_s))
        time_s = np.arange(3 * 16_000) / 16_000
        stems = 0.2 * np.sin(2 * np.pi * F0_HZ[:, None] * time_s)
        f0_hz = np.repeat(F0_HZ[:, None], len(time_s) // 256 + 1, axis=1)
        return Rendering(score, stems.astype(np.float32), f0_hz, (1, 1, 1, 1))

    monkeypatch.setattr(demo, "render", render)
    return asked


@pytest.fixture
def stub(monkeypatch):
    """Shares of the mixture in place of the starter weights, and how they were loaded."""
    loaded = []

    def load(*arguments, **options):
        loaded.append((arguments, options))
        return api.Separator(StubEngine())

    monkeypatch.setattr(api, "load", load)
    return loaded


def pcm(path):
    return soundfile.read(path, dtype="int32")[0].astype(np.int64)


def test_the_score_is_none_of_bachs_and_of_the_package():
    """The F0 networks learn on chorales by Bach, who set tunes of the others."""
    (score,) = (one for one in embedded_scores() if one.title == DemoConfig().score)
    assert "invented for this project" in score.origin


def test_what_is_written_and_printed(sung, stub, tmp_path, capsys):
    out = tmp_path / "new" / "demo"
    assert run(["demo", "-o", str(out), "--seed", "3", "-q"]) == 0
    printed, messages = capsys.readouterr()
    assert messages == ""
    assert {path.name for path in out.iterdir()} == FILES
    assert sung == [("Evening", 3, DemoConfig().longest_s)]
    assert [(one, options["config"].seed) for one, options in stub] == [((), 3)]
    total = sum(pcm(out / f"{name}.wav") for name in (*VOICES, "residual"))
    np.testing.assert_array_equal(total, pcm(out / "mixture.wav"))
    true = sum(pcm(out / "targets" / f"{voice}.wav") for voice in VOICES)
    np.testing.assert_allclose(true, pcm(out / "mixture.wav"), atol=4 * 2**16)
    with (out / "targets" / "alto.f0.csv").open(newline="") as file:
        assert {row["frequency"] for row in csv.DictReader(file)} == {"300.000"}
    assert "Soprano, target" in (out / "report.html").read_text(encoding="utf-8")
    assert json.loads((out / "manifest.json").read_text())["seed"] == 3
    lines = printed.splitlines()
    assert lines[0].split() == ["voice", "SI-SDR", "mixture", "RPA"]
    assert [line.split()[0] for line in lines[1:6]] == [*VOICES, "all"]
    # The stub says 400, 300 and 200 Hz raised by a little in every segment, and no bass.
    assert lines[2].split()[-1] == lines[3].split()[-1] == "1.000"
    assert lines[4].split()[-1] == "0.000"
    assert lines[-2:] == [f"stems   {out}", f"report  {out / 'report.html'}"]


def test_an_earlier_demo_is_replaced_only_when_asked_for(sung, stub, tmp_path, capsys):
    out = tmp_path / "demo"
    assert run(["demo", "-o", str(out)]) == 0
    before = pcm(out / "alto.wav")
    (out / "notes.txt").write_text("mine")
    (out / "targets" / "notes.txt").write_text("mine")
    capsys.readouterr()
    assert run(["demo", "-o", str(out), "--seed", "1"]) == 1
    assert capsys.readouterr().err == (
        f"umss-jax: {out} exists: use --overwrite or choose another -o\n"
    )
    assert len(stub) == 1, "refused before anything is done"
    assert run(["demo", "-o", str(out), "--seed", "1", "--overwrite"]) == 0
    assert {path.name for path in out.iterdir()} == {*FILES, "notes.txt"}
    assert (out / "targets" / "notes.txt").read_text() == "mine"
    assert np.any(pcm(out / "alto.wav") != before)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_failure_is_one_line_and_leaves_nothing(sung, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(api, "load", lambda **options: api.Separator(Untidy()))
    assert run(["demo", "-o", str(tmp_path / "demo"), "-q"]) == 1
    assert capsys.readouterr() == ("", "umss-jax: the engine broke: mend it\n")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        demo.run_demo(tmp_path / "file" / "demo")


def test_the_adaptation_hears_the_mixture(sung, stub, tmp_path, monkeypatch):
    from umss_jax.train import adapt as adaptation

    heard = []

    def adapt(engine, segments, config, progress):
        heard.append((segments.shape[1], config.steps, config.seed))
        return adaptation.Adapted(engine, {})

    monkeypatch.setattr(adaptation, "adapt", adapt)
    told = []
    demo.run_demo(tmp_path / "demo", 2, DemoConfig(adapt_steps=7), tell=told.append)
    assert heard == [(64_000, 7, 2)]
    assert "adapting in 7 steps" in told


@pytest.mark.slow
def test_the_demo_itself(tmp_path):
    """From an empty folder, with an empty store and without reference data."""
    environment = {
        **os.environ,
        "UMSS_JAX_HOME": str(tmp_path / "home"),
        "UMSS_SHARED": str(tmp_path / "nowhere"),
        "PYTHONPATH": str(ROOT),
    }
    place = tmp_path / "place"
    place.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "umss_jax", "demo"],
        capture_output=True,
        text=True,
        cwd=place,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in place.iterdir()] == ["demo"]
    assert {path.name for path in (place / "demo").iterdir()} == FILES
    manifest = json.loads((place / "demo" / "manifest.json").read_text())
    assert (manifest["model"], manifest["assigner"]) == ("starter", "small-voices")
    stem_db, mixture_db, accuracy = map(
        float, re.search(r"^all +(\S+) dB +(\S+) dB +(\S+)$", done.stdout, re.MULTILINE).groups()
    )
    assert stem_db > mixture_db + 5
    assert accuracy > 0.7
    voices = [pcm(place / "demo" / f"{name}.wav") for name in (*VOICES, "residual")]
    np.testing.assert_array_equal(sum(voices), pcm(place / "demo" / "mixture.wav"))


def test_what_is_no_folder_of_a_demo_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("somebody's")
    foreign, out = tmp_path / "foreign", tmp_path / "out"
    foreign.mkdir()
    out.mkdir()
    (out / demo.TARGETS).symlink_to(foreign)
    for place, words in ((tmp_path / "file", "is a file"), (out, "leads elsewhere")):
        with pytest.raises(OutputError, match=words):
            demo.run_demo(place, overwrite=True)
    assert not list(foreign.iterdir())
