"""Programs that are kept: the same results, and whatever lies in their place is made again."""

import ast
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from places import ROOT

from umss_jax import kept_programs
from umss_jax.config import F0Config, ModelConfig
from umss_jax.kept_programs import keep_programs, results
from umss_jax.model import Analysis
from umss_jax.words import warn_once

CONFIG = ModelConfig()
OTHER = ModelConfig(f0=F0Config(mean_bins=1))
TRACED = []


def _told(variables, x, given, config):
    TRACED.append(config)
    scale = 2.0 if config == CONFIG else 3.0
    y = scale * x @ variables["params"]["w"]
    f0 = y if given is None else y + given
    return {"stems": x, "output": Analysis(None, y, None, None, None, f0)}


told = jax.jit(_told, static_argnames="config")
W = np.arange(12, dtype=np.float32).reshape(3, 4)
X = np.ones((2, 3), np.float32)


def ask(x=X, given=None, config=CONFIG, w=W):
    return results(told, ({"params": {"w": w}}, x, given), config)


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """The folder, and as in a new process."""
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path))
    monkeypatch.setattr(kept_programs, "_kept", None)
    new_process(monkeypatch)
    warn_once.cache_clear()
    keep_programs()
    return tmp_path / "programs"


def new_process(monkeypatch):
    monkeypatch.setattr(kept_programs, "_loaded", {})
    kept_programs._machine.cache_clear()
    kept_programs.made_from.cache_clear()
    told.clear_cache()
    TRACED.clear()


def check(found, scale=2.0):
    """By NumPy."""
    assert list(found) == ["output.salience", "output.f0_hz_synth", "stems"]
    assert np.array_equal(found["output.salience"], scale * X @ W)
    assert np.array_equal(found["stems"], X)


def test_what_was_kept_is_not_traced_again(kept, monkeypatch):
    check(ask())
    assert len(TRACED) == 1
    assert len(list(kept.iterdir())) == 1
    check(ask())
    new_process(monkeypatch)
    check(ask())
    check(ask(w=2 * W / 2))
    assert TRACED == []
    if os.name == "posix":
        assert kept.stat().st_mode & 0o077 == 0


def test_nothing_is_kept_unless_asked_for(kept, monkeypatch):
    monkeypatch.setattr(kept_programs, "_kept", None)
    check(ask())
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize(
    "different",
    [
        {"x": np.ones((3, 3), np.float32)},
        {"x": np.ones((2, 3), np.int32)},
        {"given": np.ones((2, 4), np.float32)},
        {"config": OTHER},
    ],
    ids=str,
)
def test_every_shape_type_and_configuration_has_its_own(kept, different, monkeypatch):
    ask()
    found = ask(**different)
    assert len(list(kept.iterdir())) == 2
    new_process(monkeypatch)
    again = ask(**different)
    assert TRACED == []
    for name, array in found.items():
        assert np.array_equal(array, again[name])
    scale = 3.0 if different.get("config") is OTHER else 2.0
    x, given = different.get("x", X), different.get("given", 0)
    assert np.array_equal(again["output.f0_hz_synth"], scale * x @ W + given)


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (kept_programs, "cores", lambda: 61),
        (kept_programs, "instruction_sets", lambda: ("avx1024",)),
        (kept_programs, "processor", lambda: "another"),
    ],
)
def test_another_machine_makes_its_own(kept, monkeypatch, module, name, value):
    ask()
    new_process(monkeypatch)
    monkeypatch.setattr(module, name, value)
    check(ask())
    assert len(TRACED) == 1
    assert len(list(kept.iterdir())) == 2


def test_other_flags_and_sources_make_their_own(kept, monkeypatch, tmp_path):
    ask()
    new_process(monkeypatch)
    monkeypatch.setenv("XLA_SOMETHING", "1")
    ask()
    new_process(monkeypatch)
    source = tmp_path / "changed.py"
    source.write_text("# other arithmetic\n")
    monkeypatch.setattr(kept_programs, "_source_files", lambda: iter([source]))
    ask()
    assert len(list(kept.iterdir())) == 3


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    path.write_bytes(b"")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, empty, flip, folder])
def test_a_damaged_program_is_made_again(kept, damage, monkeypatch, caplog):
    ask()
    (path,) = kept.iterdir()
    damage(path)
    new_process(monkeypatch)
    check(ask())
    assert len(TRACED) == 1
    new_process(monkeypatch)
    check(ask())
    assert TRACED == []


def foreign(content):
    return b"not a program"


def of_no_names(content):
    return (1 << 40).to_bytes(8, "little") + content[8:]


def of_another_runtime(content):
    length = int.from_bytes(content[:8], "little")
    return content[: 8 + length] + b"\x80\x04N."  # a pickle of None


@pytest.mark.parametrize("change", [foreign, of_no_names, of_another_runtime])
def test_a_program_that_is_whole_but_foreign_is_left_to_jax(kept, change, monkeypatch):
    """Its hash is right, so that it is no accident: it is not tried again in later processes."""
    ask()
    (path,) = kept.iterdir()
    store = kept_programs._kept
    content = change(store.get(path.stem).array.tobytes())
    store.put(path.stem, np.frombuffer(content, np.uint8))
    for _ in range(2):
        new_process(monkeypatch)
        check(ask())
        assert len(TRACED) == 1
        assert store.get(path.stem).array.size == 0


def test_a_program_that_fails_as_it_runs_is_left_to_jax(kept, monkeypatch):
    ask()

    def fail(*arguments):
        raise jax.errors.JaxRuntimeError("NOT_FOUND: Function fusion.1 not found")

    (key,) = kept_programs._loaded
    names = kept_programs._loaded[key].names
    kept_programs._loaded[key] = kept_programs.Program(names, fail)
    check(ask())
    assert kept_programs._kept.get(key).array.size == 0


def test_want_of_memory_is_no_fault_of_a_program(kept):
    ask()

    def fail(*arguments):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    (key,) = kept_programs._loaded
    kept_programs._loaded[key] = kept_programs.Program((), fail)
    with pytest.raises(jax.errors.JaxRuntimeError, match="memory"):
        ask()
    assert kept_programs._kept.get(key).array.size > 0


def test_a_runtime_that_cannot_keep_programs_is_asked_once(kept, monkeypatch):
    from jax.experimental import serialize_executable

    def refuse(compiled):
        raise ValueError("not supported")

    monkeypatch.setattr(serialize_executable, "serialize", refuse)
    check(ask())
    check(ask())
    new_process(monkeypatch)
    check(ask())
    assert [path.suffix for path in kept.iterdir()] == [".npy"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs another owner")
def test_programs_of_somebody_else_are_not_run(kept):
    ask()
    os.chown(kept, 12345, -1)
    keep_programs()
    assert kept_programs._kept is None


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")
def test_programs_that_others_can_write_are_not_run(kept):
    kept.chmod(0o777)
    keep_programs()
    assert kept_programs._kept is None


def test_arrays_of_a_device_are_taken_and_those_of_several_left_to_jax(kept):
    check(ask(x=jnp.asarray(X)))
    assert len(list(kept.iterdir())) == 1


def test_only_so_many_are_kept(kept, monkeypatch):
    monkeypatch.setattr(kept_programs, "_MOST", 2)
    for rows in range(1, 5):
        ask(x=np.ones((rows, 3), np.float32))
        for age, path in enumerate(sorted(kept.iterdir(), key=os.path.getmtime)):
            os.utime(path, (age, age))
    assert len(list(kept.iterdir())) == 2
    new_process(monkeypatch)
    ask(x=np.ones((4, 3), np.float32))
    assert TRACED == []


def test_the_cache_of_jax_is_as_it_was_afterwards(kept):
    before = jax.config.jax_enable_compilation_cache
    ask()
    assert jax.config.jax_enable_compilation_cache == before


WITHOUT_INFLUENCE = {
    *("umss_jax.errors", "umss_jax.words", "umss_jax.files", "umss_jax.aside", "umss_jax.locks"),
    *("umss_jax.ranges", "umss_jax.range_checks", "umss_jax.environment", "umss_jax.kept_arrays"),
    *("umss_jax.compiled_programs", "umss_jax.audio.segments", "umss_jax.audio.config"),
}
"""What the model imports and what no array passes through."""


def test_all_sources_of_the_model_are_part_of_the_key():
    hashed = {path.relative_to(ROOT).with_suffix("") for path in kept_programs._source_files()}
    hashed = {".".join(path.parts) for path in hashed}
    pending, seen = ["umss_jax.inference", "umss_jax.model"], set()
    while pending:
        module = pending.pop()
        if module in seen or not source_of(module).is_file():
            continue
        seen.add(module)
        pending += imported_names(source_of(module))
    assert "umss_jax.synth.harmonic" in seen  # the walk sees what there is to see
    assert seen - WITHOUT_INFLUENCE - hashed == set()
    for module in WITHOUT_INFLUENCE & seen:
        assert "jax" not in {name.split(".")[0] for name in imported_names(source_of(module))}


def source_of(module):
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


def imported_names(path):
    """Modules that a source imports, and names taken from modules, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("name", ["separate", "env"])
def test_a_command_imports_no_other_and_no_networks(name):
    heavy = ("flax", "scipy", "umss_jax.model", "umss_jax.cli.train", "umss_jax.cli.evaluate")
    code = (
        f"import sys; from umss_jax.cli import run; run([{name!r}, '--help'])\n"
        "import umss_jax.api, umss_jax.inference\n"
        f"import json; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
