"""``umss-jax runs``: the list of training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder of all runs.")] = Path("runs"),
) -> None:
    """List runs: state, phase, epoch, step, best validation loss, last change."""
    from umss_jax.train.run_folder import list_runs

    found = list_runs(folder)
    if not found:
        typer.echo(f"no runs in {folder}", err=True)
        return
    rows: list[tuple[str, ...]] = [("run", "state", "phase", "epoch", "step", "best", "updated")]
    for name, state in found:
        best = state.get("best_loss")
        rows.append(
            (
                name,
                str(state["state"]),
                *(str(state.get(key, "-")) for key in ("phase", "epoch", "step")),
                "-" if best is None else f"{best:.5g}",
                str(state.get("updated", "-")),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())
