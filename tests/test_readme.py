"""What the README shows, run."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from places import ROOT
from small_engine import small_engine

from umss_jax import api

README = ROOT / "README.md"


def test_the_python_lines_run(tmp_path, monkeypatch, capsys):
    """On four seconds, a small model and two steps; nothing else is changed."""
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert block.count("\n") <= 12
    steps, changed = re.subn(r"steps=\d+", "steps=2", block)
    assert changed == 1
    time_s = np.arange(64_000) / 16_000
    voices = [np.sin(2 * np.pi * hz * time_s) for hz in (440.0, 330.0, 220.0, 110.0)]
    soundfile.write(tmp_path / "choir.wav", 0.2 * np.sum(voices, axis=0), 16_000)
    monkeypatch.chdir(tmp_path)

    def load():
        return api.Separator(small_engine())

    monkeypatch.setattr(api, "load", load)
    exec(compile(steps, "README.md", "exec"), {})
    folder = Path(capsys.readouterr().out.strip())
    assert folder == Path("separated/small/choir")
    stems = [
        soundfile.read(folder / f"{voice}.wav")[0]
        for voice in ("soprano", "alto", "tenor", "bass", "residual")
    ]
    recording = soundfile.read("choir.wav")[0]
    np.testing.assert_allclose(np.sum(stems, axis=0), recording, atol=1e-3 * recording.max())


@pytest.mark.parametrize("target", ["demo", "test", "test-all", "test-wheel", "bench"])
def test_make_targets_named_in_the_readme_exist(target):
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
