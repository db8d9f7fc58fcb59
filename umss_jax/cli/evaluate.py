"""``umss-jax evaluate``: models, baselines and the ceiling on one test set, in one table."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umss_jax.cli.common import exclude
from umss_jax.cli.interrupt import exit_at_once
from umss_jax.config import Assigner
from umss_jax.data.config import Dataset
from umss_jax.errors import UsageError
from umss_jax.evaluate.config import F0Source, F0Windows
from umss_jax.report.config import ReportConfig
from umss_jax.weights.config import DEFAULT_MODEL

if TYPE_CHECKING:
    from umss_jax.data.excerpts import Take
    from umss_jax.evaluate.rows import Row


def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names in the store, or .safetensors files; LABEL=NAME calls one otherwise. "
            "Default: starter."
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="No model, only what the table has for scale.")
    ] = False,
    data: Annotated[
        Path, typer.Option("--data", help="Folder that holds the songs' folders.")
    ] = Path("ChoralSingingDataset"),
    dataset: Annotated[
        Dataset,
        typer.Option(
            "--dataset",
            help="Test set: the paper's of csd (Choral Singing Dataset) or cantoria, the "
            "reference's validation parts of bcbsq, or any folder with four stems a piece.",
        ),
    ] = Dataset.CSD,
    song: Annotated[
        list[str] | None,
        typer.Option(
            "--song",
            help="Only this song, by folder name, such as Nino_Dios; of bcbsq and folder a pattern "
            "of pieces (BC/8_*). Default: the whole test set.",
        ),
    ] = None,
    f0: Annotated[
        list[F0Source] | None,
        typer.Option(
            "--f0",
            help="What voices are synthesised from: mix, the F0 that the model hears in the "
            "mixture (default), or oracle, the dataset's F0 tracks. Both may be given.",
        ),
    ] = None,
    assigner: Annotated[
        Assigner,
        typer.Option(
            "--assigner",
            help="What gives the pitches to the voices; auto: each model's own network, or "
            "heuristic where it has none.",
        ),
    ] = Assigner.AUTO,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only the first excerpts of the test set.")
    ] = None,
    bss: Annotated[
        bool, typer.Option("--bss", help="BSS-eval SDR, SIR and SAR too; slow.")
    ] = False,
    f0_windows: Annotated[
        F0Windows,
        typer.Option(
            "--f0-windows",
            help="Take F0 accuracies of true seconds, of whole excerpts, or of the growing windows "
            "of the published code.",
        ),
    ] = F0Windows.SECOND,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Split the statistics by song, voice, or (given twice) both."),
    ] = None,
    undefined_as: Annotated[
        float | None,
        typer.Option(
            "--undefined-as",
            help="Count frames with a silent stem as this many dB; by default they are left out "
            "of mean and median and only counted.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for table.md, statistics.json and frames.csv. The scores of each excerpt "
            "are kept there, so that the same command goes on where it was stopped.",
        ),
    ] = None,
    audio: Annotated[
        int | None,
        typer.Option(
            "--audio",
            min=0,
            metavar="N",
            help="Of this many excerpts, spread over the songs, keep mixture, stems and F0 in "
            "OUT/audio, which `umss-jax report OUT` makes a page to listen to of; default: "
            f"{ReportConfig().excerpts}.",
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the statistics here as well.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write every frame of every row here.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> int:
    """Evaluate models beside the unprocessed mixture, a comb without learning and ideal masks.

    A model that has F0 networks but no decoder is evaluated by the comb on its F0. Where a dataset
    has no F0 tracks, rows and scores that need them are left out; `umss-jax data f0` makes them.
    """
    groups = _groups(by or [])
    exclude("--baselines", baselines, "a model", bool(models))
    if audio is not None and out is None:
        raise UsageError("--audio needs a folder to keep it in", "add -o OUT")
    count = ReportConfig().excerpts if audio is None else audio
    with exit_at_once():
        from umss_jax.data.excerpts import cut_excerpts
        from umss_jax.data.test_sets import quartets_of
        from umss_jax.evaluate.listening import ExcerptAudio, spread_excerpts
        from umss_jax.evaluate.run import Measures, run_evaluation
        from umss_jax.evaluate.tables import frames, group_tables, statistics, table
        from umss_jax.files import write_text

    takes = _limited(quartets_of(dataset, data, song or []), limit)
    sources = f0 or [F0Source.MIX]
    with_f0 = _with_f0(takes, data, F0Source.ORACLE in sources)
    chosen = [] if baselines else models or [DEFAULT_MODEL]
    rows = _rows(chosen, assigner, sources, with_f0)
    measures = Measures(bss, f0_windows, undefined_as)
    kept = ExcerptAudio(out / "audio", spread_excerpts(takes, count)) if out else None
    total = len(rows) * sum(len(take.start_frames) for take in takes)
    with _progress(total, quiet) as step:
        results = run_evaluation(
            cut_excerpts(takes, with_f0),
            rows,
            measures,
            out / "excerpts" if out else None,
            kept,
            step,
        )
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
    return 0


def _groups(names: Sequence[str]) -> list[Any]:
    from umss_jax.evaluate.tables import Group

    unknown = [name for name in names if name not in list(Group)]
    if unknown:
        raise UsageError(
            f"statistics cannot be split by {unknown[0]!r}", f"choose from {', '.join(Group)}"
        )
    return [Group(name) for name in dict.fromkeys(names)]


def _limited(takes: list[Take], limit: int | None) -> list[Take]:
    """The first excerpts only."""
    if limit is None:
        return takes
    chosen = []
    for take in takes:
        starts = take.start_frames[:limit]
        limit -= len(starts)
        if starts:
            chosen.append(take._replace(start_frames=starts))
    return chosen


def _with_f0(takes: list[Take], data: Path, needed: bool) -> bool:
    """Whether there are F0 references; says so where there are none, and refuses what needs them.

    Raises:
        DatasetError: only some have them, or they are needed.
    """
    from umss_jax.data.excerpts import f0_files
    from umss_jax.data.test_sets import f0_is_there
    from umss_jax.errors import DatasetError

    if f0_is_there(takes):
        return True
    expected = f0_files(takes[0].files[0])[0]
    if needed:
        raise DatasetError(
            f"{data} has no F0 tracks (such as {expected}), which --f0 oracle needs",
            "make them by `umss-jax data f0`",
        )
    typer.echo(
        f"umss-jax: no F0 tracks (such as {expected}): the comb on them and the accuracies of F0 "
        "are left out; `umss-jax data f0` makes them",
        err=True,
    )
    return False


def _rows(
    models: Sequence[str], assigner: Assigner, sources: Sequence[F0Source], with_f0: bool
) -> list[Row]:
    """All rows of the table, in its order.

    Raises:
        UsageError: two have the same label.
    """
    from umss_jax.cli.weights import bring_published
    from umss_jax.device import enable_compilation_cache
    from umss_jax.evaluate.rows import baseline_rows, label_and_name, model_rows

    if models:
        enable_compilation_cache()
    rows = baseline_rows(with_f0)
    for model in models:
        bring_published(label_and_name(model)[1])
        rows += model_rows(model, assigner, sources)
    labels = [row.label for row in rows]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise UsageError(
            f"two rows of the table are called {twice[0]!r}", "call one otherwise: LABEL=MODEL"
        )
    return rows


@contextlib.contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Callable[[], object]]:
    """A bar on stderr where that is a terminal."""
    from tqdm import tqdm

    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=total, unit="excerpt", disable=hidden, delay=2, leave=False) as bar:
        yield bar.update
