"""``umss-jax evaluate``: models, baselines and the ceiling on one test set, in one table."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umss_jax.cli.common import (
    AssignerOption,
    NoProgressOption,
    VoicesOption,
    exclude,
    exit_at_once,
    say,
)
from umss_jax.config import Assigner, Chain
from umss_jax.data.config import Dataset
from umss_jax.device import enable_compilation_cache, start_jax
from umss_jax.errors import UsageError
from umss_jax.evaluate.config import F0Source, F0Windows
from umss_jax.files import check_place
from umss_jax.progress import progress_bar
from umss_jax.report.config import ReportConfig
from umss_jax.voice_sets import as_voices
from umss_jax.weights.config import DEFAULT_MODEL

if TYPE_CHECKING:
    from umss_jax.evaluate.run import Measures, Result
    from umss_jax.evaluate.tables import Group

ModelsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL]...",
        help="Names in the store, or .safetensors files; LABEL=NAME calls one otherwise. "
        "Default: starter.",
    ),
]
BaselinesOption = Annotated[
    bool, typer.Option("--baselines", help="No model, only what the table has for scale.")
]
DataOption = Annotated[Path, typer.Option("--data", help="Folder that holds the songs' folders.")]
DatasetOption = Annotated[
    Dataset,
    typer.Option(
        "--dataset",
        help="Test set: the paper's of csd (Choral Singing Dataset) or cantoria, the "
        "reference's validation parts of bcbsq, or any folder with four stems a piece.",
    ),
]
SongOption = Annotated[
    list[str] | None,
    typer.Option(
        "--song",
        help="Only this song, by folder name, such as Nino_Dios; of bcbsq and folder a pattern "
        "of pieces (BC/8_*). Default: the whole test set.",
    ),
]
F0Option = Annotated[
    list[F0Source] | None,
    typer.Option(
        "--f0",
        help="What voices are synthesised from: mix, the F0 that the model hears in the "
        "mixture (default), or oracle, the dataset's F0 tracks. Both may be given.",
    ),
]
ChainsOption = Annotated[
    list[Chain] | None,
    typer.Option(
        "--chain",
        help="What is done with what the networks say: paper (default), improved, as "
        "`umss-jax separate` does, or thorough, four times as slow. Several may be given.",
    ),
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Only the first excerpts of the test set.")
]
BssOption = Annotated[bool, typer.Option("--bss", help="BSS-eval SDR, SIR and SAR too; slow.")]
WindowsOption = Annotated[
    F0Windows,
    typer.Option(
        "--f0-windows",
        help="Take F0 accuracies of true seconds, of whole excerpts, or of the growing windows "
        "of the published code.",
    ),
]
ByOption = Annotated[
    list[str] | None,
    typer.Option("--by", help="Split the statistics by song, voice, or (given twice) both."),
]
UndefinedOption = Annotated[
    float | None,
    typer.Option(
        "--undefined-as",
        help="Count frames with a silent stem as this many dB; by default they are left out "
        "of mean and median and only counted.",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder for table.md, statistics.json and frames.csv. The scores of each excerpt "
        "are kept there, so that the same command resumes where it stopped.",
    ),
]
AudioOption = Annotated[
    int | None,
    typer.Option(
        "--audio",
        min=0,
        metavar="N",
        help="Of this many excerpts, spread over the songs, keep mixture, stems and F0 in "
        "OUT/audio, which `umss-jax report OUT` makes a page to listen to of; default: "
        f"{ReportConfig().excerpts}.",
    ),
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", help="Write the statistics here as well.")
]
CsvOption = Annotated[
    Path | None, typer.Option("--csv", help="Write every frame of every row here.")
]


def evaluate(
    models: ModelsArgument = None,
    baselines: BaselinesOption = False,
    data: DataOption = Path("ChoralSingingDataset"),
    dataset: DatasetOption = Dataset.CSD,
    song: SongOption = None,
    f0: F0Option = None,
    chain: ChainsOption = None,
    assigner: AssignerOption = Assigner.AUTO,
    voices: VoicesOption = None,
    limit: LimitOption = None,
    bss: BssOption = False,
    f0_windows: WindowsOption = F0Windows.SECOND,
    by: ByOption = None,
    undefined_as: UndefinedOption = None,
    out: OutOption = None,
    audio: AudioOption = None,
    json_file: JsonOption = None,
    csv_file: CsvOption = None,
    quiet: NoProgressOption = False,
) -> int:
    """Evaluate models beside the unprocessed mixture, a comb without learning and ideal masks.

    A model that has F0 networks but no decoder is evaluated by the comb on its F0. Where a dataset
    has no F0 tracks, rows and scores that need them are left out; `umss-jax data f0` makes them.
    """
    from umss_jax.cli.weights import bring_published

    if undefined_as is not None and not math.isfinite(undefined_as):
        raise UsageError(f"--undefined-as is {undefined_as:g}", "give a number of dB")
    exclude("--baselines", baselines, "a model", bool(models))
    if audio is not None and out is None:
        raise UsageError("--audio needs a folder to keep it in", "add -o OUT")
    for file in (out and out / "table.md", json_file, csv_file):
        if file is not None:
            _check_file(file)
    with exit_at_once():
        start_jax()
        from umss_jax.evaluate import run
        from umss_jax.evaluate.rows import label_and_name
    groups = _groups(by or [])
    ensemble = as_voices(voices)
    chosen = [] if baselines else models or [DEFAULT_MODEL]
    heard = ReportConfig().excerpts if audio is None else audio
    if chosen:
        enable_compilation_cache()
    for model in chosen:
        bring_published(label_and_name(model)[1])
    measures = run.Measures(bss, f0_windows, undefined_as)
    sources = f0 or [F0Source.MIX]
    chains = chain or [Chain.PAPER]
    what = run.Evaluation(
        *(chosen, dataset, data, song or [], limit, assigner, chains, sources, measures),
        *(out, heard, ensemble),
    )
    results = run.evaluate(what, say, partial(_progress, quiet))
    _write(results, groups, measures, out, json_file, csv_file)
    return 0


def _write(
    results: list[Result],
    groups: Sequence[Group],
    measures: Measures,
    out: Path | None,
    json_file: Path | None,
    csv_file: Path | None,
) -> None:
    """Prints the table, and writes the files that were asked for."""
    from umss_jax.evaluate.tables import frames, group_tables, statistics, table
    from umss_jax.files import write_text

    text = table(results) + "".join(group_tables(results, group, measures) for group in groups)
    typer.echo(text, nl=False)
    numbers = json.dumps(statistics(results, groups, measures), indent=2) + "\n"
    if json_file is not None:
        write_text(json_file, numbers)
    if csv_file is not None:
        write_text(csv_file, frames(results))
    if out is not None:
        write_text(out / "table.md", text)
        write_text(out / "statistics.json", numbers)
        write_text(out / "frames.csv", frames(results))


def _check_file(file: Path) -> None:
    """Finds out before hours of work whether a result can be written."""
    if file.is_dir():
        raise UsageError(f"{file} is a folder", "name a file in it")
    check_place(file)


def _groups(names: Sequence[str]) -> list[Group]:
    from umss_jax.evaluate.tables import Group

    unknown = [name for name in names if name not in list(Group)]
    if unknown:
        raise UsageError(
            f"statistics cannot be split by {unknown[0]!r}", f"choose from {', '.join(Group)}"
        )
    return [Group(name) for name in dict.fromkeys(names)]


@contextlib.contextmanager
def _progress(quiet: bool, total: int) -> Iterator[Callable[[], object]]:
    """How far the evaluation is; gives what is called after each excerpt of each row."""
    with progress_bar("evaluating", total, "excerpts", quiet) as shown:
        yield shown.advance
