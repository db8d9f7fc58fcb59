"""``umss-jax chorale``: synthetic quartets to train and test on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from umss_jax.cli.common import check_writable, print_path, say
from umss_jax.device import start_jax

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Make synthetic quartets."""


@app.command()
def make(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of all pieces.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Renderings.")] = 8,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed.")] = 0,
    scores: Annotated[
        str, typer.Option("--scores", help="embedded, or music21 (extra 'chorales').")
    ] = "embedded",
    longest: Annotated[
        float, typer.Option("--longest", min=0.0, help="Seconds at most; 0 for whole pieces.")
    ] = 0.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Render four-part scores with synthetic singers, with stems and exact F0.

    Writes OUT/<piece>/{soprano,alto,tenor,bass}.wav, 16 kHz, each with <voice>.f0.csv (time,
    frequency, confidence), and prints the pieces' folders. Pieces that are there are left, so the
    same command with a larger count resumes.
    """
    from dataclasses import replace

    check_writable(out)
    start_jax()
    from umss_jax.chorales.config import ChoraleConfig
    from umss_jax.chorales.render import make as make_chorales

    def tell(name: str, seconds: float) -> None:
        if not quiet:
            say(f"{name}: {seconds:.0f} s")

    config = replace(ChoraleConfig(), longest_s=longest)
    for folder in make_chorales(out, count, seed, scores, config, tell):
        print_path(folder)
