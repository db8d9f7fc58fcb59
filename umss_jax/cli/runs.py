"""``umss-jax runs``: the list of training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from umss_jax.errors import printable


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Folder of all runs.")] = Path(
        "runs"
    ),
) -> None:
    """List runs: state, phase, epoch, step, best validation loss, last change."""
    from umss_jax.train.run_folder import list_runs

    found = list_runs(folder)
    if not found:
        typer.echo(printable(f"no runs in {folder}"), err=True)
        return
    rows: list[tuple[str, ...]] = [("run", "state", "phase", "epoch", "step", "best", "updated")]
    for name, state in found:
        keys = ("state", "phase", "epoch", "step", "best_loss", "updated")
        rows.append((printable(name), *(_cell(state.get(key)) for key in keys)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())


def _cell(value: object) -> str:
    """A value of a state; a dash for what is none, since a damaged file may hold anything."""
    if isinstance(value, float):
        return f"{value:.5g}"
    is_text = isinstance(value, str) and value.isprintable() and bool(value)
    return str(value) if is_text or type(value) is int else "-"
