"""Folders that may not be entered: one line, exit code 1, whatever a command looks for there."""

import os

import pytest

from umss_jax.cli import run

LOCKED = "locked"


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """A folder that the system refuses, also to root: every look at what is below it fails."""
    place = str(tmp_path / LOCKED)

    def refusing(call):
        def refuse(path, *arguments, **options):
            if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(place):
                raise PermissionError(13, "Permission denied", os.fsdecode(path))
            return call(path, *arguments, **options)

        return refuse

    for name in ("stat", "lstat", "open", "mkdir", "scandir", "listdir"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    return tmp_path / LOCKED


@pytest.mark.parametrize(
    "command",
    [
        "separate choir.wav -o {}/out",
        "separate {}/choir.wav -o out",
        "f0 choir.wav -o {}/out",
        "chorale make -o {}/out -n 1 --longest 3",
        "data check {}/set",
        "evaluate --baselines --dataset folder --data {}/set",
        "report {}/out",
        "weights show {}/x.safetensors",
        "demo -o {}/demo",
    ],
)
def test_one_line_names_it(locked, capfd, monkeypatch, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    code = run(command.format(locked).split())
    caught = capfd.readouterr()
    lines = caught.err.splitlines()
    assert code in (1, 2)
    assert len(lines) == 1, lines
    assert "Permission denied" in lines[0]
    assert str(locked) in lines[0]
    assert "Error" not in lines[0]
