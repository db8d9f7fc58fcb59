"""The tables of the paper: rows that can be filled, and what is said of those that cannot."""

import importlib
import json
import tomllib
from pathlib import Path

import pytest
from places import ROOT
from typer.testing import CliRunner

from umss_jax.train.settings import build_run, read_tree
from umss_jax.train.strategies import SCHEDULES

ROOT = ROOT / "experiments"


def load(name):
    """A script, none of which is part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT.parent)
        return importlib.import_module(f"experiments.{name}")


tables = load("tables")
table_runs = load("table_runs")
HEADS = load("table_text").HEADS


def tree(name):
    return tomllib.loads((ROOT / "tables" / f"table_{name}.toml").read_text())


def run(tmp_path, *arguments):
    app = tables.typer.Typer()
    app.command()(tables.main)
    paths = [
        "--datasets",
        tmp_path / "datasets",
        "--runs",
        tmp_path / "runs",
        "-o",
        tmp_path / "out",
    ]
    return CliRunner().invoke(app, [str(argument) for argument in (*paths, *arguments)])


@pytest.mark.parametrize("name", tables.NAMES)
def test_every_row_has_a_run_and_two_published_figures_a_measure(name):
    described = tree(name)
    assert set(described["measures"]) <= set(HEADS)
    for row in (tables.Row(**row) for row in described["rows"]):
        file, overrides = row.command()
        config = build_run(read_tree(file), overrides)
        assert config.name == row.run
        assert row.run.endswith(config.strategy)
        if row.phase:
            number, name = row.phase.split("_", 1)
            assert SCHEDULES[config.strategy][int(number)].name == name
        assert "si_sdr_db" in row.published
        for measure, figures in row.published.items():
            assert measure in described["measures"]
            assert len(figures) == 2
    build_run(read_tree(ROOT / "tables" / "quick.toml"))


def test_figures_of_the_specification():
    """SI-SDR mean and median of the rows that stand there too."""

    def published(name):
        return {row["label"]: row["published"]["si_sdr_db"] for row in tree(name)["rows"]}

    first, second = published("1a"), published("1b")
    assert (first["UMSS"], second["UMSS"]) == ([6.65, 7.56], [6.91, 7.6])
    assert (first["U-Net"], second["U-Net"]) == ([1.5, 2.72], [4.44, 5.71])
    assert (first["S_F S_F"], first["S_FT S_FT"]) == ([2.93, 3.59], [5.03, 6.2])
    assert (first["S_F S_FT"], first["W_UP"]) == ([4.84, 6.1], [5.22, 6.34])
    assert second["W_UP"] == [6.2, 6.91]
    third = published("3")
    assert [third[f"{model}, BCBSQ"][0] for model in ("UMSS", "U-Net", "W_UP")] == [
        0.86,
        0.97,
        3.29,
    ]


def test_data_that_are_not_there_are_named_and_rows_stay_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(table_runs, "run_command", None)  # nothing may be trained or evaluated
    result = run(tmp_path, "1a", "3")
    assert result.exit_code == 0, result.output
    for name, folder in (("1a", "ChoralSingingDataset"), ("3", "CantoriaDataset")):
        table = json.loads((tmp_path / "out" / f"table_{name}.json").read_text())
        for row in table["rows"]:
            assert row["ours"] is None
            assert folder in row["empty_because"]
            assert row["published"]
        text = (tmp_path / "out" / f"table_{name}.md").read_text()
        assert f"the test set {folder} is not in {tmp_path / 'datasets'}" in text
        assert text in result.output


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A test set that is there, and commands that are only written down."""
    (tmp_path / "datasets" / "ChoralSingingDataset").mkdir(parents=True)
    monkeypatch.setattr(table_runs, "count_excerpts", lambda test_set, session: 24)
    summary = {"mean": 0.5, "median": None, "mean_low": 0.25, "mean_high": 0.75}
    commands = []

    def fake(arguments, show=True):
        commands.append(arguments)
        if arguments[0] == "train":
            return 1
        labels = [one.split("=")[0] for one in arguments[1 : arguments.index("--data")]]
        scores = {
            label: {
                "stems": {"si_sdr_db": summary},
                "f0": {"overall_accuracy": summary} if label in labels else None,
            }
            for label in [*tables.SCALE, *labels]
        }
        (tmp_path / "out" / "evaluation" / "statistics.json").write_text(json.dumps(scores))
        return 0

    monkeypatch.setattr(table_runs, "run_command", fake)
    return commands


def finished(folder):
    (folder / "phases").mkdir(parents=True)
    for file in ("weights.safetensors", "phases/0_assignment.safetensors"):
        (folder / file).touch()
    (folder / "state.json").write_text('{"state": "finished"}')


def test_rows_come_from_finished_runs_given_weights_and_phases(tmp_path, stand_in):
    finished(tmp_path / "runs" / "bcbsq_w_up")
    result = run(tmp_path, "2", "--load", "bcbsq_sf_sft=my-weights", "--song", "Nino_Dios")
    assert result.exit_code == 0, result.output
    (command,) = stand_in
    runs = tmp_path / "runs" / "bcbsq_w_up"
    assert command[1:4] == [
        f"W_UP 1: F0={runs / 'phases' / '0_assignment.safetensors'}",
        f"W_UP 3: all={runs / 'weights.safetensors'}",
        "S_F S_FT=my-weights",
    ]
    assert command[-2:] == ["--song", "Nino_Dios"]
    table = json.loads((tmp_path / "out" / "table_2.json").read_text())
    rows = {row["label"]: row for row in table["rows"]}
    assert rows["W_UP 1: F0"]["ours"]["si_sdr_db"]["mean"] == 0.5
    assert rows["W_UP 2: Synth"]["ours"] is None
    assert "1_synthesis.safetensors is not there" in rows["W_UP 2: Synth"]["empty_because"]
    assert rows["S_F S_FT F"]["empty_because"].startswith("needs BC for training")
    text = (tmp_path / "out" / "table_2.md").read_text()
    assert "| W_UP 1: F0 | 1.99 / 2.67 | 0.50 / – | 77 / 82 | 50.0 / – |" in text
    assert "| mixture |  | 0.50 / – |" in text
    assert table["test_set"] == {"dataset": "csd", "songs": ["Nino_Dios"], "excerpts": 24}


def test_what_is_not_there_is_trained_once(tmp_path, stand_in):
    for folder in ("BC", "BQ"):
        (tmp_path / "datasets" / folder).mkdir()
    assert run(tmp_path, "1b", "2", "--no-train").exit_code == 0
    assert [command[0] for command in stand_in] == ["evaluate", "evaluate"]
    stand_in.clear()
    assert run(tmp_path, "1b", "2").exit_code == 0
    trained = [command for command in stand_in if command[0] == "train"]
    assert {Path(command[1]).stem for command in trained} == {"bcbsq"}
    assert [command[2].removeprefix("name=") for command in trained] == [
        *("bcbsq_umss", "bcbsq_unet", "bcbsq_sf_sf", "bcbsq_sft_sft", "bcbsq_sf_sft"),
        *("bcbsq_w_up", "bcbsq_sf_sft_f"),
    ]
    training = stand_in[0]
    folders = json.dumps([str(tmp_path / "datasets" / name) for name in ("BC", "BQ")])
    assert f"data.train.folders={folders}" in training


def test_wrong_requests_are_refused(tmp_path):
    for arguments, message in (
        (["4"], "there is no table 4"),
        (["1a", "--load", "weights"], "names no run and model"),
    ):
        result = run(tmp_path, *arguments)
        assert result.exit_code == 2
        assert message in result.stderr
