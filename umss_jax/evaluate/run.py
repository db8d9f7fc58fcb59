"""An evaluation from excerpts and rows to scores, excerpt by excerpt, resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from umss_jax.data.excerpts import Excerpt
from umss_jax.evaluate.config import EvaluationConfig, F0Windows
from umss_jax.evaluate.listening import ExcerptAudio
from umss_jax.evaluate.protocol import (
    F0Evaluation,
    StemEvaluation,
    collect_f0,
    collect_stems,
    score_f0,
    score_stems,
)
from umss_jax.evaluate.rows import Estimate, Row
from umss_jax.evaluate.score_store import ExcerptScores, Scores


class Measures(NamedTuple):
    """What is measured, and how it is summed up."""

    bss: bool = False
    f0_windows: F0Windows = F0Windows.SECOND
    undefined_as: float | None = None
    """dB value of frames without one; ``None`` leaves them out of mean and median."""
    config: EvaluationConfig = EvaluationConfig()

    def identity(self) -> dict[str, Any]:
        """What the scores of an excerpt depend on."""
        return {
            "bss": self.bss,
            "f0_windows": str(self.f0_windows),
            "evaluation": asdict(self.config),
        }


_DEFAULT = Measures()


class Result(NamedTuple):
    """The scores of one row."""

    label: str
    songs: tuple[str, ...]
    """Of every excerpt."""
    stems: StemEvaluation
    f0: F0Evaluation | None
    """None where the row has no F0 of its own, or there is no reference."""


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
        for number, row in enumerate(rows):
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
            collect_f0(names, tracks, measures.config) if tracks else None,
        )
        for row, found in zip(rows, scores, strict=True)
        for tracks in [[f0 for _, f0 in found if f0 is not None]]
    ]


def _score(excerpt: Excerpt, estimate: Estimate, measures: Measures) -> Scores:
    f0 = None
    if estimate.f0_hz_250 is not None and excerpt.f0_hz_250 is not None:
        f0 = score_f0(excerpt, estimate.f0_hz_250, measures.f0_windows, measures.config)
    return score_stems(excerpt, estimate.stems, measures.config, measures.bss), f0
