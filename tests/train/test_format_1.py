"""Runs that the last version of format 1 left unfinished resume and end as its own did."""

import json
import shutil

import numpy as np
import pytest
import small_run
import sung_pieces

from umss_jax import cli
from umss_jax.errors import UsageError
from umss_jax.train.run_folder import read_metrics, read_state
from umss_jax.weights import store

TERMS = ("total", "rec", "l1", "l2", "l3")


def assert_same_course(run, whole):
    """The same rows, up to what another processor rounds otherwise."""
    ours, theirs = read_metrics(run), read_metrics(whole)
    marks = ("kind", "phase", "name", "epoch", "step")
    assert [[row[mark] for mark in marks] for row in ours] == [
        [row[mark] for mark in marks] for row in theirs
    ]
    for one, other in zip(ours, theirs, strict=True):
        for term in set(TERMS) & set(other):
            np.testing.assert_allclose(one[term], other[term], rtol=1e-3, err_msg=str(one))


def test_a_training_run_resumes(format_1, known_pitches, monkeypatch):
    from umss_jax.train.run import train

    folder = format_1 / "train"
    began = read_metrics(folder / "cut")
    small_run.sing(folder)
    monkeypatch.chdir(folder)
    config = small_run.settings(folder.relative_to(folder), "name=cut", "epochs=[4]")
    result = train(config, folder / "cut", quiet=True)
    assert result.steps == 12
    assert_same_course(folder / "cut", folder / "whole")
    assert read_metrics(folder / "cut")[: len(began) - 2] == began[:-2], "done steps stay"
    stored = store.load(folder / "cut" / "weights.safetensors")
    assert stored.metadata["format"] == 2
    assert stored.config == config.model
    with pytest.raises(UsageError, match=r"another model\.synth\.harmonics"):
        train(
            small_run.settings(
                folder.relative_to(folder), "name=cut", "epochs=[4]", "model.synth.harmonics=7"
            ),
            folder / "cut",
            quiet=True,
        )


def test_a_pre_training_resumes(format_1, monkeypatch):
    folder = format_1 / "pretrain"
    monkeypatch.setenv("UMSS_JAX_HOME", str(format_1 / "home"))
    monkeypatch.chdir(folder)
    sung_pieces.write(folder / "recordings")
    assert (
        cli.run(["pretrain", "--runs", ".", *sung_pieces.pretraining("recordings"), "name=cut"])
        == 0
    )
    assert_same_course(folder / "cut", folder / "whole")
    assert read_state(folder / "cut")["state"] == "finished"
    stored = store.load(folder / "cut" / "weights.safetensors")
    assert stored.metadata["format"] == 2
    assert stored.config.salience_network == "small-salience"


def test_checkpoints_and_weights_of_format_1_are_what_they_were(format_1):
    """Hashes that the old version wrote still hold, and nothing is rewritten by reading."""
    for run in ("train/cut", "pretrain/cut"):
        path = format_1 / run / "weights.safetensors"
        before = path.read_bytes(), store.metadata_path(path).read_bytes()
        assert json.loads(before[1])["format"] == 1
        store.load(path)
        assert before == (path.read_bytes(), store.metadata_path(path).read_bytes())
    shutil.rmtree(format_1)
