"""The evaluation protocol: excerpts through an estimator, every frame scored, then statistics.

Estimators are plain callables from an excerpt to stems or F0 tracks, so that a trained model, a
baseline and a ceiling are measured in the same way.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from umss_jax.data.excerpts import Excerpt
from umss_jax.evaluate import metrics, pitch_metrics
from umss_jax.evaluate.bss import BssScores, bss_scores
from umss_jax.evaluate.config import EvaluationConfig, F0Windows
from umss_jax.evaluate.statistics import Summary, summarise

StemEstimator = Callable[[Excerpt], np.ndarray]
"""From an excerpt to stems [J, S] for its mixture [S]."""
F0Estimator = Callable[[Excerpt], np.ndarray]
"""From an excerpt to F0 tracks [J, T], Hz, on the frames of its reference."""

_DEFAULT = EvaluationConfig()


class StemScores(NamedTuple):
    """Separation scores of one excerpt; arrays are [J, seconds]."""

    scores: metrics.SeparationScores
    energy: np.ndarray
    bss: BssScores | None = None


class F0Scores(NamedTuple):
    """F0 scores of one excerpt."""

    scores: pitch_metrics.MelodyScores  # [J, windows]
    kept: np.ndarray  # [J, windows]
    multi_pitch: pitch_metrics.MultiPitchScores  # scalars


class StemEvaluation(NamedTuple):
    """Separation scores of a test set; arrays are [excerpts, J, seconds]."""

    names: tuple[str, ...]
    scores: metrics.SeparationScores
    energy: np.ndarray
    kept: np.ndarray
    """False for frames that the energy rule leaves out."""
    summary: dict[str, Summary]
    bss: BssScores | None = None

    def measures(self) -> dict[str, np.ndarray]:
        """All scores by name."""
        return {**self.scores._asdict(), **(self.bss._asdict() if self.bss else {})}


class F0Evaluation(NamedTuple):
    """F0 scores of a test set; arrays are [excerpts, J, windows]."""

    scores: pitch_metrics.MelodyScores
    kept: np.ndarray
    summary: dict[str, Summary]
    multi_pitch: pitch_metrics.MultiPitchScores
    """[excerpts]: the same tracks, voices not told apart."""


def evaluate_stems(
    excerpts: Iterable[Excerpt],
    estimator: StemEstimator,
    undefined_as: float | None = None,
    config: EvaluationConfig = _DEFAULT,
    bss: bool = False,
) -> StemEvaluation:
    """Separation scores per excerpt, voice and second.

    Args:
        excerpts: of one length.
        estimator: stems of an excerpt; it may look at nothing but the mixture, unless it is meant
            as a ceiling or is given the F0.
        undefined_as: dB value for frames without one (a silent stem) in the summary of the
            measures in dB; ``None`` leaves them out, as the reference does. They are counted.
        config: of the measures, the energy rule and the statistics.
        bss: BSS-eval too, which takes about a second per excerpt.

    Returns:
        All scores and their statistics over the kept frames, by name of the measure.

    Raises:
        ValueError: no excerpts, or stems of a wrong shape.
    """
    names, scores = [], []
    for excerpt in excerpts:
        names.append(excerpt.name)
        scores.append(score_stems(excerpt, estimator(excerpt), config, bss))
    return collect_stems(names, scores, undefined_as, config)


def score_stems(
    excerpt: Excerpt, stems: np.ndarray, config: EvaluationConfig = _DEFAULT, bss: bool = False
) -> StemScores:
    """Separation scores of one excerpt; arguments and errors as :func:`evaluate_stems`."""
    stems = np.asarray(stems)
    if stems.shape != excerpt.sources.shape:
        raise ValueError(f"{excerpt.name}: stems {stems.shape}, expected {excerpt.sources.shape}")
    return StemScores(
        metrics.separation_scores(excerpt.sources, stems, config),
        metrics.frame_energy(excerpt.sources, config),
        bss_scores(excerpt.sources, stems, config) if bss else None,
    )


def collect_stems(
    names: Sequence[str],
    scores: Sequence[StemScores],
    undefined_as: float | None = None,
    config: EvaluationConfig = _DEFAULT,
) -> StemEvaluation:
    """The scores of excerpts together, with their statistics; as :func:`evaluate_stems`."""
    if not names:
        raise ValueError("there are no excerpts")
    separation = metrics.SeparationScores(*_stacked([one.scores for one in scores]))
    parts = [one.bss for one in scores if one.bss is not None]
    bss = BssScores(*_stacked(parts)) if parts else None
    energy = np.stack([one.energy for one in scores])
    kept = energy >= config.minimum_energy
    result = StemEvaluation(tuple(names), separation, energy, kept, {}, bss)
    return result._replace(summary=summarise_stems(result, undefined_as, config=config))


def summarise_stems(
    result: StemEvaluation,
    undefined_as: float | None = None,
    chosen: Any = (),
    config: EvaluationConfig = _DEFAULT,
) -> dict[str, Summary]:
    """Statistics over some excerpts or voices, ``undefined_as`` as for :func:`evaluate_stems`.

    ``chosen`` is their index in ``[excerpts, J, seconds]``; all by default.
    """
    return {
        name: summarise(
            values[chosen],
            result.kept[chosen],
            undefined_as if name.endswith("_db") else None,
            config,
        )
        for name, values in result.measures().items()
    }


def summarise_f0(
    result: F0Evaluation, chosen: Any = (), config: EvaluationConfig = _DEFAULT
) -> dict[str, Summary]:
    """Statistics over some excerpts or voices; ``chosen`` as for :func:`summarise_stems`."""
    return {
        name: summarise(values[chosen], result.kept[chosen], config=config)
        for name, values in result.scores._asdict().items()
    }


def f0_windows(
    frames: int, windows: F0Windows | str, config: EvaluationConfig = _DEFAULT
) -> list[slice]:
    """Intervals of an excerpt over which F0 accuracies are computed before they are averaged.

    Of so many frames ``"second"`` takes those whose time lies in each true second, ``"excerpt"``
    all at once, and ``"reference"`` what the reference's slice ``[n : (n + 1) * 62]`` takes, which
    grows from one second to the whole excerpt.

    Raises:
        ValueError: an unknown kind.
    """
    seconds = max(1, int(np.ceil(frames / config.f0_frames_per_second)))
    if windows == "excerpt":
        return [slice(0, frames)]
    if windows == "reference":
        whole = int(config.f0_frames_per_second)
        return [slice(n, (n + 1) * whole) for n in range(seconds)]
    if windows == "second":
        edges = np.ceil(np.arange(seconds + 1) * config.f0_frames_per_second).astype(int)
        edges = np.minimum(edges, frames)
        return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]
    raise ValueError(f"unknown F0 windows {windows!r}: expected second, excerpt or reference")


def evaluate_f0(
    excerpts: Iterable[Excerpt],
    estimator: F0Estimator,
    windows: F0Windows | str = F0Windows.SECOND,
    config: EvaluationConfig = _DEFAULT,
) -> F0Evaluation:
    """F0 scores against the CREPE tracks of the excerpts.

    Args:
        excerpts: of one length, with F0.
        estimator: F0 tracks of an excerpt. What lies below ``config.minimum_f0_hz`` is unvoiced.
        windows: see :func:`f0_windows`. Seconds, true or the reference's, follow the energy rule;
            whole excerpts are all kept.
        config: of the measures, the energy rule and the statistics.

    Returns:
        All scores and their statistics over the kept windows, by name of the measure.

    Raises:
        ValueError: no excerpts, an excerpt without F0, or tracks of a wrong shape.
    """
    return collect_f0([score_f0(one, estimator(one), windows, config) for one in excerpts], config)


def score_f0(
    excerpt: Excerpt,
    f0_hz_synth: np.ndarray,
    windows: F0Windows | str = F0Windows.SECOND,
    config: EvaluationConfig = _DEFAULT,
) -> F0Scores:
    """F0 scores of one excerpt; arguments and errors as :func:`evaluate_f0`."""
    reference, estimate = excerpt.f0_hz_synth, np.asarray(f0_hz_synth)
    if reference is None:
        raise ValueError(f"{excerpt.name}: there is no reference F0")
    if estimate.shape != reference.shape:
        raise ValueError(f"{excerpt.name}: F0 tracks {estimate.shape}, expected {reference.shape}")
    estimate = np.where(estimate < config.minimum_f0_hz, 0.0, estimate)
    slices = f0_windows(reference.shape[-1], windows, config)
    parts = [pitch_metrics.melody_scores(reference[:, s], estimate[:, s], config) for s in slices]
    loud = metrics.frame_energy(excerpt.sources, config) >= config.minimum_energy
    return F0Scores(
        pitch_metrics.MelodyScores(*(np.stack(v, axis=-1) for v in zip(*parts, strict=True))),
        np.ones_like(loud[:, :1]) if windows == F0Windows.EXCERPT else loud,
        pitch_metrics.multi_pitch_scores(reference.T, estimate.T, config),
    )


def collect_f0(scores: Sequence[F0Scores], config: EvaluationConfig = _DEFAULT) -> F0Evaluation:
    """The scores of excerpts together, with their statistics; as :func:`evaluate_f0`."""
    if not scores:
        raise ValueError("there are no excerpts")
    result = F0Evaluation(
        pitch_metrics.MelodyScores(*_stacked([one.scores for one in scores])),
        np.stack([one.kept for one in scores]),
        {},
        pitch_metrics.MultiPitchScores(*_stacked([one.multi_pitch for one in scores])),
    )
    return result._replace(summary=summarise_f0(result, config=config))


def _stacked(scores: Sequence[tuple[np.ndarray, ...]]) -> Iterator[np.ndarray]:
    """Each measure of all excerpts."""
    return map(np.stack, zip(*scores, strict=True))
