"""``umss-jax report``: a page to listen to and look at, from what other commands wrote."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from umss_jax.cli.common import (
    QuietOption,
    VerboseOption,
    exclude,
    exit_at_once,
    print_path,
    run_files,
    say,
    set_up_logging,
)
from umss_jax.errors import UsageError
from umss_jax.report.config import ReportConfig

_DEFAULTS = ReportConfig()


FoldersArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="DIR...",
        help="Folders that separate or evaluate --out wrote, or files of evaluate --json.",
    ),
]
TargetsOption = Annotated[
    Path | None,
    typer.Option(
        "--targets",
        help="Folder of the true voices, soprano.wav … bass.wav; default: DIR/targets.",
    ),
]
SalienceOption = Annotated[
    Path | None,
    typer.Option("--salience", help="What f0 --salience wrote; default: DIR/<track>.salience.npz."),
]


def report(
    folders: FoldersArgument,
    targets: TargetsOption = None,
    salience: SalienceOption = None,
    frames: Annotated[
        Path | None,
        typer.Option("--frames", help="What evaluate --csv wrote; default: <name>.csv."),
    ] = None,
    start: Annotated[
        float, typer.Option("--start", min=0.0, help="Second at which the page begins.")
    ] = 0.0,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.1, help="Length of the page; default: all.")
    ] = None,
    max_mb: Annotated[
        float, typer.Option("--max-mb", min=1.0, help="Refuse pages larger than this.")
    ] = _DEFAULTS.most_megabytes,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Write a page with players, pitches, spectrograms and scores, and print its path.

    It is DIR/report.html, or for a JSON file <name>.report.html beside it: one file that needs no
    server and no network.
    """
    exclude("--quiet", quiet, "--verbose", verbose)
    several = len(folders) > 1
    for option, given in (("--targets", targets), ("--salience", salience), ("--frames", frames)):
        if given is not None and several:
            raise UsageError(f"{option} belongs to one folder", "run them one by one")
    set_up_logging(verbose)
    with exit_at_once():
        from umss_jax.report.page import write_reports
        from umss_jax.report.separation import Sources
    config = dataclasses.replace(_DEFAULTS, most_megabytes=max_mb)
    sources = Sources(targets, salience, start, seconds)

    def one(folder: Path) -> None:
        for written in write_reports(folder, sources, frames, config):
            if not quiet:
                say(f"{written.path}: {written.megabytes:.1f} MB")
            print_path(written.path)

    return run_files(folders, one, verbose)
