"""The evaluation protocol: excerpts through an estimator, every frame scored, then statistics.

Estimators are plain callables from an excerpt to stems or F0 tracks, so that a trained model, a
baseline and a ceiling are measured in the same way.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax import metrics
from umss_jax.comb import comb_masks
from umss_jax.config import EvaluationConfig
from umss_jax.excerpts import Excerpt
from umss_jax.masking import apply_masks, soft_mask_stems
from umss_jax.summary import Summary, summarise

StemEstimator = Callable[[Excerpt], np.ndarray]
"""From an excerpt to stems [J, S] for its mixture [S]."""
F0Estimator = Callable[[Excerpt], np.ndarray]
"""From an excerpt to F0 tracks [J, T], Hz, on the frames of its reference."""
F0Windows = Literal["second", "excerpt", "reference"]

_DEFAULT = EvaluationConfig()


class StemEvaluation(NamedTuple):
    """Separation scores of a test set; arrays are [excerpts, J, seconds]."""

    names: tuple[str, ...]
    scores: metrics.SeparationScores
    energy: np.ndarray
    kept: np.ndarray
    """False for frames that the energy rule leaves out."""
    summary: dict[str, Summary]


class F0Evaluation(NamedTuple):
    """F0 scores of a test set; arrays are [excerpts, J, windows]."""

    names: tuple[str, ...]
    scores: metrics.MelodyScores
    kept: np.ndarray
    summary: dict[str, Summary]
    multi_pitch: metrics.MultiPitchScores
    """[excerpts]: the same tracks, voices not told apart."""


def evaluate_stems(
    excerpts: Iterable[Excerpt],
    estimator: StemEstimator,
    undefined_as: float | None = None,
    config: EvaluationConfig = _DEFAULT,
) -> StemEvaluation:
    """Separation scores per excerpt, voice and second.

    Args:
        excerpts: of one length.
        estimator: stems of an excerpt; it may look at nothing but the mixture, unless it is meant
            as a ceiling or is given the F0.
        undefined_as: dB value for frames without one (a silent stem) in the summary of the three
            measures in dB; ``None`` leaves them out, as the reference does. They are counted.
        config: frames and the energy rule.

    Returns:
        All scores and their statistics over the kept frames, by name of the measure.

    Raises:
        ValueError: no excerpts, or stems of a wrong shape.
    """
    names, scores, energies = [], [], []
    for excerpt in excerpts:
        stems = np.asarray(estimator(excerpt))
        if stems.shape != excerpt.sources.shape:
            raise ValueError(
                f"{excerpt.name}: stems {stems.shape}, expected {excerpt.sources.shape}"
            )
        names.append(excerpt.name)
        scores.append(metrics.separation_scores(excerpt.sources, stems, config))
        energies.append(metrics.frame_energy(excerpt.sources, config))
    if not names:
        raise ValueError("there are no excerpts")
    stacked = metrics.SeparationScores(*map(np.stack, zip(*scores, strict=True)))
    energy = np.stack(energies)
    kept = energy >= config.minimum_energy
    summary = {
        name: summarise(values, kept, undefined_as if name.endswith("_db") else None, config)
        for name, values in stacked._asdict().items()
    }
    return StemEvaluation(tuple(names), stacked, energy, kept, summary)


def f0_windows(frames: int, windows: F0Windows, config: EvaluationConfig = _DEFAULT) -> list[slice]:
    """Stretches of an excerpt over which F0 accuracies are computed before they are averaged.

    Args:
        frames: of the F0 tracks.
        windows: ``"second"``: frames whose time lies in each true second; ``"excerpt"``: all at
            once; ``"reference"``: what the reference's slice ``[n : (n + 1) * 62]`` takes, which
            grows from one second to the whole excerpt.
        config: frame rate.

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
    windows: F0Windows = "second",
    config: EvaluationConfig = _DEFAULT,
) -> F0Evaluation:
    """F0 scores against the CREPE tracks of the excerpts.

    Args:
        excerpts: of one length, with F0.
        estimator: F0 tracks of an excerpt. What lies below ``config.minimum_f0_hz`` is unvoiced.
        windows: see :func:`f0_windows`. Seconds, true or the reference's, follow the energy rule;
            whole excerpts are all kept.
        config: frames, tolerance and the energy rule.

    Returns:
        All scores and their statistics over the kept windows, by name of the measure.

    Raises:
        ValueError: no excerpts, an excerpt without F0, or tracks of a wrong shape.
    """
    names, scores, kept, multi = [], [], [], []
    for excerpt in excerpts:
        reference = excerpt.f0_hz_250
        if reference is None:
            raise ValueError(f"{excerpt.name}: there is no reference F0")
        estimate = np.asarray(estimator(excerpt))
        if estimate.shape != reference.shape:
            raise ValueError(
                f"{excerpt.name}: F0 tracks {estimate.shape}, expected {reference.shape}"
            )
        estimate = np.where(estimate < config.minimum_f0_hz, 0.0, estimate)
        slices = f0_windows(reference.shape[-1], windows, config)
        parts = [
            metrics.melody_scores(reference[:, part], estimate[:, part], config) for part in slices
        ]
        names.append(excerpt.name)
        scores.append([np.stack(values, axis=-1) for values in zip(*parts, strict=True)])
        multi.append(metrics.multi_pitch_scores(reference.T, estimate.T, config))
        loud = metrics.frame_energy(excerpt.sources, config) >= config.minimum_energy
        kept.append(np.ones_like(loud[:, :1]) if windows == "excerpt" else loud)
    if not names:
        raise ValueError("there are no excerpts")
    stacked = metrics.MelodyScores(*map(np.stack, zip(*scores, strict=True)))
    keep = np.stack(kept)
    summary = {
        name: summarise(values, keep, config=config) for name, values in stacked._asdict().items()
    }
    multi_pitch = metrics.MultiPitchScores(*map(np.stack, zip(*multi, strict=True)))
    return F0Evaluation(tuple(names), stacked, keep, summary, multi_pitch)


def unprocessed(excerpt: Excerpt) -> np.ndarray:
    """The mixture as the estimate of every voice: where a separation starts from."""
    return np.repeat(excerpt.mixture[None], len(excerpt.sources), axis=0)


def ideal_ratio_masks(excerpt: Excerpt) -> np.ndarray:
    """Soft masks of the true voices: the ceiling of what soft masking can reach."""
    return np.asarray(_soft_mask_stems(excerpt.mixture, excerpt.sources))


def harmonic_comb(f0: F0Estimator | None = None) -> StemEstimator:
    """A comb without learning on the reference's F0, or on that of an estimator."""

    def estimate(excerpt: Excerpt) -> np.ndarray:
        f0_hz_250 = excerpt.f0_hz_250 if f0 is None else f0(excerpt)
        if f0_hz_250 is None:
            raise ValueError(f"{excerpt.name}: there is no reference F0")
        return np.asarray(_comb_stems(excerpt.mixture, jnp.asarray(f0_hz_250, jnp.float32)))

    return estimate


_soft_mask_stems = jax.jit(soft_mask_stems)


@jax.jit
def _comb_stems(mixture: jax.Array, f0_hz_250: jax.Array) -> jax.Array:
    return apply_masks(mixture, comb_masks(f0_hz_250))
