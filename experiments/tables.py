"""Tables 1a, 1b, 2 and 3 of the paper: every row trained or loaded, evaluated, beside its figure.

Source:   the paper (ICASSP 2024); rows and published figures in tables/*.toml.
Command:  python -m experiments.tables --datasets DIR
          python -m experiments.tables --quick
Duration: README.md beside this file.
Score:    README.md beside this file.

DIR holds BC, BQ, ChoralSingingDataset and CantoriaDataset, as the published code lays them out. A
row whose data are not there stays empty and says why. With --quick every row is trained for a few
steps on a little of the reference data (UMSS_SHARED, by default ../shared), to see that all works.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.table_text import markdown
from umss_jax.data.config import Dataset
from umss_jax.data.test_sets import quartets_of
from umss_jax.errors import UmssError, UsageError
from umss_jax.evaluate.config import EvaluationConfig
from umss_jax.train.run_folder import read_state
from umss_jax.train.run_weights import WEIGHTS
from umss_jax.train.settings import build_run, read_tree
from umss_jax.train.strategies import SCHEDULES

HERE = Path(__file__).parent
NAMES = ("1a", "1b", "2", "3")
SCALE = ("mixture", "comb, reference F0", "ideal ratio masks")
"""Rows of `umss-jax evaluate` that belong to every test set and to no model."""


class AbsentError(Exception):
    """Why a row or a table stays empty."""


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    label: str
    run: str
    """A configuration of ``configs/`` and the run that it makes."""
    published: dict[str, list[float]]
    assigner: str = "voas-cnn"
    phase: str = ""
    """Weights after this phase, instead of the last."""


@dataclass(frozen=True)
class TestSet:
    """What the rows are tested on."""

    dataset: str
    folder: str
    songs: tuple[str, ...] = ()
    limit: int = 0

    __test__ = False


@dataclass
class Session:
    """Where everything is, and what was already trained."""

    datasets: Path
    runs: Path
    out: Path
    quick: bool
    train: bool
    songs: tuple[str, ...]
    loaded: dict[str, str]
    """Models that need no training, by run."""
    trained: dict[str, str | AbsentError] = field(default_factory=dict)


def main(
    tables: Annotated[list[str] | None, typer.Argument(help="1a, 1b, 2, 3; default: all.")] = None,
    datasets: Annotated[
        Path, typer.Option("--datasets", help="Folder of BC, BQ, ChoralSingingDataset, …")
    ] = Path("datasets"),
    runs: Annotated[Path, typer.Option("--runs", help="Folder of training runs.")] = Path("runs"),
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the tables.")] = Path(
        "tables"
    ),
    load: Annotated[
        list[str] | None,
        typer.Option("--load", help="RUN=MODEL: take these weights instead of training that run."),
    ] = None,
    train: Annotated[
        bool, typer.Option(help="Train what is not there; else such rows stay empty.")
    ] = True,
    song: Annotated[
        list[str] | None,
        typer.Option("--song", help="Test on this song only, where the others are not there."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few steps, a few excerpts, of the reference data.")
    ] = False,
) -> None:
    """Fill the tables; the same command goes on where it was stopped."""
    names = tables or list(NAMES)
    try:
        if unknown := [name for name in names if name not in NAMES]:
            raise UsageError(f"there is no table {unknown[0]}", f"choose from {', '.join(NAMES)}")
        if quick:
            datasets = Path(os.environ.get("UMSS_SHARED", "../shared")) / "datasets"
            out = out / "quick"
            runs = out / "runs"
        loaded = dict(_pair(one) for one in load or [])
        session = Session(datasets, runs, out, quick, train, tuple(song or ()), loaded)
        for name in names:
            fill(name, session)
    except UmssError as error:
        print(f"tables: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from error


def fill(name: str, session: Session) -> dict[str, Any]:
    """Trains, evaluates and writes one table.

    Args:
        name: of :data:`NAMES`.
        session: where everything is.

    Returns:
        What is written as JSON.
    """
    started = time.monotonic()
    tree = tomllib.loads((HERE / "tables" / f"table_{name}.toml").read_text(encoding="utf-8"))
    rows = [Row(**row) for row in tree["rows"]]
    test_set = _test_set(tree, session)
    models: dict[str, str] = {}
    reasons: dict[str, str] = {}
    try:
        excerpts = _check(test_set, session)
    except AbsentError as absent:
        reasons = {row.label: str(absent) for row in rows}
        excerpts = 0
    else:
        for row in rows:
            try:
                models[row.label] = _model(row, session)
            except AbsentError as absent:
                reasons[row.label] = str(absent)
    scores = _evaluate(rows, models, test_set, session) if excerpts else {}
    table = {
        "title": tree["title"],
        "quick": session.quick,
        "test_set": {
            "dataset": test_set.dataset,
            "songs": list(test_set.songs) or "all of the test set",
            "excerpts": excerpts,
        },
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "seconds": round(time.monotonic() - started),
        "measures": tree["measures"],
        "rows": [
            {
                "label": row.label,
                "run": row.run,
                "phase": row.phase or None,
                "assigner": row.assigner,
                "published": row.published,
                "ours": _ours(scores.get(row.label), tree["measures"]),
                "empty_because": reasons.get(row.label),
            }
            for row in rows
        ],
        "for_scale": {label: _ours(scores.get(label), ["si_sdr_db"]) for label in SCALE},
    }
    session.out.mkdir(parents=True, exist_ok=True)
    path = session.out / f"table_{name}"
    path.with_suffix(".json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(markdown(table), encoding="utf-8")
    print(markdown(table), flush=True)
    return table


def _ours(scores: dict[str, Any] | None, measures: list[str]) -> dict[str, Any] | None:
    """The statistics of a row that the table has columns for."""
    if scores is None:
        return None
    known = {**scores["stems"], **(scores["f0"] or {})}
    return {measure: known[measure] for measure in measures if measure in known}


def _test_set(tree: dict[str, Any], session: Session) -> TestSet:
    chosen = tree["quick"] if session.quick else tree
    songs = session.songs or tuple(chosen.get("songs", ()))
    return TestSet(chosen["dataset"], chosen["folder"], songs, chosen.get("limit", 0))


def _check(test_set: TestSet, session: Session) -> int:
    """Number of excerpts of a test set that is there.

    Raises:
        AbsentError: it is not, or not all of it.
    """
    folder = session.datasets / test_set.folder
    if not folder.is_dir():
        raise AbsentError(f"the test set {test_set.folder} is not in {session.datasets}")
    protocol = EvaluationConfig()
    try:
        quartets = quartets_of(
            Dataset(test_set.dataset),
            folder,
            test_set.songs,
            audio=protocol.audio,
            length_tolerance_s=protocol.stem_length_tolerance_s,
        )
    except UmssError as error:
        raise AbsentError(f"the test set is not whole ({error}); --song takes a part") from error
    count = sum(len(quartet.start_frames) for quartet in quartets)
    return min(count, test_set.limit) if test_set.limit else count


def _model(row: Row, session: Session) -> str:
    """The weights of a row, trained if they are not there.

    Raises:
        AbsentError: neither weights nor data are there, or training failed.
    """
    if row.run in session.loaded:
        if row.phase:
            raise AbsentError(f"the weights given for {row.run} are those after its last phase")
        return session.loaded[row.run]
    name = f"quick_{_strategy(row.run)}" if session.quick else row.run
    if name not in session.trained:
        try:
            session.trained[name] = _train(row.run, name, session)
        except AbsentError as absent:
            session.trained[name] = absent
    found = session.trained[name]
    if isinstance(found, AbsentError):
        raise found
    path = session.runs / name
    weights = path / "phases" / f"{row.phase}.safetensors" if row.phase else path / WEIGHTS
    if not weights.is_file():
        raise AbsentError(f"{weights} is not there")
    return str(weights)


def _strategy(run: str) -> str:
    return build_run(read_tree(HERE / "configs" / f"{run}.toml")).strategy


def _train(run: str, name: str, session: Session) -> str:
    """Trains a run, or finds it finished; returns its folder.

    Raises:
        AbsentError: its data are not there, or training failed.
    """
    folder = session.runs / name
    if read_state(folder).get("state") == "finished" and (folder / WEIGHTS).is_file():
        return str(folder)
    if not session.train:
        raise AbsentError(f"{folder} holds no finished run")
    file = HERE / ("tables/quick.toml" if session.quick else f"configs/{run}.toml")
    config = build_run(read_tree(file))
    overrides = []
    for part, chosen in (("train", config.data.train), ("validation", config.data.validation)):
        folders = [session.datasets / Path(one).name for one in chosen.folders]
        for one in folders:
            if not one.is_dir():
                raise AbsentError(
                    f"needs {one.name} for training, which is not in {session.datasets}"
                )
        overrides.append(f"data.{part}.folders={json.dumps([str(one) for one in folders])}")
    if session.quick:
        strategy = _strategy(run)
        epochs = [1] * len(SCHEDULES[strategy])
        overrides += [f"name={name}", f"strategy={strategy}", f"epochs={json.dumps(epochs)}"]
    done = _run(["train", str(file), *overrides, "--runs", str(session.runs), "--quiet"])
    if done:
        raise AbsentError(f"training of {name} failed with exit code {done}")
    return str(folder)


def _evaluate(
    rows: list[Row], models: dict[str, str], test_set: TestSet, session: Session
) -> dict[str, Any]:
    """Statistics by label: rows with models, and those for scale."""
    scores: dict[str, Any] = {}
    for assigner in dict.fromkeys(row.assigner for row in rows):
        chosen = {row.label: models.get(row.label) for row in rows if row.assigner == assigner}
        arguments = [f"{label}={model}" for label, model in chosen.items() if model]
        if scores and not arguments:
            continue
        arguments = arguments or ["--baselines"]
        out = session.out / "evaluation"
        folder = str(session.datasets / test_set.folder)
        arguments += ["--data", folder, "--dataset", test_set.dataset, "--assigner", assigner]
        # The published accuracies of F0 were taken over the windows of the published code.
        arguments += ["--f0-windows", "reference", "-o", str(out), "--quiet"]
        for song in test_set.songs:
            arguments += ["--song", song]
        if test_set.limit:
            arguments += ["--limit", str(test_set.limit)]
        out.mkdir(parents=True, exist_ok=True)
        if done := _run(["evaluate", *arguments], show=False):
            raise UsageError(f"evaluation failed with exit code {done}", "see the message above")
        scores |= json.loads((out / "statistics.json").read_text(encoding="utf-8"))
    return scores


def _run(arguments: list[str], show: bool = True) -> int:
    """Runs umss-jax in a process of its own, which gives its memory back."""
    print("$ umss-jax", *arguments, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "umss_jax", *arguments]
    out = sys.stderr if show else subprocess.DEVNULL
    return subprocess.run(command, stdout=out, check=False).returncode


def _pair(text: str) -> tuple[str, str]:
    run, equals, model = text.partition("=")
    if not (run and equals and model):
        raise UsageError(f"--load {text} names no run and model", "write --load RUN=MODEL")
    return run, model


def _commit() -> str:
    """Of the checkout, with ``-dirty`` where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=7"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    typer.run(main)
