"""Checkpoints: whatever is done to the latest, the one before it is restored, with a word."""

import contextlib
import json
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest

from umss_jax.errors import OutputError
from umss_jax.train import checkpoints
from umss_jax.train.checkpoint_hashes import JSON_FILES, MANIFEST
from umss_jax.train.checkpoints import CheckpointError, Checkpoints, PhaseProgress
from umss_jax.train.step import TrainState

RNG = np.random.default_rng(0)


def state(step):
    """A state whose values tell its step."""
    kernel = np.full((40, 30), step, np.float32)
    return TrainState(np.asarray(step, np.int32), {"kernel": kernel}, {}, {"moment": kernel + 1})


def written(folder, steps=(3, 6, 9)):
    kept = Checkpoints(folder)
    for step in steps:
        kept.save(state(step), PhaseProgress(step // 3, 5.0 / step, step // 3), loss=5.0 / step)
    kept.close()
    return folder


def latest(folder):
    kept = Checkpoints(folder)
    try:
        return kept.latest(state(0))
    finally:
        kept.close()


def assert_step(found, step):
    progress, tree = found[1], found[0]
    assert progress == PhaseProgress(step // 3, 5.0 / step, step // 3)
    np.testing.assert_array_equal(tree.params["kernel"], np.full((40, 30), step, np.float32))
    np.testing.assert_array_equal(tree.opt_state["moment"], np.full((40, 30), step + 1, np.float32))
    assert int(tree.step) == step


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return written(tmp_path_factory.mktemp("run") / "checkpoints" / "0_synthesis")


@pytest.fixture
def folder(sound, tmp_path):
    return Path(shutil.copytree(sound, tmp_path / "checkpoints" / "0_synthesis"))


def flip(file):
    content = bytearray(file.read_bytes())
    content[RNG.integers(len(content))] ^= 1 << RNG.integers(8)
    file.write_bytes(content)


def with_another_key(file):
    tree = json.loads(file.read_bytes())
    file.write_text(json.dumps(tree | {"more": 1} if isinstance(tree, dict) else [tree, 1]))


DAMAGE = {
    "a flipped bit": flip,
    "emptied": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-2]),
    "gone": lambda file: file.unlink(),
    "garbled": lambda file: file.write_bytes(RNG.bytes(200)),
    "another's": lambda file: file.write_bytes(b"[]"),
}
REST = [one for one in DAMAGE if one != "a flipped bit"]


def test_two_latest_and_the_best_are_kept(folder):
    assert sorted(int(one.name) for one in folder.iterdir()) == [6, 9]
    assert_step(latest(folder), 9)


@pytest.mark.parametrize(
    "damage", ["a flipped bit", *(pytest.param(one, marks=pytest.mark.slow) for one in REST)]
)
def test_damage_to_any_file_is_noticed_and_survived(folder, tmp_path, caplog, damage):
    names = [one.relative_to(folder / "9") for one in sorted((folder / "9").rglob("*"))]
    names = [name for name in names if (folder / "9" / name).is_file()]
    assert len(names) > 8
    for name in names:
        copy = Path(shutil.copytree(folder, tmp_path / str(name).replace("/", "-") / "0_synthesis"))
        DAMAGE[damage](copy / "9" / name)
        # Damaged hashes may be no JSON any more, or name other files, or other hashes.
        said = "" if name.name == MANIFEST else str(name)
        caplog.clear()
        assert_step(latest(copy), 6)
        (record,) = caplog.records
        assert f"checkpoint 9: {said}" in record.getMessage()
        assert "resuming from 6" in record.getMessage()
        assert not (copy / "9").exists()
    caplog.clear()
    assert_step(latest(copy), 6)
    assert not caplog.records
    written(copy, (9,))
    assert_step(latest(copy), 9)


@pytest.mark.parametrize("name", JSON_FILES)
def test_another_key_in_any_table_is_noticed(folder, name):
    with_another_key(folder / "9" / name)
    assert_step(latest(folder), 6)


@pytest.mark.parametrize("damage", DAMAGE)
def test_where_none_is_sound_it_is_said(folder, damage):
    for step in (6, 9):
        DAMAGE[damage](folder / str(step) / "metrics" / "metrics")
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is sound .checkpoint 6: metr"):
        latest(folder)
    assert {one.name for one in folder.iterdir()} == {"6", "9"}, "nothing is taken away"


def test_steps_are_ordered_by_number_whatever_the_clock_says(folder):
    for path in (folder / "9", *(folder / "9").rglob("*")):
        os.utime(path, (0, 0))
    for path in (folder / "6", *(folder / "6").rglob("*")):
        os.utime(path, (2e9, 2e9))
    assert_step(latest(folder), 9)
    written(folder, (12,))
    assert_step(latest(folder), 12)
    assert sorted(int(one.name) for one in folder.iterdir()) == [9, 12]


def without_hashes(folder):
    """As an older version wrote them."""
    for file in folder.rglob(MANIFEST):
        file.unlink()


def test_checkpoints_of_an_older_version_are_read(folder, caplog):
    without_hashes(folder)
    assert_step(latest(folder), 9)
    written(folder, (12,))
    assert_step(latest(folder), 12)
    assert not caplog.records
    flip(folder / "12" / "metrics" / "metrics")
    assert_step(latest(folder), 9)


@pytest.mark.parametrize(
    "damage",
    [
        "emptied",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("cut", "gone", "another's")),
    ],
)
def test_damage_to_those_of_an_older_version_is_survived(folder, tmp_path, caplog, damage):
    """They have no hashes, so that not all damage is noticed: what hinders reading is."""
    without_hashes(folder)
    data = max((folder / "9" / "state").rglob("d/*"), key=lambda file: file.stat().st_size)
    for name in (*JSON_FILES[:3], data.relative_to(folder / "9")):
        copy = Path(shutil.copytree(folder, tmp_path / str(name).replace("/", "-") / "0_synthesis"))
        DAMAGE[damage](copy / "9" / name)
        caplog.clear()
        assert_step(latest(copy), 6)
        assert [record for record in caplog.records if "checkpoint 9" in record.getMessage()], name
        assert not (copy / "9").exists()


@pytest.mark.parametrize(
    "tree",
    [None, [], 3, {}, {"epoch": 3}, {"epoch": 3, "best_loss": 1.0, "best_epoch": 3, "more": 1},
     {"epoch": "3", "best_loss": 1.0, "best_epoch": 3}, {"epoch": 3, "best_loss": None,
     "best_epoch": 3}, {"epoch": True, "best_loss": 1.0, "best_epoch": 3}],
)  # fmt: skip
def test_a_progress_of_an_older_version_that_is_none_is_survived(folder, tree):
    without_hashes(folder)
    (folder / "9" / "progress" / "metadata").write_text(json.dumps(tree))
    assert_step(latest(folder), 6)


def test_another_state_does_not_fit_and_nothing_is_moved(folder):
    other = state(0)._replace(params={"bias": np.zeros(3, np.float32)})
    kept = Checkpoints(folder)
    with pytest.raises(CheckpointError, match=r"checkpoint 9 .* cannot be restored"):
        kept.latest(other)
    kept.close()
    assert {one.name for one in folder.iterdir()} == {"6", "9"}


def test_a_kill_before_the_hashes_leaves_the_one_before(folder, monkeypatch, caplog):
    def killed(checkpoint):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "seal", killed)
        with pytest.raises(KeyboardInterrupt):
            written(folder, (12,))
    assert_step(latest(folder), 9)
    assert "checkpoint 12: was not finished" in caplog.text


def test_the_best_is_found_by_its_loss(folder):
    kept = Checkpoints(folder)
    assert int(kept.best(state(0), 5.0 / 9).step) == 9
    assert kept.best(state(0), 0.3) is None
    kept.close()


@pytest.mark.parametrize("function", ["mkdir", "rename", "replace", "open", "fsync"])
@pytest.mark.parametrize("allowed", [0, 1])
def test_a_full_disk_is_one_line_and_the_last_stays(folder, monkeypatch, function, allowed):
    """A kind of write fails from its first or second time on."""
    real, calls, full = getattr(os, function), [], []

    def limited(*arguments, **options):
        is_ours = function == "fsync" or "checkpoints" in str(arguments[0])
        calls.append(is_ours)
        if is_ours and sum(calls) > allowed:
            full.append(arguments)
            raise OSError(28, "No space left on device")
        return real(*arguments, **options)

    kept = Checkpoints(folder)
    with monkeypatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(os, function, limited)
        raised = stack.enter_context(pytest.raises(OutputError, match="No space left on device"))
        kept.save(state(12), PhaseProgress(4, 5.0 / 12, 4), loss=5.0 / 12)
        if not full:  # orbax does not call it so often
            raise OutputError("No space left on device", "nothing")
    assert "\n" not in str(raised.value)
    kept.close()
    found = latest(folder)
    # Where only the hashes are missing, those of the one before hold.
    assert_step(found, 9 if full else 12)


@pytest.mark.parametrize("limit", [0, 60, 500, 2_000])
def test_what_orbax_writes_by_native_code_meets_a_full_disk_too(folder, limit):
    """The system refuses files above a size."""
    kernel = RNG.normal(size=(40, 30)).astype(np.float32)  # does not compress
    wanted = state(12)._replace(params={"kernel": kernel})
    kept = Checkpoints(folder)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written") as raised:
            kept.save(wanted, PhaseProgress(4, 5.0 / 12, 4), loss=5.0 / 12)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert "\n" not in str(raised.value)
    assert "File too large" in str(raised.value)
    kept.close()
    assert_step(latest(folder), 9)
