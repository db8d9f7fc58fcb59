"""``umss-jax chorale``: synthetic quartets to train and test on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from umss_jax.cli.common import VoicesOption, check_writable, print_path
from umss_jax.config import VoicesConfig
from umss_jax.device import enable_compilation_cache, start_jax
from umss_jax.progress import progress_bar
from umss_jax.voice_sets import as_voices

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
        str,
        typer.Option(
            "--scores",
            help="embedded, music21 (extra 'chorales'), or a folder of ABC files in four voices.",
        ),
    ] = "embedded",
    singers: Annotated[
        Path | None,
        typer.Option(
            "--singers", help="Bank of `umss-jax chorale singers`: recorded singers sing."
        ),
    ] = None,
    longest: Annotated[
        float, typer.Option("--longest", min=0.0, help="Seconds at most; 0 for whole pieces.")
    ] = 0.0,
    voices: VoicesOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Render four-part scores with sampled or recorded singers, with stems and exact F0.

    Writes OUT/<piece>/{soprano,alto,tenor,bass}.wav, 16 kHz, each with <voice>.f0.csv (time,
    frequency, confidence), and prints the pieces' folders. Pieces that are there are left, so the
    same command with a larger count resumes. For other --voices the scores are transposed, parts
    left out, or parallel thirds added.
    """
    from dataclasses import replace

    ensemble = as_voices(voices) or VoicesConfig()
    check_writable(out)
    start_jax()
    from umss_jax.chorales.bank import load_bank
    from umss_jax.chorales.config import ChoraleConfig
    from umss_jax.chorales.render import make as make_chorales

    enable_compilation_cache()
    config = replace(ChoraleConfig(), longest_s=longest)
    bank = load_bank(singers) if singers else None
    with progress_bar("singing", count, "pieces", quiet) as shown:
        made = 0

        def tell(number: int) -> None:
            nonlocal made
            shown.advance(number + 1 - made)
            made = number + 1

        folders = make_chorales(out, count, seed, scores, config, bank, tell, ensemble)
    for folder in folders:
        print_path(folder)


@app.command()
def singers(
    recordings: Annotated[
        list[Path],
        typer.Argument(
            metavar="SINGER...", help="One file, or folder of files, of each: one voice alone."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The bank, .npz.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Take recordings of singers apart, so that `chorale make --singers` sings with them.

    Needs the extra 'singers'. Takes about a third of the recordings' duration.
    """
    from umss_jax.chorales.bank import make_bank, save_bank

    check_writable(out.parent)
    with progress_bar("listening", len(recordings), "singers", quiet) as shown:
        bank = make_bank(recordings, lambda number: shown.advance(1))
    save_bank(out, bank)
    print_path(out)
