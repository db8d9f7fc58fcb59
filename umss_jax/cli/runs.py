"""``umss-jax runs``: the list of training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from umss_jax.errors import printable


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder of all runs.")] = Path("runs"),
) -> None:
    """List runs: state, phase, epoch, step, best validation loss, last change."""
    from umss_jax.train.run_folder import list_runs

    found = list_runs(folder)
    if not found:
        typer.echo(printable(f"no runs in {folder}"), err=True)
        return
    rows: list[tuple[str, ...]] = [("run", "state", "phase", "epoch", "step", "best", "updated")]
    for name, state in found:
        best = state.get("best_loss")
        where = (str(state.get(key, "-")) for key in ("phase", "epoch", "step"))
        best_loss = "-" if best is None else f"{best:.5g}"
        updated = str(state.get("updated", "-"))
        cells = (name, str(state["state"]), *where, best_loss, updated)
        rows.append(tuple(map(printable, cells)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())
