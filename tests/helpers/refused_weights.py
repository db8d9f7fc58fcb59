"""How the tests of refused weight files look at the command, and what they share."""

import os
from pathlib import Path

from typer.testing import CliRunner

from umss_jax.cli.weights import app
from umss_jax.errors import UmssError, WeightsError

MADE = "made-by-the-file"


class Touch:
    """Makes a folder in the working folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (MADE,)


def enter(folder, monkeypatch):
    """Work in a folder, with the store below it."""
    monkeypatch.setenv("UMSS_JAX_HOME", str(folder / "home"))
    monkeypatch.chdir(folder)
    return folder


def refused(path, *messages, kind=None):
    """The command refuses the file with these messages, and nothing has happened."""
    arguments = ["import", str(path), "-o", "x"] + (["--kind", kind] if kind else [])
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UmssError), result.exception
    assert isinstance(result.exception, WeightsError)
    text = str(result.exception)
    assert "\n" not in text
    for message in messages:
        assert message in text, text
    assert str(path) in text
    assert not Path("home").exists()
    assert not Path(MADE).exists()


def refused_after(change, path, messages):
    """As `refused`, after a change to the file."""
    change(path)
    refused(path, *messages)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
