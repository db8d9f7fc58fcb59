"""``umss-jax evaluate``: its table, files and errors."""

import csv
import json

import pytest
import typer
from typer.testing import CliRunner

from umss_jax.cli.evaluate import evaluate
from umss_jax.errors import DatasetError, OutputError, UsageError

app = typer.Typer()
app.command()(evaluate)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def nino_dios(shared):
    return ["--data", shared / "datasets" / "ChoralSingingDataset", "--song", "Nino Dios"]


def test_baselines_are_always_in_the_table(nino_dios, tmp_path):
    statistics, frames = tmp_path / "table.json", tmp_path / "frames.csv"
    result = run(*nino_dios, "--limit", 2, "--json", statistics, "--csv", frames)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "mixture",
        "ideal ratio masks",
        "comb, reference F0",
    ]
    assert len({line.count("|") for line in lines}) == 1
    table = json.loads(statistics.read_text())
    means = {label: row["stems"]["si_sdr_db"]["mean"] for label, row in table.items()}
    assert means["mixture"] < means["comb, reference F0"] < means["ideal ratio masks"]
    assert f"{means['mixture']:.2f} / " in lines[2]
    with frames.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 4 * 4
    kept = [
        float(row["si_sdr_db"]) for row in rows if row["row"] == "mixture" and row["kept"] > "0"
    ]
    assert sum(kept) / len(kept) == pytest.approx(means["mixture"], abs=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames.csv", "table.json"]


def test_errors_name_what_is_wrong(nino_dios, tmp_path):
    def error(*arguments):
        exception = run(*arguments).exception
        return type(exception), str(exception)

    kind, text = error("--song", "Ave Maria")
    assert kind is UsageError
    assert "no test song is called Ave_Maria: choose from El_Rossinyol" in text
    kind, text = error("--data", tmp_path, "--song", "Nino_Dios")
    assert kind is DatasetError
    assert str(tmp_path / "Nino_Dios" / "audio_16kHz") in text
    kind, text = error(*nino_dios, "--limit", 1, "--json", tmp_path / "missing" / "table.json")
    assert kind is OutputError
    assert "table.json cannot be written" in text


@pytest.mark.slow
def test_a_model_without_decoder_is_evaluated_by_its_f0(nino_dios, shared, monkeypatch, tmp_path):
    monkeypatch.setenv("UMSS_SHARED", str(shared))
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path))
    result = run("published", *nino_dios, "--limit", 1, "--assigner", "heuristic")
    assert result.exit_code == 0, result.output
    last = result.stdout.splitlines()[-1].split("|")
    assert last[1].strip() == "comb, F0 of published (heuristic)"
    assert float(last[-3]) > 0.5  # raw pitch accuracy
