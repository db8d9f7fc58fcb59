"""Training runs of a few units: resumed bit for bit, stopped by what is no number, by phases."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import jax
import numpy as np
import pytest
import small_run
import soundfile
from places import HELPERS
from weight_files import assert_same

from umss_jax.cli.weights import bring_published
from umss_jax.config import VOICE_THRESHOLDS, VOICES
from umss_jax.errors import NotFiniteError, UsageError
from umss_jax.inference import ModelEngine
from umss_jax.train import f0_cache as analysis_cache
from umss_jax.train import run_folder
from umss_jax.train.config import TrainConfig
from umss_jax.train.run_weights import initial_variables, phase_weights
from umss_jax.train.settings import open_run
from umss_jax.train.strategies import SCHEDULES, STRATEGIES, Phase
from umss_jax.weights import store as weights
from umss_jax.weights.combine import load_weights

pytestmark = pytest.mark.usefixtures("known_pitches")


@pytest.fixture(scope="module")
def whole(prepared):
    """An uninterrupted run of 30 steps."""
    return prepared / "whole", small_run.train(prepared, "name=whole", "epochs=[10]")


def metrics(path):
    """Rows without what time it took."""
    rows = run_folder.read_metrics(path)
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def stored(path):
    return weights.load(str(path / "weights.safetensors")).variables


def test_a_run_leaves_what_it_promises(whole):
    path, result = whole
    rows = metrics(path)
    assert [row["step"] for row in rows if row["kind"] == "train"] == list(range(1, 31))
    losses = [row["rec"] for row in rows if row["kind"] == "valid"]
    assert [row["step"] for row in rows if row["kind"] == "valid"] == list(range(3, 31, 3))
    assert losses[-1] < 0.9 * losses[0]
    assert result.best_loss == min(losses)
    assert result.weights == path / "weights.safetensors"
    assert run_folder.read_state(path)["state"] == "finished"
    kept = sorted(int(p.name) for p in (path / "checkpoints" / "0_synthesis").iterdir())
    assert kept == sorted({3 * (1 + int(np.argmin(losses))), 27, 30})
    start = weights.load(str(path.parent / "start.safetensors")).variables
    jax.tree.map(np.testing.assert_array_equal, stored(path)["batch_stats"], start["batch_stats"])
    moved = jax.tree.map(
        lambda a, b: not np.array_equal(a, b), stored(path)["params"], start["params"]
    )
    assert all(jax.tree.leaves(moved["decoder"]))
    assert not any(jax.tree.leaves([moved["salience"], moved["assignment"]]))


def test_killed_at_any_moment_and_resumed_it_equals_an_uninterrupted_run(prepared, whole):
    path = prepared / "killed"
    arguments = ["name=killed", "epochs=[10]", "checkpoint_steps=2"]
    environment = {**os.environ, "JAX_CACHE": str(jax.config.jax_compilation_cache_dir)}
    command = [sys.executable, str(HELPERS / "small_run.py"), str(prepared), *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    wanted = int(np.random.default_rng().integers(2, 25))
    try:
        while len(run_folder.read_metrics(path)) < wanted and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL, "it was over before it could be killed"
    assert run_folder.read_state(path)["state"] == "killed"
    result = small_run.train(prepared, *arguments)
    assert metrics(path) == metrics(whole[0]), f"killed after {wanted} rows"
    assert result.best_loss == whole[1].best_loss
    jax.tree.map(np.testing.assert_array_equal, stored(path), stored(whole[0]))


@pytest.mark.slow
def test_two_processes_train_as_one(prepared, whole, tmp_path):
    """One folder of runs, one that writes; gradients are averaged in another order."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "JAX_CACHE": str(jax.config.jax_compilation_cache_dir),
        "JAX_PLATFORMS": "cpu",
    }
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                str(HELPERS / "small_run.py"),
                str(prepared),
                "name=two",
                "epochs=[10]",
            ],
            env={**environment, "UMSS_JAX_HOSTS": f"127.0.0.1:{port},2,{number}"},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        for number in range(2)
    ]
    for process in processes:
        _, error = process.communicate(timeout=600)
        assert process.returncode == 0, error
    ours, theirs = metrics(prepared / "two"), metrics(whole[0])
    assert [row["kind"] for row in ours] == [row["kind"] for row in theirs]
    first = slice(0, 6)  # rounding grows from step to step
    totals = [np.asarray([row["total"] for row in rows[first]]) for rows in (ours, theirs)]
    np.testing.assert_allclose(*totals, rtol=1e-4)


def test_each_program_is_compiled_once_whatever_is_left_for_the_last_batch(prepared, monkeypatch):
    """Three excerpts in batches of two: the second is filled up."""
    compiled, at_row = [], []

    def hear(event, duration_secs, **about):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(about.get("fun_name"))

    log = run_folder.RunFolder.log

    def counted(self, row):
        at_row.append(len(compiled))
        log(self, row)

    monkeypatch.setattr(run_folder.RunFolder, "log", counted)
    jax.monitoring.register_event_duration_secs_listener(hear)
    small_run.train(prepared, "name=counted", "epochs=[3]")
    assert compiled.count("jit(step)") == compiled.count("jit(terms)") == 1
    first_epoch = 4  # rows: three steps and a validation
    assert at_row[first_epoch:] == [at_row[first_epoch - 1]] * (len(at_row) - first_epoch)


def test_a_finished_run_does_nothing_again(whole, prepared):
    before = (whole[0] / "metrics.jsonl").read_text()
    assert small_run.train(prepared, "name=whole", "epochs=[10]") == whole[1]
    assert (whole[0] / "metrics.jsonl").read_text() == before


def test_other_settings_do_not_resume(whole, prepared):
    with pytest.raises(UsageError, match=r"run with another optimiser.learning_rate"):
        small_run.train(prepared, "name=whole", "epochs=[10]", "optimiser.learning_rate=1e-4")


def test_weights_of_other_sizes_are_refused(prepared):
    with pytest.raises(UsageError, match=r"other sizes than the model .*encoder"):
        small_run.train(prepared, "name=large", "model.encoder.hidden=16")


def test_a_run_begins_with_the_starter_weights():
    starter = weights.load("starter").variables
    for strategy in ("umss", "w_up"):
        config = open_run({"strategy": strategy})
        assert_same(initial_variables(config), starter)
        had = weights.load("starter").config
        # How convolutions are batched is the machine's business, not the weights'.
        assert config.model == replace(had, conv=replace(had.conv, batching="auto"))


def test_parts_that_the_weights_lack_are_drawn_from_the_seed(prepared, tmp_path):
    start = weights.load(str(prepared / "start.safetensors")).variables
    del start["params"]["decoder"]
    weights.save(tmp_path / "part.safetensors", start, small_run.settings(prepared).model)
    config = small_run.settings(prepared, f"weights={tmp_path / 'part.safetensors'}")
    one = initial_variables(config)
    other = initial_variables(replace(config, seed=config.seed + 1))
    np.testing.assert_array_equal(
        one["params"]["encoder"]["dense"]["kernel"], start["params"]["encoder"]["dense"]["kernel"]
    )
    assert np.any(
        one["params"]["decoder"]["mlp"]["dense_1"]["kernel"]
        != other["params"]["decoder"]["mlp"]["dense_1"]["kernel"]
    )


def test_without_weights_all_is_drawn_with_the_networks_of_the_configuration():
    networks = {"salience_network": "small-salience", "assignment_network": "small-voices"}
    config = open_run({"strategy": "sft_sft", "weights": "", "model": networks})
    variables = initial_variables(config)
    starter = load_weights("starter+starter-small").variables
    assert set(variables["params"]) == set(starter["params"])
    assert np.any(
        variables["params"]["salience"]["output"]["kernel"]
        != starter["params"]["salience"]["output"]["kernel"]
    )
    assert config.model.f0.thresholds == VOICE_THRESHOLDS["small-voices"]


def test_a_run_that_is_still_going_is_left_alone(prepared):
    path = prepared / "busy"
    path.mkdir()
    state = {"state": "running", "pid": os.getppid(), "host": run_folder.platform.node()}
    (path / "state.json").write_text(json.dumps(state))
    with pytest.raises(UsageError, match=f"being trained by process {os.getppid()}"):
        small_run.train(prepared, "name=busy")


def test_a_half_written_row_is_forgotten(tmp_path):
    run = run_folder.RunFolder(tmp_path, TrainConfig())
    run.log({"phase": 0, "step": 1})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"phase": 0, "st')
    assert run_folder.read_metrics(tmp_path) == [{"phase": 0, "step": 1}]
    run.forget_after(0, 0)
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_early_stopping(prepared):
    """With a rate of 0 nothing improves after the first epoch."""
    result = small_run.train(
        prepared, "name=stale", "epochs=[9]", "patience=2", "optimiser.learning_rate=0.0"
    )
    assert result.steps == 9  # three epochs of three steps: the first, and two without more


def test_a_loss_that_is_no_number_stops_with_step_term_and_batch(prepared, monkeypatch):
    """The state of the step before is kept."""
    real = analysis_cache.AnalysisCache.batch
    calls = []

    def poisoned(self, examples, *details):
        calls.append(examples.names)
        batch = real(self, examples, *details)
        if len(calls) == 4:  # after three validation excerpts in two batches: the second step
            batch.mixture[1, 7] = np.nan
        return batch

    monkeypatch.setattr(analysis_cache.AnalysisCache, "batch", poisoned)
    with pytest.raises(NotFiniteError) as raised:
        small_run.train(prepared, "name=poisoned")
    message = str(raised.value)
    assert "step 2 of synthesis: " in message
    assert "rec" in message.split(" not finite")[0]
    assert all(name in message for name in calls[3])
    path = prepared / "poisoned"
    assert run_folder.read_state(path)["state"] == "failed"
    (kept,) = (path / "checkpoints" / "0_synthesis").iterdir()
    assert kept.name == "1"
    monkeypatch.undo()


def test_supervised_training_lowers_the_loss_of_the_voices(prepared):
    small_run.train(prepared, "name=supervised", "strategy=supervised", "epochs=[4]")
    losses = [row["rec"] for row in metrics(prepared / "supervised") if row["kind"] == "valid"]
    assert losses[-1] < losses[0]


def test_the_best_weights_of_each_phase_are_kept(prepared, monkeypatch):
    phases = tuple(Phase(name, STRATEGIES["umss"], 1) for name in ("first", "second"))
    monkeypatch.setitem(SCHEDULES, "twice", phases)
    monkeypatch.setitem(SCHEDULES, "once", phases[:1])
    small_run.train(prepared, "name=once", "strategy=once", "epochs=[1]")
    small_run.train(prepared, "name=twice", "strategy=twice", "epochs=[1, 1]")
    first, second = (
        weights.load(str(phase_weights(prepared / "twice", number, name))).variables
        for number, name in enumerate(("first", "second"))
    )
    jax.tree.map(np.testing.assert_array_equal, first, stored(prepared / "once"))
    jax.tree.map(np.testing.assert_array_equal, second, stored(prepared / "twice"))
    assert np.any(
        first["params"]["decoder"]["mlp"]["dense_1"]["kernel"]
        != second["params"]["decoder"]["mlp"]["dense_1"]["kernel"]
    )
    assert not (prepared / "once" / "phases").exists()
    small_run.train(prepared, "name=twice", "strategy=twice", "epochs=[1, 1]")  # changes nothing
    kept = weights.load(str(phase_weights(prepared / "twice", 0, "first"))).variables
    jax.tree.map(np.testing.assert_array_equal, kept, first)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["sf_sf", "sf_sft"])
def test_what_frozen_networks_say_may_be_cached(prepared, monkeypatch, shared, golden, strategy):
    """With the published networks: batches from the cache train as those from the mixture do.

    On recorded singing: with periodic tones some phase differences lie so near half a cycle that
    rounding decides their sign, and the salience changes by 1e-3.
    """
    music = prepared / "music" / strategy
    music.mkdir(parents=True)
    for voice, sound in zip(VOICES, golden("input")["sources"], strict=True):
        soundfile.write(music / f"{voice}.wav", sound, 16_000, "FLOAT")
    monkeypatch.setattr(analysis_cache, "ModelEngine", ModelEngine)
    monkeypatch.setenv("UMSS_SHARED", str(shared))
    bring_published("published")
    start = str(prepared / "start.safetensors")
    variables, config, _ = load_weights(f"{start}+published")
    weights.save(prepared / "published.safetensors", variables, config)
    settings = [
        f"strategy={strategy}",
        f"weights={prepared / 'published.safetensors'}",
        "epochs=[2]",
        "epoch_examples=2",
        "data.pool=2",
        "data.validation_examples=1",
        f"data.train.folders=['{music}']",
        f"data.validation.folders=['{music}']",
    ]
    for name, cache in (("mixtures", "false"), ("cached", "true")):
        run = f"{strategy}_{name}"
        small_run.train(prepared, f"name={run}", f"cache_salience={cache}", *settings)
    one, other = (metrics(prepared / f"{strategy}_{name}") for name in ("mixtures", "cached"))
    assert len(one) == len(other) == 4
    # Before anything moved they are equal up to rounding; then Adam's first steps, which take the
    # sign of each gradient, however small, make more of it.
    for row, (a, b) in enumerate(zip(one, other, strict=True)):
        for term in ("total", "rec", "l1", "l2", "l3"):
            assert a[term] == pytest.approx(b[term], rel=1e-3 if row else 1e-5), (row, term)
    assert (one[0]["l1"] > 0) == (strategy == "sf_sft")


def test_runs_are_listed(whole, prepared, capsys):
    from umss_jax.cli import run

    assert run(["runs", str(prepared)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("whole ")]
    assert line.split()[1:5] == ["finished", "synthesis", "10", "30"]
    assert float(line.split()[5]) == pytest.approx(whole[1].best_loss, rel=1e-4)
