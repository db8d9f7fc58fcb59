"""`umss-jax env`, and the list of weights: what people paste, and what programs read."""

import json
import platform
from importlib import metadata

import jax
import pytest

import umss_jax
from umss_jax.cli import env, run


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "user" / "kept"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "mine.safetensors").write_bytes(bytes(250_000))
    (folder / "compiled" / "below").mkdir(parents=True)
    (folder / "compiled" / "below" / "program").write_bytes(bytes(1_500))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("UMSS_JAX_HOME", str(folder))
    return folder


def test_env_as_json(home, monkeypatch, capsys):
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setenv("UMSS_JAX_TOKEN", "abracadabra")
    monkeypatch.setenv("EDITOR", "ed")
    assert run(["env", "--json"]) == 0
    printed = capsys.readouterr()
    about = json.loads(printed.out)
    assert printed.err == ""
    assert about["umss_jax"] == umss_jax.__version__
    assert about["python"].startswith(platform.python_version())
    assert about["packages"]["jax"] == metadata.version("jax")
    assert about["packages"]["numpy"] == metadata.version("numpy")
    assert "pytest" not in about["packages"]
    device = jax.devices()[0]
    assert about["devices"][0] == f"{device.platform}:{device.id} ({device.device_kind})"
    assert about["kept_bytes"] == {"compiled": 1_500, "weights": 250_000}
    assert about["home"] == "~/kept"
    assert about["variables"]["UMSS_JAX_HOME"] == "~/kept"
    assert about["variables"]["UMSS_JAX_TOKEN"] == "(set)"
    assert "abracadabra" not in printed.out
    assert "EDITOR" not in about["variables"]
    assert about["processor"]
    assert 1 <= about["cores"]["usable"] <= about["cores"]["all"]


def test_env_as_text(home, capsys):
    assert run(["env"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"umss-jax {umss_jax.__version__} in ")
    assert f"  jax {metadata.version('jax')}" in lines
    at = lines.index("kept in ~/kept:")
    assert lines[at + 1 : at + 3] == ["  compiled 1.5 kB", "  weights 0.2 MB"]
    assert "  UMSS_JAX_HOME=~/kept" in lines
    assert str(home) not in "\n".join(lines)


def test_env_where_jax_is_broken(home, monkeypatch, capsys):
    """Then most of all it must say something."""
    from umss_jax import device

    def broken():
        raise RuntimeError("no\ndriver")

    monkeypatch.setattr(device, "start_jax", broken)
    assert run(["env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["devices"] == ["RuntimeError: no driver"]


def test_env_without_a_home(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "none"))
    assert run(["env"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("kept in "))
    assert lines[at + 1] == "  none"
    assert not (tmp_path / "none").exists()


def test_names_of_other_people_stay(monkeypatch):
    monkeypatch.setenv("HOME", "/")
    assert env._shown("/a/b") == "/a/b"


def test_weights_list_has_a_header(home, capsys):
    (home / "weights" / "mine.safetensors").unlink()
    assert run(["weights", "list"]) == 0
    header, starter, small = capsys.readouterr().out.splitlines()
    assert header.split("\t") == ["name", "architecture", "parameters", "origin"]
    assert starter.split("\t")[0] == "starter"
    assert small.split("\t")[0] == "starter-small"
    assert starter.split("\t")[1] == "small-voices, late-deep, decoder, encoder"
    assert small.split("\t")[1] == "small-voices, small-salience"
    assert run(["weights", "list", "--json"]) == 0
    row, other = json.loads(capsys.readouterr().out)
    assert other["name"] == "starter-small"
    assert set(row) == {"name", "architecture", "parameters", "origin"}
    assert row["name"] == "starter"
    assert str(row["parameters"]) == starter.split("\t")[2]
