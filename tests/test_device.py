"""How JAX is started: the environment that it reads, and the cache of compiled programs."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from places import HELPERS, ROOT

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


@pytest.mark.parametrize("chosen", ["file", "file/below", "/proc/nowhere"])
def test_a_chosen_cache_that_cannot_be_written_is_named(tmp_path, chosen, monkeypatch, caplog):
    import jax

    from umss_jax.device import enable_compilation_cache

    (tmp_path / "file").write_text("in the way")
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / chosen))
    try:
        assert enable_compilation_cache() is None
        assert not jax.config.jax_enable_compilation_cache
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        jax.config.update("jax_enable_compilation_cache", True)
    assert f"JAX_COMPILATION_CACHE_DIR={tmp_path / chosen} cannot be written" in caplog.text


@pytest.mark.parametrize("command", ["separate", "f0"])
def test_commands_enable_it_before_anything_is_loaded(command, monkeypatch):
    import importlib

    from umss_jax import api, device
    from umss_jax.config import Assigner, Chain, TrackAssigner
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
        module.load_engine("any", *more, Chain.PAPER, device.Device.CPU, SeparationConfig(), *last)
    assert said == ["cache", "model"]


STARTED = f"""
import sys
sys.path[:0] = [{str(HELPERS)!r}, {str(ROOT)!r}]
from umss_jax.cli import main, separate
from umss_jax.cli.common import prepare_jax
from umss_jax.device import select_device
from stub_engine import StubEngine

def load(name, assigner, chain, device, *rest):
    prepare_jax()
    select_device(device)
    import jax
    import jax.numpy as jnp
    from jax.random import bernoulli, key
    value = jax.jit(lambda x: x * np.float32(2) + jnp.sum(bernoulli(key(0), 0.5, (4,))))
    assert value(np.ones(3, np.float32)).dtype == np.float32
    return StubEngine()

import numpy as np
separate.load_engine = load
main(sys.argv[1:])
"""


def started(tmp_path, variable, *arguments):
    """Exit code and what is said by a command that starts JAX with a variable (NAME=value)."""
    sound = 0.3 * np.random.default_rng(0).uniform(-1, 1, 4000)
    soundfile.write(tmp_path / "choir.wav", sound, 16_000)
    name, _, value = variable.partition("=")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    done = subprocess.run(
        [sys.executable, "-c", STARTED, "separate", "choir.wav", *arguments],
        env={**kept, "UMSS_JAX_HOME": str(tmp_path / "home"), name: value},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def slow(*cases):
    return [pytest.param(*case, marks=pytest.mark.slow) for case in cases]


@pytest.mark.parametrize(
    "variable",
    [
        *("JAX_PLATFORMS=banana", "JAX_ENABLE_X64=banana", "XLA_FLAGS=--xla_nonsense"),
        *slow(
            *(["JAX_PLATFORMS=tpu"], ["JAX_PLATFORMS=CPU"], ["JAX_PLATFORMS=cpu,"]),
            *(["JAX_PLATFORM_NAME=banana"], ["JAX_NUM_CPU_DEVICES=x"], ["JAX_NUM_CPU_DEVICES=0"]),
            *(["JAX_DEFAULT_MATMUL_PRECISION=banana"], ["JAX_TRANSFER_GUARD=banana"]),
            *(["JAX_DEFAULT_PRNG_IMPL=banana"], ["JAX_NUMPY_DTYPE_PROMOTION=banana"]),
            *(["JAX_TRACEBACK_FILTERING=banana"], ["JAX_DISABLE_JIT=banana"]),
            *(["JAX_NO_TRACING=1"], ["JAX_NO_EXECUTION=1"]),
            *(["XLA_FLAGS=no-such-file"], ["XLA_FLAGS=--xla_force_host_platform_device_count=x"]),
        ),
    ],
)
def test_what_jax_does_not_take_is_named_on_one_line(tmp_path, variable):
    code, printed, said = started(tmp_path, variable)
    assert (code, printed, said.count("\n")) == (2, "", 1)
    assert variable in said
    assert said.startswith("umss-jax: ")


@pytest.mark.parametrize(
    ("variable", "arguments"),
    [
        ("JAX_PLATFORMS=tpu", ("-d", "cpu")),
        *slow(
            ("JAX_NUMPY_DTYPE_PROMOTION=strict", ()),
            *(("JAX_PLATFORMS=banana", ("-d", "CPU")), ("JAX_PLATFORMS=", ())),
            *(("JAX_PLATFORMS=cpu", ()), ("JAX_ENABLE_X64=1", ()), ("JAX_DISABLE_JIT=1", ())),
            *(("JAX_TRANSFER_GUARD=disallow", ()), ("JAX_NUMPY_RANK_PROMOTION=raise", ())),
            *(("JAX_NUM_CPU_DEVICES=2", ()), ("JAX_DEFAULT_PRNG_IMPL=rbg", ())),
            *(("JAX_DEBUG_NANS=1", ()), ("JAX_CHECK_TRACER_LEAKS=1", ())),
            ("XLA_FLAGS=--xla_force_host_platform_device_count=2", ()),
        ),
    ],
)
def test_what_jax_takes_works(tmp_path, variable, arguments):
    code, printed, said = started(tmp_path, variable, *arguments)
    assert (code, said) == (0, "")
    assert printed == f"separated{os.sep}stub{os.sep}choir\n"


def test_flags_that_were_taken_are_remembered(tmp_path, monkeypatch):
    from umss_jax import environment

    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path))
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=true")
    environment.check_flags()
    assert len(list((tmp_path / "xla_flags").iterdir())) == 1
    environment._check_flags.cache_clear()
    monkeypatch.setattr(subprocess, "run", None)  # nothing is tried again
    environment.check_flags()


def test_double_precision_of_the_caller_changes_nothing():
    import jax
    from small_engine import small_engine

    engine = small_engine()
    mixture = np.sin(np.arange(16128) * 0.1).astype(np.float32)[None]
    expected = engine.separate(mixture, mixture[:, None], np.uint32([3]))
    jax.config.update("jax_enable_x64", True)
    try:
        found = engine.separate(mixture, mixture[:, None], np.uint32([3]))
        assert jax.tree.leaves(small_engine().variables)[0].dtype == np.float32
        assert jax.config.jax_enable_x64
    finally:
        jax.config.update("jax_enable_x64", False)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert found.stems_16k.dtype == found.f0_hz_synth.dtype == np.float32
