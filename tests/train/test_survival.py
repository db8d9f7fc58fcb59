"""Runs of a few units that are killed, damaged, cut short by a full disk, and made longer."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import jax
import numpy as np
import pytest
import small_run
import sung_pieces
from places import HELPERS, ROOT

from umss_jax.errors import DatasetError, OutputError, UsageError
from umss_jax.train.run_folder import read_metrics, read_state
from umss_jax.train.run_weights import phase_weights
from umss_jax.train.strategies import SCHEDULES, STRATEGIES, Phase
from umss_jax.weights import store

pytestmark = pytest.mark.usefixtures("known_pitches")

EPOCHS = 4


@pytest.fixture(scope="module")
def whole(prepared):
    """An uninterrupted run of four epochs of three steps."""
    small_run.train(prepared, "name=whole", f"epochs=[{EPOCHS}]")
    return prepared / "whole"


def rows(path):
    """Rows without what time it took."""
    return [
        {key: value for key, value in row.items() if key != "seconds"} for row in read_metrics(path)
    ]


def assert_same_run(path, other):
    """The same rows and weights, bit for bit."""
    assert rows(path) == rows(other)
    one, two = (store.load(one / "weights.safetensors").variables for one in (path, other))
    jax.tree.map(np.testing.assert_array_equal, one, two)
    assert read_state(path)["state"] == "finished"


def test_more_epochs_go_on_where_it_ended_and_fewer_end_at_once(prepared, whole, caplog):
    path = prepared / "longer"
    assert small_run.train(prepared, "name=longer", "epochs=[2]").steps == 6
    others = ("patience=9", "checkpoint_steps=2", "parallel=shard_map")
    result = small_run.train(prepared, "name=longer", f"epochs=[{EPOCHS}]", *others)
    assert result.steps == 3 * EPOCHS
    assert_same_run(path, whole)
    assert not caplog.records
    before = rows(path)
    assert small_run.train(prepared, "name=longer", "epochs=[1]") == result
    assert "synthesis has done 12 steps, more than the 3 that are asked for" in caplog.text
    assert rows(path) == before


@pytest.mark.slow
def test_a_phase_on_which_the_next_has_begun_stays_as_it_is(prepared, monkeypatch):
    phases = tuple(Phase(name, STRATEGIES["umss"]) for name in ("first", "second"))
    monkeypatch.setitem(SCHEDULES, "two", phases)
    path = prepared / "two"
    small_run.train(prepared, "name=two", "strategy=two", "max_epochs=1", "epochs=[]")
    first = store.load(phase_weights(path, 0, "first")).variables
    small_run.train(prepared, "name=two", "strategy=two", "max_epochs=2", "epochs=[]")
    kept = store.load(phase_weights(path, 0, "first")).variables
    jax.tree.map(np.testing.assert_array_equal, kept, first)
    steps = [(row["phase"], row["step"]) for row in rows(path) if row["kind"] == "train"]
    assert steps == [(0, 1), (0, 2), (0, 3), *((1, step) for step in range(1, 7))]
    with pytest.raises(UsageError, match=r"epochs was \[\], is \[3, 2\] .that phase has ended"):
        small_run.train(prepared, "name=two", "strategy=two", "max_epochs=2", "epochs=[3, 2]")


def garble(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def test_a_damaged_run_ends_as_an_undamaged_one(prepared, whole, caplog):
    """Its latest checkpoint, its best weights, its state and its rows are damaged."""
    path = prepared / "damaged"
    small_run.train(prepared, "name=damaged", "epochs=[3]")
    checkpoints = path / "checkpoints" / "0_synthesis"
    largest = max((checkpoints / "9").rglob("*"), key=lambda file: file.stat().st_size)
    garble(largest)
    garble(path / "weights.safetensors")
    (path / "state.json").write_text("[1, 2")
    with open(path / "metrics.jsonl", "ab") as file:
        file.write(b"\xff\xfe\n")
    small_run.train(prepared, "name=damaged", f"epochs=[{EPOCHS}]")
    assert_same_run(path, whole)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3, said
    assert "checkpoint 9: " in said[0]
    assert "weights." in said[1]
    assert "written again from checkpoint" in said[1]
    assert "1 damaged rows" in said[2]


@pytest.mark.slow
def test_best_weights_are_made_again_after_the_last_step(prepared, whole):
    path = shutil.copytree(whole, prepared / "whole_again")
    for damage in (
        lambda: garble(path / "weights.safetensors"),
        lambda: (path / "weights.json").write_text("{"),
        lambda: (path / "weights.json").unlink(missing_ok=True),
        lambda: (path / "weights.safetensors").unlink(),
    ):
        damage()
        small_run.train(prepared, "name=whole_again", f"epochs=[{EPOCHS}]")
        assert_same_run(path, whole)


@pytest.mark.slow
def test_recordings_that_change_between_two_starts_are_said(prepared, whole):
    path = shutil.copytree(whole, prepared / "heard")
    file = prepared / "choir" / "first" / "alto.wav"
    before = file.read_bytes()
    try:
        garble(file)
        with pytest.raises(DatasetError, match=r"changed: train\[0\]/first/alto\.wav"):
            small_run.train(prepared, "name=heard", "epochs=[5]")
    finally:
        file.write_bytes(before)
    assert rows(path) == rows(whole)
    small_run.train(prepared, "name=heard", "epochs=[5]")
    assert rows(path)[: len(rows(whole))] == rows(whole)


@contextmanager
def full_disk(patch, nth):
    """The nth renaming from here on fails, and all after it."""
    real, calls = os.replace, []

    def replace(*arguments):
        calls.append(arguments)
        if len(calls) >= nth:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    with patch.context() as inner:
        inner.setattr(os, "replace", replace)
        yield calls


@pytest.mark.slow
def test_a_full_disk_at_any_write_is_one_line_and_the_run_resumes(prepared, monkeypatch):
    short = prepared / "short"
    small_run.train(prepared, "name=short", "epochs=[1]")
    settings = ("name=full", "epochs=[1]", "checkpoint_steps=2")
    for nth in range(1, 40):
        shutil.rmtree(prepared / "full", ignore_errors=True)
        with full_disk(monkeypatch, nth) as calls:
            try:
                small_run.train(prepared, *settings)
            except OutputError as error:
                said = str(error)
        if len(calls) < nth:
            break
        assert "No space left on device" in said, nth
        assert "\n" not in said
        small_run.train(prepared, *settings)
        assert_same_run(prepared / "full", short)
    assert 8 < nth < 39


LIMITED = """
import os, resource, sys
from pathlib import Path
import jax, small_run
from small_engine import KnownPitch
from umss_jax.errors import UmssError
from umss_jax.train import f0_cache
jax.config.update("jax_enable_compilation_cache", False)
f0_cache.ModelEngine = KnownPitch
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    small_run.train(Path(sys.argv[1]), *sys.argv[3:])
except UmssError as error:
    print(type(error).__name__, error)
    os._exit(1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("limit", [10, 2_000, 1_000_000, 50_000_000])
def test_no_file_larger_than_the_limit(prepared, whole, limit):
    """The disk is full for all that is larger."""
    name = f"limit{limit}"
    settings = (f"name={name}", f"epochs=[{EPOCHS}]", "checkpoint_steps=2")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(prepared), str(limit), *settings],
        env={**os.environ, "PYTHONPATH": f"{HELPERS}:{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert done.returncode in (0, 1), done.stderr
    if done.returncode:
        assert done.stdout.startswith("OutputError ")
        assert "cannot be written" in done.stdout
        assert len(done.stdout.splitlines()) == 1
    else:
        assert limit > 10_000_000
    small_run.train(prepared, *settings)
    assert_same_run(prepared / name, whole)


def kill_at_random(command, path, seconds, **options):
    """Starts a command and kills it at a random moment after it said that it trains."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
    try:
        until = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < until:
            state = read_state(path)
            if state.get("state") == "running" and state.get("pid") == process.pid:
                break
            time.sleep(0.01)
        time.sleep(np.random.default_rng().uniform(0, seconds))
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    return process.returncode


@pytest.mark.slow
def test_a_training_killed_ten_times_ends_as_one_that_was_not(prepared, whole):
    """Between the kills harmless settings change, and others are refused."""
    path = prepared / "killed"
    environment = {**os.environ, "JAX_CACHE": str(jax.config.jax_compilation_cache_dir)}
    script = [sys.executable, str(HELPERS / "small_run.py"), str(prepared), "name=killed"]
    codes = []
    for number in range(10):
        settings = [f"epochs=[{EPOCHS + number % 2}]", f"checkpoint_steps={1 + number % 3}"]
        codes.append(kill_at_random([*script, *settings], path, 6, env=environment))
        # Not those that were being written: before the first whole one all may change.
        kept = (path / "checkpoints").glob("*/[0-9]*")
        if any(one.name.isdigit() for one in kept):
            with pytest.raises(UsageError, match="seed was 4, is 5"):
                small_run.train(prepared, "name=killed", f"epochs=[{EPOCHS}]", "seed=5")
    assert codes.count(-signal.SIGKILL) >= 3, codes
    small_run.train(prepared, "name=killed", f"epochs=[{EPOCHS + 1}]")
    small_run.train(prepared, "name=longest", f"epochs=[{EPOCHS + 1}]")
    assert_same_run(path, prepared / "longest")


@pytest.mark.slow
def test_a_pre_training_killed_ten_times_ends_as_one_that_was_not(tmp_path):
    sung_pieces.write(tmp_path / "recordings")
    environment = {**os.environ, "UMSS_JAX_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "umss_jax", "pretrain", "--runs", str(tmp_path)]
    command += sung_pieces.pretraining(tmp_path / "recordings")
    subprocess.run([*command, "name=whole"], env=environment, check=True, cwd=tmp_path)
    codes = []
    for _ in range(10):
        path = tmp_path / "killed"
        codes.append(kill_at_random([*command, "name=killed"], path, 25, env=environment))
    assert codes.count(-signal.SIGKILL) >= 2, codes
    done = subprocess.run([*command, "name=killed"], env=environment, cwd=tmp_path)
    assert done.returncode == 0
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
