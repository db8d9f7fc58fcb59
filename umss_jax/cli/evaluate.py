"""``umss-jax evaluate``: models, baselines and the ceiling on one test set, in one table."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umss_jax.config import VOICES, Assigner
from umss_jax.errors import OutputError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from umss_jax.evaluation import F0Estimator, F0Evaluation, StemEstimator, StemEvaluation
    from umss_jax.excerpts import Excerpt

_MEASURES = {
    "si_sdr_db": "SI-SDR",
    "spectral_snr_db": "SNR sp.",
    "spectral_si_snr_db": "SI-SNR sp.",
    "mel_cepstral_distance": "MCD",
}
_F0_MEASURES = {
    "overall_accuracy": "OA",
    "raw_pitch_accuracy": "RPA",
    "raw_chroma_accuracy": "RCA",
}


def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Names in the store, or .safetensors files. None: baselines only."),
    ] = None,
    data: Annotated[
        Path, typer.Option("--data", help="Folder that holds the songs' folders.")
    ] = Path("ChoralSingingDataset"),
    song: Annotated[
        list[str] | None,
        typer.Option("--song", help="Test songs by folder name, such as Nino_Dios; default: all."),
    ] = None,
    assigner: Annotated[
        Assigner, typer.Option("--assigner", help="What gives the pitches to the voices.")
    ] = Assigner.VOAS_CNN,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only the first excerpts of the test set.")
    ] = None,
    undefined_as: Annotated[
        float | None,
        typer.Option(
            "--undefined-as",
            help="Count frames with a silent stem as this many dB; by default they are left out "
            "of mean and median and only counted.",
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
    """Evaluate models on the Choral Singing Dataset beside the mixture, a comb and ideal masks.

    The test set is the paper's: El Rossinyol singers 2, Locus Iste singers 3, Nino Dios singers 4.
    A model that has F0 networks but no decoder is evaluated by the comb on its F0.
    """
    from umss_jax import evaluation

    test_set = _test_set(data, song or [], limit)
    rows: dict[str, tuple[StemEstimator, F0Estimator | None]] = {
        "mixture": (evaluation.unprocessed, None),
        "ideal ratio masks": (evaluation.ideal_ratio_masks, None),
        "comb, reference F0": (evaluation.harmonic_comb(), None),
    }
    for name in models or []:
        rows.update(_model_rows(name, assigner))
    stems: dict[str, StemEvaluation] = {}
    tracks: dict[str, F0Evaluation] = {}
    with _progress(len(rows) * len(test_set), quiet) as step:
        for label, (estimator, f0) in rows.items():
            watched = _stepping(test_set, step)
            stems[label] = evaluation.evaluate_stems(watched, estimator, undefined_as)
            if f0 is not None:
                tracks[label] = evaluation.evaluate_f0(test_set, f0)
    typer.echo(_table(stems, tracks), nl=False)
    if json_file is not None:
        _write(json_file, json.dumps(_statistics(stems, tracks), indent=2) + "\n")
    if csv_file is not None:
        _write(csv_file, _frames(stems))
    return 0


def _test_set(data: Path, wanted: list[str], limit: int | None) -> list[Excerpt]:
    """The excerpts of the songs asked for."""
    import itertools

    from umss_jax.excerpts import CSD_TEST_SONGS, csd_excerpts

    songs = {song.folder: song for song in CSD_TEST_SONGS}
    folders = [name.replace(" ", "_") for name in wanted] or list(songs)
    unknown = [name for name in folders if name not in songs]
    if unknown:
        raise UsageError(
            f"no test song is called {', '.join(unknown)}", f"choose from {', '.join(songs)}"
        )
    chosen = [songs[name] for name in folders]
    return list(itertools.islice(csd_excerpts(data, chosen), limit))


def _model_rows(
    name: str, assigner: Assigner
) -> Iterator[tuple[str, tuple[StemEstimator, F0Estimator]]]:
    """A model's own stems where it has a decoder, and the comb on its F0."""
    import numpy as np

    from umss_jax import api, evaluation
    from umss_jax.device import enable_compilation_cache

    enable_compilation_cache()
    variables, _ = api.load_weights(name)
    f0 = _remembered(_network_f0(variables, assigner))
    label = api.model_name(name)
    if "decoder" in variables["params"]:
        separator = api.load(name, assigner=assigner)

        def separate(excerpt: Excerpt) -> np.ndarray:
            return np.asarray(separator.separate(excerpt.mixture, 16_000).stems)

        yield label, (separate, f0)
    yield f"comb, F0 of {label} ({assigner})", (evaluation.harmonic_comb(f0), f0)


def _network_f0(variables: dict[str, Any], assigner: Assigner) -> F0Estimator:
    """F0 tracks by the F0 networks of a model."""
    import jax
    import numpy as np

    from umss_jax.heuristic import heuristic_f0_250
    from umss_jax.model import analyse, estimate_salience, features
    from umss_jax.networks import config_for

    config = config_for(variables)
    if assigner is Assigner.HEURISTIC:
        salience = jax.jit(lambda mix: estimate_salience(variables, features(mix, config), config))
        threshold = config.f0.multi_f0_threshold
        return lambda excerpt: heuristic_f0_250(
            np.asarray(salience(excerpt.mixture[None])[0]), threshold=threshold
        )
    tracks = jax.jit(lambda mix: analyse(variables, mix, config).f0_hz_250)
    return lambda excerpt: np.asarray(tracks(excerpt.mixture[None])[0])


def _remembered(f0: F0Estimator) -> F0Estimator:
    """The same estimator, asked once for every excerpt: the comb and the F0 scores share it."""
    known: dict[str, np.ndarray] = {}

    def estimate(excerpt: Excerpt) -> np.ndarray:
        if excerpt.name not in known:
            known[excerpt.name] = f0(excerpt)
        return known[excerpt.name]

    return estimate


@contextlib.contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Callable[[], object]]:
    """A bar on stderr where that is a terminal."""
    from tqdm import tqdm

    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=total, unit="excerpt", disable=hidden, delay=2, leave=False) as bar:
        yield bar.update


def _stepping(excerpts: list[Excerpt], step: Callable[[], object]) -> Iterator[Excerpt]:
    for excerpt in excerpts:
        yield excerpt
        step()


def _table(stems: dict[str, StemEvaluation], tracks: dict[str, F0Evaluation]) -> str:
    """Markdown: mean / median of each measure, the interval of the first, F0 accuracies."""
    heads = ["", *_MEASURES.values(), "SI-SDR 95 %", "frames", "undefined"]
    heads += _F0_MEASURES.values() if tracks else []
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for label, result in stems.items():
        summary = result.summary
        main = summary["si_sdr_db"]
        cells = [label]
        cells += [f"{summary[key].mean:.2f} / {summary[key].median:.2f}" for key in _MEASURES]
        cells += [f"{main.mean_low:.2f} to {main.mean_high:.2f}"]
        cells += [str(main.frames), str(main.undefined)]
        if tracks:
            f0 = tracks.get(label)
            cells += [f"{f0.summary[key].mean:.3f}" if f0 else "" for key in _F0_MEASURES]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _statistics(
    stems: dict[str, StemEvaluation], tracks: dict[str, F0Evaluation]
) -> dict[str, Any]:
    """All summaries, as JSON holds them: what is undefined is null."""
    import math

    def plain(summaries: dict[str, Any]) -> dict[str, Any]:
        return {
            measure: {
                key: None if isinstance(value, float) and math.isnan(value) else value
                for key, value in summary._asdict().items()
            }
            for measure, summary in summaries.items()
        }

    return {
        label: {
            "stems": plain(result.summary),
            "f0": plain(tracks[label].summary) if label in tracks else None,
        }
        for label, result in stems.items()
    }


def _frames(stems: dict[str, StemEvaluation]) -> str:
    """Every second of every voice as CSV; undefined scores are empty."""
    import numpy as np

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "excerpt", "voice", "second", "energy", "kept", *_MEASURES])
    for label, result in stems.items():
        for index in np.ndindex(result.energy.shape):
            scores = [getattr(result.scores, key)[index] for key in _MEASURES]
            writer.writerow(
                [
                    label,
                    result.names[index[0]],
                    VOICES[index[1]],
                    index[2],
                    f"{result.energy[index]:.5f}",
                    int(result.kept[index]),
                    *("" if np.isnan(score) else f"{score:.5f}" for score in scores),
                ]
            )
    return text.getvalue()


def _write(path: Path, content: str) -> None:
    """Writes aside, then renames."""
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_text(content, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise OutputError(
            f"{path} cannot be written ({error.strerror})", "choose another place"
        ) from error
