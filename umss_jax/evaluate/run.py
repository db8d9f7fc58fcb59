"""An evaluation from a test set and models to scores, excerpt by excerpt, resumable."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from umss_jax.config import VOICES, Assigner, Chain, VoicesConfig
from umss_jax.data.config import Dataset
from umss_jax.data.excerpts import Excerpt, Quartet, cut_excerpts
from umss_jax.data.references import f0_files
from umss_jax.data.test_sets import f0_is_there, quartets_of
from umss_jax.errors import DatasetError, UsageError
from umss_jax.evaluate.config import EvaluationConfig, F0Source, F0Windows
from umss_jax.evaluate.listening import ExcerptAudio, spread_excerpts
from umss_jax.evaluate.protocol import (
    F0Evaluation,
    StemEvaluation,
    collect_f0,
    collect_stems,
    score_f0,
    score_stems,
)
from umss_jax.evaluate.rows import Estimate, Row, baseline_rows, model_rows
from umss_jax.evaluate.score_store import ExcerptScores, Scores
from umss_jax.interruption import checked


class Measures(NamedTuple):
    """What is measured, and how it is summed up."""

    bss: bool = False
    f0_windows: F0Windows = F0Windows.SECOND
    undefined_as: float | None = None
    """dB value of frames without one; ``None`` leaves them out of mean and median."""
    config: EvaluationConfig = EvaluationConfig()

    def identity(self) -> dict[str, Any]:
        """What the scores of an excerpt depend on."""
        windows, evaluation = str(self.f0_windows), asdict(self.config)
        return {"bss": self.bss, "f0_windows": windows, "evaluation": evaluation}


_DEFAULT = Measures()


class Evaluation(NamedTuple):
    """What is evaluated on what."""

    models: Sequence[str]
    """As for :func:`umss_jax.evaluate.rows.model_rows`; baselines are always evaluated."""
    dataset: Dataset
    data: Path
    """Its folder."""
    songs: Sequence[str] = ()
    """As for :func:`umss_jax.data.test_sets.quartets_of`."""
    limit: int | None = None
    """Only the first excerpts."""
    assigner: Assigner = Assigner.AUTO
    chains: Sequence[Chain] = (Chain.PAPER,)
    sources: Sequence[F0Source] = (F0Source.MIX,)
    measures: Measures = _DEFAULT
    out: Path | None = None
    """Folder in which scores and audio of the excerpts are kept."""
    heard: int = 0
    """Excerpts whose audio is kept."""
    voices: VoicesConfig | None = None
    """Who sings, where not soprano, alto, tenor and bass."""


class Result(NamedTuple):
    """The scores of one row."""

    label: str
    songs: tuple[str, ...]
    """Of every excerpt."""
    stems: StemEvaluation
    f0: F0Evaluation | None
    """None where the row has no F0 of its own, or there is no reference."""
    voices: tuple[str, ...] = VOICES


def evaluate(
    what: Evaluation,
    tell: Callable[[str], object],
    progress: Callable[[int], AbstractContextManager[Callable[[], object]]],
) -> list[Result]:
    """Scores baselines and models on a test set.

    Args:
        what: test set, models and measures.
        tell: told in words what is left out.
        progress: given the number of steps, gives what is called after each.

    Returns:
        The rows of the table, in its order.

    Raises:
        DatasetError: the test set is not there or not whole, or has no F0 where it is needed.
        UsageError: a song or model is not known, or two rows have the same label.
        WeightsError: weights are missing or damaged.
        OutputError: scores or audio cannot be kept.
    """
    config = what.measures.config
    audio = config.audio
    tolerance_s = config.stem_length_tolerance_s
    voices = what.voices or VoicesConfig()
    quartets = quartets_of(
        what.dataset,
        what.data,
        what.songs,
        audio=audio,
        length_tolerance_s=tolerance_s,
        voices=voices,
    )
    if what.limit is not None:
        quartets = _limited(quartets, what.limit)
    with_f0 = _with_f0(quartets, what, tell)
    rows = _rows(what, with_f0)
    scores, kept = None, None
    if what.out:
        names = spread_excerpts(quartets, what.heard, audio)
        scores = what.out / "excerpts"
        kept = ExcerptAudio(what.out / "audio", names, config, voices.names)
    excerpts = cut_excerpts(
        quartets, with_f0, audio=audio, minimum_confidence=config.crepe_confidence
    )
    with progress(len(rows) * sum(len(one.start_frames) for one in quartets)) as step:
        results = run_evaluation(excerpts, rows, what.measures, scores, kept, step)
    return [result._replace(voices=voices.names) for result in results]


def _limited(quartets: list[Quartet], limit: int) -> list[Quartet]:
    """The first excerpts only."""
    chosen = []
    for quartet in quartets:
        starts = quartet.start_frames[:limit]
        limit -= len(starts)
        if starts:
            chosen.append(quartet._replace(start_frames=starts))
    return chosen


def _with_f0(quartets: list[Quartet], what: Evaluation, tell: Callable[[str], object]) -> bool:
    """Whether there are F0 references; where not, says so and refuses what needs them."""
    if f0_is_there(quartets):
        return True
    expected = f0_files(quartets[0].files[0])[0]
    if F0Source.ORACLE in what.sources:
        raise DatasetError(
            f"{what.data} has no F0 tracks (such as {expected}), which --f0 oracle needs",
            "make them by `umss-jax data f0`",
        )
    tell(
        f"no F0 tracks (such as {expected}): the comb on them and the accuracies of F0 "
        "are left out; `umss-jax data f0` makes them"
    )
    return False


def _rows(what: Evaluation, with_f0: bool) -> list[Row]:
    """All rows of the table, in its order; refuses two of the same label."""
    config = what.measures.config
    rows = baseline_rows(with_f0, config)
    for model, chain in itertools.product(what.models, what.chains):
        rows += model_rows(model, what.assigner, what.sources, config, chain, what.voices)
    labels = [row.label for row in rows]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise UsageError(
            f"two rows of the table are called {twice[0]!r}", "call one otherwise: LABEL=MODEL"
        )
    return rows


def run_evaluation(
    excerpts: Iterable[Excerpt],
    rows: Sequence[Row],
    measures: Measures = _DEFAULT,
    keep: Path | None = None,
    audio: ExcerptAudio | None = None,
    step: Callable[[], object] = lambda: None,
) -> list[Result]:
    """Scores all rows on all excerpts.

    Args:
        excerpts: of one length; each is read once.
        rows: of the table; their labels differ.
        measures: what is measured.
        keep: folder of the scores of single excerpts, which are not computed again.
        audio: keeps what some excerpts sound like; what is there already is not made again.
        step: called after each excerpt of each row.

    Raises:
        ValueError: no excerpts, or stems or tracks of a wrong shape.
        OutputError: scores or audio cannot be kept.
    """
    kept = [ExcerptScores(keep, {**row.identity, **measures.identity()}) for row in rows]
    scores: list[list[Scores]] = [[] for _ in rows]
    names, songs = [], []
    for excerpt in excerpts:
        names.append(excerpt.name)
        songs.append(excerpt.song)
        if audio is not None:
            audio.begin(excerpt)
        for number, row in checked(enumerate(rows)):
            known = kept[number].get(excerpt)
            is_lacking = audio is not None and audio.lacks(excerpt, row)
            if known is None or is_lacking:
                estimate = row.estimate(excerpt)
                if audio is not None and is_lacking:
                    audio.put(excerpt, row, estimate)
                if known is None:
                    known = _score(excerpt, estimate, measures)
                    kept[number].put(excerpt, known)
            scores[number].append(known)
            step()
    if audio is not None:
        audio.finish()
    return [
        Result(
            row.label,
            tuple(songs),
            collect_stems(names, [s for s, _ in found], measures.undefined_as, measures.config),
            collect_f0(tracks, measures.config) if tracks else None,
        )
        for row, found in zip(rows, scores, strict=True)
        for tracks in [[f0 for _, f0 in found if f0 is not None]]
    ]


def _score(excerpt: Excerpt, estimate: Estimate, measures: Measures) -> Scores:
    f0 = None
    if estimate.f0_hz_synth is not None and excerpt.f0_hz_synth is not None:
        f0 = score_f0(excerpt, estimate.f0_hz_synth, measures.f0_windows, measures.config)
    return score_stems(excerpt, estimate.stems, measures.config, measures.bss), f0
