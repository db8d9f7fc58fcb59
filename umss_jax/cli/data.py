"""``umss-jax data``: what a folder of recordings gives to train on, and F0 references for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from umss_jax.cli.common import NoProgressOption, VoicesOption, say
from umss_jax.config import VoicesConfig
from umss_jax.interruption import checked
from umss_jax.progress import progress_bar
from umss_jax.voice_sets import as_voices
from umss_jax.words import counted

app = typer.Typer(help="Look at datasets.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def check(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of a dataset, a song, or mixtures.")
    ],
    voices: VoicesOption = None,
) -> int:
    """Say which layout a folder has, what is missing, and how many examples it gives.

    Every recording is decoded (and kept for training); a broken one is refused by its name, after
    all others were looked at. Exit code 1 if one was, or if nothing complete is there.
    """
    from umss_jax.data.layouts import find_layout
    from umss_jax.data.mixes import validation_excerpts
    from umss_jax.data.pieces import open_pieces
    from umss_jax.errors import DatasetError, printable
    from umss_jax.train.config import TrainConfig

    layout = find_layout(folder, as_voices(voices) or VoicesConfig())
    whole = counted(len(layout.pieces), "complete piece")
    typer.echo(f"layout: {layout.kind}, {whole}")
    for note in layout.notes:
        say(note)
    for line in layout.missing:
        typer.echo(printable(f"missing: {line}"))
    audio = TrainConfig().model.audio
    broken, excerpts, samples = 0, 0, 0
    for piece in checked(layout.pieces):
        try:
            (opened,) = open_pieces([(piece, layout.kind)], audio)
            count = len(validation_excerpts([opened], audio=audio))
        except DatasetError as error:
            broken += 1
            say(str(error))
            continue
        singers = [len(files) for files in opened.voices]
        stems = f"singers {'/'.join(map(str, singers))}" if singers else "no stems"
        typer.echo(
            f"{printable(piece.name)}: {opened.samples / audio.sample_rate_hz:.1f} s, {stems}, "
            f"{counted(count, 'validation excerpt')}"
        )
        for note in opened.notes:
            say(note)
        excerpts += count
        samples += opened.samples
    starts = samples // audio.hop_samples
    typer.echo(
        f"{samples / audio.sample_rate_hz / 60:.1f} min, "
        f"{counted(excerpts, 'validation excerpt')}, "
        f"about {counted(starts, 'start')} for random mixes"
    )
    return 1 if broken or not excerpts else 0


@app.command()
def f0(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of a dataset or song with stems.")
    ],
    csv: Annotated[
        bool, typer.Option("--csv", help="Write .f0.csv tables instead of pairs of .npy files.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also where there are F0 tracks already.")
    ] = False,
    voices: VoicesOption = None,
    quiet: NoProgressOption = False,
) -> int:
    """Track the F0 of every stem by CREPE, as references for `umss-jax evaluate`.

    They go into crepe_f0_center beside the stems, in the layout of the published code, and their
    paths to stdout. Needs the extra crepe. Exit code 1 if a recording could not be read.
    """
    from umss_jax.data.crepe import write_track
    from umss_jax.data.layouts import find_layout
    from umss_jax.data.references import has_f0
    from umss_jax.errors import AudioError, DatasetError
    from umss_jax.evaluate.config import EvaluationConfig

    layout = find_layout(folder, as_voices(voices) or VoicesConfig())
    layout.warn()
    recordings = [file for piece in layout.pieces for voice in piece.voices for file in voice]
    if not recordings:
        raise DatasetError(
            f"{folder} holds no complete piece with stems ({layout.kind})",
            "F0 is tracked of single voices only",
        )
    wanted = [file for file in recordings if overwrite or not has_f0(file)]
    if len(wanted) < len(recordings):
        done = len(recordings) - len(wanted)
        verb = "has" if done == 1 else "have"
        say(
            f"{done} of {counted(len(recordings), 'recording')} {verb} F0 tracks already "
            "(--overwrite makes them anew)"
        )
    audio = EvaluationConfig().audio
    broken = 0
    with progress_bar("tracking", len(wanted), "recordings", quiet) as shown:
        for file in checked(wanted):
            try:
                typer.echo(str(write_track(file, audio, csv)))
            except AudioError as error:
                broken += 1
                say(str(error))
            shown.advance()
    return 1 if broken else 0
