"""``umss-jax evaluate``: its table, files and errors."""

import csv
import json

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from umss_jax import cli
from umss_jax.cli.evaluate import evaluate
from umss_jax.config import VOICES
from umss_jax.errors import DatasetError, OutputError, UsageError
from umss_jax.evaluate import run as evaluation_run

app = typer.Typer()
app.command()(evaluate)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def nino_dios(shared):
    return ["--data", shared / "datasets" / "ChoralSingingDataset", "--song", "Nino Dios"]


def test_baselines_are_always_in_the_table(nino_dios, tmp_path):
    statistics, frames = tmp_path / "table.json", tmp_path / "frames.csv"
    result = run("--baselines", *nino_dios, "--limit", 2, "--json", statistics, "--csv", frames)
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
        exception = run("--baselines", *arguments).exception
        return type(exception), str(exception)

    kind, text = error(*nino_dios[:2], "--song", "Ave Maria")
    assert kind is UsageError
    assert "no test song is called Ave_Maria: choose from El_Rossinyol" in text
    kind, text = error("--data", tmp_path, "--song", "Nino_Dios")
    assert kind is DatasetError
    assert str(tmp_path / "Nino_Dios" / "audio_16kHz") in text
    (tmp_path / "taken").write_text("a file where a folder should be")
    kind, text = error(*nino_dios, "--limit", 1, "--json", tmp_path / "taken" / "table.json")
    assert kind is OutputError
    assert "table.json cannot be written" in text


def test_a_wrong_folder_is_one_line_and_an_exit_code(nino_dios, capsys):
    song = nino_dios[1] / "Nino_Dios"
    assert cli.run(["evaluate", "--data", str(song), "--song", "Nino_Dios"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(
        f"umss-jax: {song / 'Nino_Dios' / 'audio_16kHz'} is not a folder"
    )
    assert captured.err.endswith(f"point higher, at {song.parent}\n")
    assert captured.err.count("\n") == 1


def test_groups_and_the_folder_of_results(nino_dios, tmp_path):
    out = tmp_path / "out"
    arguments = ["--baselines", *nino_dios, "--limit", 2, "-o", out, "--audio", 0]
    arguments += ["--by", "song", "--by", "voice"]
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == [
        *("excerpts", "frames.csv", "statistics.json", "table.md")
    ]
    assert (out / "table.md").read_text() == result.stdout
    headings = [line for line in result.stdout.splitlines() if line.startswith(("song", "voice"))]
    assert headings == ["song: Nino Dios", *(f"voice: {voice}" for voice in VOICES)]
    table = json.loads((out / "statistics.json").read_text())
    row = table["comb, reference F0"]
    assert row["songs"]["Nino Dios"]["stems"] == row["stems"]
    frames = [row["voices"][voice]["stems"]["si_sdr_db"]["frames"] for voice in VOICES]
    assert sum(frames) == row["stems"]["si_sdr_db"]["frames"]


def test_audio_is_kept_beside_the_scores(nino_dios, tmp_path):
    out = tmp_path / "out"
    result = run("--baselines", *nino_dios, "--limit", 2, "-o", out, "--audio", 1)
    assert result.exit_code == 0, result.output
    (excerpt,) = [path for path in (out / "audio").iterdir() if path.is_dir()]
    assert sorted(path.name for path in excerpt.iterdir()) == [
        *("comb, reference F0", "ideal ratio masks", "reference")
    ]
    exception = run("--baselines", *nino_dios, "--limit", 1, "--audio", 1).exception
    assert isinstance(exception, UsageError)
    assert "--audio needs a folder to keep it in: add -o OUT" in str(exception)


@pytest.mark.slow
def test_bss_eval_has_columns_of_its_own(nino_dios, tmp_path):
    with_bss = run(
        "--baselines", *nino_dios, "--limit", 1, "--bss", "--csv", tmp_path / "frames.csv"
    )
    assert " SDR | SIR | SAR |" in with_bss.stdout
    with (tmp_path / "frames.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kept"] == "1"]
    ideal = [row for row in rows if row["row"] == "ideal ratio masks"]
    mixed = [row for row in rows if row["row"] == "mixture"]
    means = [np.mean([float(row["sir_db"]) for row in rows]) for rows in (ideal, mixed)]
    assert means[0] > means[1] + 10
    # a mixture holds nothing but the voices
    assert min(float(row["sar_db"]) for row in mixed) > 60


def test_a_folder_without_f0_says_what_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    generator = np.random.default_rng(0)
    for voice in VOICES:
        (tmp_path / "choir" / "hymn").mkdir(parents=True, exist_ok=True)
        file = tmp_path / "choir" / "hymn" / f"{voice}.wav"
        soundfile.write(file, 0.1 * generator.standard_normal(80_000), 16_000)
    arguments = ["--baselines", "--data", tmp_path / "choir", "--dataset", "folder"]
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "crepe_f0_center/soprano.f0.csv" in result.stderr
    assert "`umss-jax data f0` makes them" in result.stderr
    assert [line.split("|")[1].strip() for line in result.stdout.splitlines()[2:]] == [
        *("mixture", "ideal ratio masks")
    ]
    exception = run(*arguments, "--f0", "oracle").exception
    assert isinstance(exception, DatasetError)
    assert "which --f0 oracle needs: make them by `umss-jax data f0`" in str(exception)


def test_two_rows_of_one_name_are_refused(nino_dios, shared, monkeypatch, tmp_path):
    monkeypatch.setenv("UMSS_SHARED", str(shared))
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path))
    exception = run("published", "published", *nino_dios).exception
    assert isinstance(exception, UsageError)
    assert "call one otherwise: LABEL=MODEL" in str(exception)
    exception = run(*nino_dios, "--by", "singer").exception
    assert "choose from song, voice" in str(exception)


@pytest.mark.slow
def test_a_model_without_decoder_is_evaluated_by_its_f0(nino_dios, shared, monkeypatch, tmp_path):
    monkeypatch.setenv("UMSS_SHARED", str(shared))
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path))
    result = run("published", *nino_dios, "--limit", 1, "--assigner", "heuristic")
    assert result.exit_code == 0, result.output
    last = result.stdout.splitlines()[-1].split("|")
    assert last[1].strip() == "comb, F0 of published (heuristic)"
    assert float(last[-3]) > 0.5  # raw pitch accuracy


def test_the_starter_weights_are_evaluated_unless_told_otherwise(nino_dios, monkeypatch):
    asked = []

    def rows(model, *options):
        asked.append(model)
        return []

    monkeypatch.setattr(evaluation_run, "model_rows", rows)
    assert run(*nino_dios, "--limit", 1).exit_code == 0
    assert run("mine", "other", *nino_dios, "--limit", 1).exit_code == 0
    assert run("--baselines", *nino_dios, "--limit", 1).exit_code == 0
    assert asked == ["starter", "mine", "other"]
    exception = run("mine", "--baselines", *nino_dios).exception
    assert isinstance(exception, UsageError)
    assert "--baselines and a model exclude each other" in str(exception)
