"""What a run may be resumed with: settings, recordings, and damaged files of its folder."""

import json
import os
import shutil

import numpy as np
import pytest
import small_run
import soundfile
import sung_pieces

from umss_jax import cli
from umss_jax.config_tree import build, plain, with_overrides
from umss_jax.data.config import SetConfig
from umss_jax.errors import DatasetError, OutputError, UsageError, WeightsError
from umss_jax.train.config import PretrainConfig, TrainConfig
from umss_jax.train.inputs import INPUTS, Inputs, check_inputs
from umss_jax.train.resuming import changes, read_settings
from umss_jax.train.run_folder import RunFolder, read_metrics, read_state
from umss_jax.weights import store

JSON = [None, True, 0, -1, 1.5, "text", "", [], [1], {}, {"state": None}, {"state": []}]


def config_of(*overrides, kind=TrainConfig):
    return build(kind, with_overrides(plain(kind()), overrides))


def begun(path, config, phases=1):
    """A run that has a checkpoint of so many phases, as far as its folder tells."""
    with RunFolder(path, config).going():
        for number in range(phases):
            (path / "checkpoints" / f"{number}_x" / "3").mkdir(parents=True)
    return path


HARMLESS = [
    "name=other", "max_epochs=9", "patience=3", "tensorboard=false", "parallel=shard_map",
    "checkpoint_steps=7", "epochs=[50, 50, 9]", "epochs=[50, 60, 70]",
]  # fmt: skip


@pytest.mark.parametrize("override", HARMLESS)
def test_what_is_harmless_may_change(tmp_path, override):
    begun(tmp_path, config_of())
    with RunFolder(tmp_path, config_of(override)).going():
        pass
    assert read_settings(tmp_path / "config.toml", TrainConfig()) == config_of(override)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("batch=4", "batch was 15, is 4"),
        ("seed=5", "seed was 4, is 5"),
        ("strategy=umss", 'strategy was "w_up", is "umss"'),
        ("epoch_examples=160", "epoch_examples was 1600, is 160"),
        ("cosine=true", "cosine was false, is true"),
        ("optimiser.learning_rate=1e-3", "optimiser.learning_rate was 0.0001, is 0.001"),
        ("data.pool=9", "data.pool was 0, is 9"),
        ("data.train.pieces=['a']", 'data.train.pieces was ["*"], is ["a"]'),
        ("loss.fft_sizes=[64]", "is [64]"),
        ("model.synth.harmonics=8", "model.synth.harmonics was"),
        ("epochs=[60, 50, 70]", "epochs was [], is [60, 50, 70]"),
    ],
)
def test_other_settings_are_refused_with_both_values(tmp_path, override, said):
    begun(tmp_path, config_of(), phases=2)
    before = (tmp_path / "config.toml").read_bytes()
    with (
        pytest.raises(UsageError) as raised,
        RunFolder(tmp_path, config_of(override)).going(),
    ):
        raise AssertionError("it trains")
    assert said in raised.value.message
    assert override.split("=")[0] in raised.value.message.split(":")[0]
    assert (tmp_path / "config.toml").read_bytes() == before
    assert read_state(tmp_path)["state"] == "finished", "it is what it was"


@pytest.mark.parametrize(
    ("settings", "override", "phases", "refused"),
    [
        (["strategy=umss", "cosine=true", "epochs=[3]"], "epochs=[5]", 1, "epochs was [3], is [5]"),
        (["strategy=umss", "cosine=true", "epochs=[3]"], "epochs=[5]", 0, ""),
        (["strategy=umss", "cosine=true"], "max_epochs=5", 1, "max_epochs was 8000, is 5"),
        (["strategy=umss", "cosine=true", "optimiser.total_steps=50"], "max_epochs=5", 1, ""),
        (["strategy=umss", "cosine=true", "epochs=[3]"], "max_epochs=5", 1, ""),
        (["cosine=true", "epochs=[1, 1, 1]"], "epochs=[1, 1, 5]", 2, ""),
        (["cosine=true", "epochs=[1, 1, 1]"], "epochs=[1, 5, 1]", 2, "is [1, 5, 1]"),
        (["epochs=[1, 1, 1]"], "epochs=[1, 5, 1]", 2, ""),
        (["epochs=[1, 1, 1]"], "epochs=[5, 1, 1]", 2, "is [5, 1, 1]"),
    ],
)
def test_the_length_of_phases(settings, override, phases, refused):
    found = changes(config_of(*settings), config_of(*settings, override), phases)
    assert [change for change in found if not change.why] == []
    assert refused in "".join(map(str, found))
    assert bool(found) == bool(refused)


@pytest.mark.parametrize(
    ("override", "phases", "refused"),
    [
        ("name=other", 2, ""),
        ("validation_steps=9", 2, ""),
        ("steps=[3000, 9]", 1, ""),
        ("steps=[3000, 9]", 2, "steps was [3000, 1200], is [3000, 9]"),
        ("steps=[9, 1200]", 1, "steps was [3000, 1200], is [9, 1200]"),
        ("batch=[1, 1]", 1, "batch was [6, 4], is [1, 1]"),
        ("augmentation.level_db=1.0", 1, "augmentation.level_db was 4.0, is 1.0"),
        ("train.pieces=['a']", 1, "train.pieces was"),
    ],
)
def test_settings_of_a_pre_training(tmp_path, override, phases, refused):
    begun(tmp_path, PretrainConfig(), phases)
    run = RunFolder(tmp_path, config_of(override, kind=PretrainConfig))
    if refused:
        with pytest.raises(UsageError) as raised, run.going():
            raise AssertionError("it trains")
        assert refused in raised.value.message
    else:
        with run.going():
            pass


@pytest.mark.parametrize("override", ["batch=4", "strategy=umss", "data.pool=9", "seed=7"])
def test_a_run_that_failed_before_its_first_step_begins_again_with_other_settings(
    tmp_path, override
):
    with pytest.raises(DatasetError), RunFolder(tmp_path, config_of()).going():
        raise DatasetError("no recordings", "name some")
    assert read_state(tmp_path)["state"] == "failed"
    with RunFolder(tmp_path, config_of(override)).going():
        pass
    assert read_settings(tmp_path / "config.toml", TrainConfig()) == config_of(override)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 40, b"\xff\xfe", b"batch = ", b"[[[", b"batch = 'x'\n", b"btch = 3\n",
     b"x = " + b"[" * 20_000, b"model = 3\n", b"[model.synth]\nharmonics = '3'\n"],
)  # fmt: skip
def test_damaged_settings_are_one_line(tmp_path, content):
    begun(tmp_path, config_of("batch=4"))
    (tmp_path / "config.toml").write_bytes(content)
    with (
        pytest.raises(UsageError, match=r"config.toml is damaged|another batch") as raised,
        RunFolder(tmp_path, config_of("batch=4")).going(),
    ):
        raise AssertionError("it trains")
    assert "\n" not in str(raised.value)
    (tmp_path / "config.toml").unlink()
    with RunFolder(tmp_path, config_of("batch=4")).going():
        pass


@pytest.mark.parametrize("key", ["whole", "state", "pid", "host", "best_loss", "epoch", "updated"])
@pytest.mark.parametrize("value", JSON)
def test_any_state_is_read_listed_and_resumed(tmp_path, capsys, key, value):
    begun(tmp_path / "run", config_of())
    RunFolder(tmp_path / "run", config_of()).set_state("running", best_loss=1.0, epoch=3)
    path = tmp_path / "run" / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps(value if key == "whole" else state | {key: value}))
    assert isinstance(read_state(tmp_path / "run")["state"], str)
    assert cli.run(["runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("run ")
    with RunFolder(tmp_path / "run", config_of()).going():
        assert read_state(tmp_path / "run")["state"] == "running"
    assert read_state(tmp_path / "run")["state"] == "finished"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"state": "running"}', b"1" * 5000, b"NaN"]
)
def test_any_bytes_in_the_state_are_survived(tmp_path, content):
    (tmp_path / "state.json").write_bytes(content)
    assert read_state(tmp_path)["state"] in ("unknown", "running")
    with RunFolder(tmp_path, config_of()).going():
        pass


@pytest.mark.parametrize(
    "line",
    [b"\xff\xfe", b"", b"{", b"[]", b"3", b"null", b'{"phase": 0}', b'{"phase": "0", "step": 2}',
     b'{"phase": 0, "step": 2.5}', b'{"phase": 0, "step": true}', b"\x00" * 30, b"[" * 100_000],
)  # fmt: skip
def test_damaged_rows_are_left_out_and_the_others_stay(tmp_path, caplog, line):
    run = RunFolder(tmp_path, config_of())
    rows = [{"phase": 0, "step": step} for step in range(1, 5)]
    lines = [json.dumps(row).encode() for row in rows]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([*lines[:2], line, *lines[2:]]) + b"\n")
    assert read_metrics(tmp_path) == rows
    run.forget_after(0, 3)
    assert read_metrics(tmp_path) == rows[:3]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'metrics.jsonl'}: 1 damaged rows are left out"
    ]


def test_rows_of_later_phases_stay(tmp_path):
    run = RunFolder(tmp_path, config_of())
    for phase, step in ((0, 1), (0, 2), (1, 1), (1, 2)):
        run.log({"phase": phase, "step": step})
    run.forget_after(0, 1)
    run.log({"phase": 0, "step": 2})
    run.forget_after(1, 1)
    assert [(row["phase"], row["step"]) for row in read_metrics(tmp_path)] == [
        (0, 1), (0, 2), (1, 1)
    ]  # fmt: skip


@pytest.fixture
def choir(tmp_path):
    small_run.sing(tmp_path)
    return tmp_path / "choir"


def compare(run, folder, weights="", **others):
    sets, weights = {"train": SetConfig(folders=(str(folder),))}, str(weights)
    files = RunFolder(run, config_of(f"data.train.folders=['{folder}']", f"weights={weights}"))
    with files.going():
        check_inputs(files, Inputs(sets, weights, **others))


@pytest.fixture
def learnt(choir, tmp_path):
    """A run that has begun on the choir."""
    compare(tmp_path / "run", choir)
    (tmp_path / "run" / "checkpoints" / "0_x" / "3").mkdir(parents=True)
    compare(tmp_path / "run", choir)
    return tmp_path / "run"


def other_sound(file):
    samples, rate = soundfile.read(file)
    before = file.stat()
    samples[100] += 0.01
    soundfile.write(file, samples, rate)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size


def another_piece(file):
    shutil.copytree(file.parent, file.parent.parent / "third")


CHANGED = {
    "changed: train[0]/first/alto.wav": other_sound,
    "gone: train[0]/first/alto.wav": lambda file: shutil.rmtree(file.parent),
    "new: train[0]/third/alto.wav": another_piece,
    "changed: train[0]/first/alto.wav, train[0]/second/alto.wav": lambda file: [
        other_sound(file), other_sound(file.parent.parent / "second" / "alto.wav")
    ],
}  # fmt: skip


@pytest.mark.parametrize("said", CHANGED)
def test_recordings_that_are_not_what_they_were_are_named(learnt, choir, said):
    CHANGED[said](choir / "first" / "alto.wav")
    for _ in range(2):
        with pytest.raises(DatasetError) as raised:
            compare(learnt, choir)
        assert said in raised.value.message
    (learnt / INPUTS).unlink()
    compare(learnt, choir)
    compare(learnt, choir)


def test_recordings_may_be_touched_and_moved(learnt, choir):
    (choir / "first" / "alto.wav").touch()
    compare(learnt, choir)
    moved = choir.rename(choir.parent / "elsewhere")
    compare(learnt, moved)
    other_sound(moved / "first" / "alto.wav")
    with pytest.raises(DatasetError, match=r"changed: train\[0\]/first/alto.wav"):
        compare(learnt, moved)


def test_a_folder_of_other_recordings_is_refused_with_both(learnt, choir):
    shutil.copytree(choir, choir.parent / "other")
    other_sound(choir.parent / "other" / "first" / "alto.wav")
    with pytest.raises(
        UsageError, match=r"another data\.train\.folders: .* was .*choir.* is .*oth"
    ):
        compare(learnt, choir.parent / "other")


def test_before_the_first_checkpoint_recordings_may_change(choir, tmp_path):
    compare(tmp_path / "run", choir)
    other_sound(choir / "first" / "alto.wav")
    compare(tmp_path / "run", choir)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"files": {}, "sha256": 3}'])
def test_damaged_hashes_are_said_and_made_again(learnt, choir, caplog, content):
    before = (learnt / INPUTS).read_bytes()
    (learnt / INPUTS).write_bytes(content)
    compare(learnt, choir)
    assert "inputs.json is damaged" in caplog.text
    assert (learnt / INPUTS).read_bytes() == before


def test_initial_weights_that_changed_are_named(choir, tmp_path):
    weights = tmp_path / "start.safetensors"
    tree = {"params": {"encoder": {"kernel": np.zeros(3, np.float32)}}}
    store.save(weights, tree, TrainConfig().model)
    compare(tmp_path / "run", choir, weights)
    (tmp_path / "run" / "checkpoints" / "0_x" / "3").mkdir(parents=True)
    store.save(tmp_path / "same.safetensors", tree, TrainConfig().model)
    compare(tmp_path / "run", choir, tmp_path / "same.safetensors")
    tree["params"]["encoder"]["kernel"][1] = 1
    store.save(tmp_path / "same.safetensors", tree, TrainConfig().model)
    with pytest.raises(WeightsError, match=r"other weights than .*same\.safetensors"):
        compare(tmp_path / "run", choir, tmp_path / "same.safetensors")


def test_f0_that_a_pre_training_learns_from_counts_too(tmp_path):
    sung_pieces.write(tmp_path / "recordings")
    compare(tmp_path / "run", tmp_path / "recordings", with_f0=True)
    (tmp_path / "run" / "checkpoints" / "0_x" / "3").mkdir(parents=True)
    table = tmp_path / "recordings" / "piece0" / "alto.f0.csv"
    table.write_text(table.read_text().replace("300.", "301."))
    with pytest.raises(DatasetError, match=r"changed: train\[0\]/piece0/alto\.f0\.csv"):
        compare(tmp_path / "run", tmp_path / "recordings", with_f0=True)


def fail_while_the_disk_is_full(run, monkeypatch, error=None):
    """A run of nothing, during which the disk becomes full and stays so until it has ended."""

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, run.going():
        patch.setattr("os.replace", full)
        if error:
            raise error


def test_a_full_disk_at_the_end_leaves_the_run_resumable(tmp_path, monkeypatch):
    run = RunFolder(tmp_path, config_of())
    with pytest.raises(DatasetError, match="what ended it"):
        fail_while_the_disk_is_full(run, monkeypatch, DatasetError("what ended it", "is said"))
    assert read_state(tmp_path)["state"] == "killed"
    with pytest.raises(OutputError, match=r"state\.json cannot be written .No space left"):
        fail_while_the_disk_is_full(run, monkeypatch)
    with run.going():
        pass
    assert read_state(tmp_path)["state"] == "finished"
