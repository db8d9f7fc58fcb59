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
import sys
import time
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments import table_runs
from experiments.table_runs import HERE, AbsentError, Row, Session, TestSet
from experiments.table_text import markdown
from umss_jax.bench.machine import commit
from umss_jax.errors import UmssError, UsageError
from umss_jax.files import write_text

NAMES = ("1a", "1b", "2", "3")
SCALE = ("mixture", "comb, reference F0", "ideal ratio masks")
"""Rows of `umss-jax evaluate` that belong to every test set and to no model."""


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
    """Fill the tables; the same command resumes where it was stopped."""
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
    excerpts = 0
    try:
        excerpts = table_runs.count_excerpts(test_set, session)
    except AbsentError as absent:
        reasons = {row.label: str(absent) for row in rows}
    for row in rows if excerpts else ():
        try:
            models[row.label] = table_runs.weights_of(row, session)
        except AbsentError as absent:
            reasons[row.label] = str(absent)
    scores = table_runs.evaluate(rows, models, test_set, session) if excerpts else {}
    table = {
        "title": tree["title"],
        "quick": session.quick,
        "test_set": {
            "dataset": test_set.dataset,
            "songs": list(test_set.songs) or "all of the test set",
            "excerpts": excerpts,
        },
        "commit": commit() or "unknown",
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "seconds": round(time.monotonic() - started),
        "measures": tree["measures"],
        "rows": [_filled(row, scores, reasons, tree["measures"]) for row in rows],
        "for_scale": {label: _ours(scores.get(label), ["si_sdr_db"]) for label in SCALE},
    }
    path = session.out / f"table_{name}"
    write_text(path.with_suffix(".json"), json.dumps(table, indent=2) + "\n")
    write_text(path.with_suffix(".md"), markdown(table))
    print(markdown(table), flush=True)
    return table


def _filled(
    row: Row, scores: dict[str, Any], reasons: dict[str, str], measures: list[str]
) -> dict[str, Any]:
    return {
        "label": row.label,
        "run": row.run,
        "phase": row.phase or None,
        "assigner": row.assigner,
        "published": row.published,
        "ours": _ours(scores.get(row.label), measures),
        "empty_because": reasons.get(row.label),
    }


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


def _pair(text: str) -> tuple[str, str]:
    run, equals, model = text.partition("=")
    if not (run and equals and model):
        raise UsageError(f"--load {text} names no run and model", "write --load RUN=MODEL")
    return run, model


if __name__ == "__main__":
    typer.run(main)
