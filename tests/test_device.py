"""The compilation cache: where it lies, who chooses it, and that a second process profits."""

import os
import shutil
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import jax
from umss_jax.device import enable_compilation_cache
print(enable_compilation_cache())
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
jax.jit(lambda x: x * 2 + 1)(1.0)
print(hits.count("/jax/compilation_cache/cache_hits"))
"""


def start(home, **environment):
    """Folder in use and number of programs found there; nothing may be said on stderr."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env={**kept, "UMSS_JAX_HOME": str(home), "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    folder, hits = done.stdout.splitlines()
    return folder, int(hits)


def test_a_second_process_finds_what_the_first_compiled(tmp_path):
    folder, hits = start(tmp_path / "home")
    assert folder == str(tmp_path / "home" / "compiled")
    assert hits == 0
    assert os.stat(folder).st_mode & 0o077 == 0
    assert start(tmp_path / "home")[1] >= 1


def cut(entry):
    os.truncate(entry, entry.stat().st_size // 2)


def flip(entry):
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 4
    entry.write_bytes(content)


def pipe(entry):
    entry.unlink()
    os.mkfifo(entry)


def folder(entry):
    entry.unlink()
    (entry / "x").mkdir(parents=True)


@pytest.mark.parametrize("is_sealed", [True, False])
def test_damaged_programs_are_compiled_again(tmp_path, is_sealed):
    """One start finds all kinds of damage; the programs of the next are those that it made."""
    home = tmp_path / "home"
    start(home)
    if is_sealed:
        assert start(home)[1] >= 1
    (original,) = (home / "compiled").glob("*-cache")
    content = original.read_bytes()
    for number, damage in enumerate((cut, flip, pipe, folder)):
        copy = original.with_name(f"jit_other-{number}-cache")
        copy.write_bytes(content)
        if is_sealed:
            seal = original.with_name(original.name.replace("-cache", "-sha256"))
            shutil.copy(seal, copy.with_name(copy.name.replace("-cache", "-sha256")))
        damage(copy)
    cut(original)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "UMSS_JAX_HOME": str(home), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[1] == "0"
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    assert all("is damaged and is made again" in line for line in lines)
    assert [path.name for path in (home / "compiled").glob("*-cache")] == [original.name]
    assert start(home)[1] >= 1


def test_a_cache_that_was_chosen_stays(tmp_path):
    chosen = str(tmp_path / "chosen")
    assert start(tmp_path / "home", JAX_COMPILATION_CACHE_DIR=chosen)[0] == chosen
    assert not (tmp_path / "home").exists()


def test_where_no_cache_can_be_written_there_is_none(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert start(tmp_path / "file") == ("None", 0)


@pytest.mark.parametrize("command", ["separate", "f0"])
def test_commands_enable_it_before_anything_is_loaded(command, monkeypatch):
    import importlib

    from umss_jax import api, device
    from umss_jax.config import Assigner, TrackAssigner
    from umss_jax.separation.config import SeparationConfig

    said = []
    monkeypatch.setattr(device, "enable_compilation_cache", lambda: said.append("cache"))

    def loaded(*_, **__):
        said.append("model")
        raise KeyError

    monkeypatch.setattr(api, "load", loaded)
    monkeypatch.setattr(api, "load_tracker", loaded)
    module = importlib.import_module(f"umss_jax.cli.{command}")
    more = {"separate": (Assigner.VOAS_CNN,), "f0": (TrackAssigner.VOAS_CNN,)}[command]
    last = {"separate": (False,), "f0": ()}[command]
    with pytest.raises(KeyError):
        module.load_engine("any", *more, device.Device.CPU, SeparationConfig(), *last)
    assert said == ["cache", "model"]
