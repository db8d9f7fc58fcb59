"""BSS-eval: distortion, interference and artefacts, with a filter of 512 samples forgiven."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.fft

from umss_jax.evaluate.config import EvaluationConfig
from umss_jax.evaluate.metrics import paired_seconds

_DEFAULT = EvaluationConfig()
_MINIMUM_SHARE = 1e-15
"""Of the estimate's energy: less than float64 can tell from nothing, so no ratio exceeds 150 dB."""


class BssScores(NamedTuple):
    """BSS-eval (version 3) of every second; NaN where target or estimate is silent."""

    sdr_db: np.ndarray
    sir_db: np.ndarray
    sar_db: np.ndarray


def bss_scores(
    target: np.ndarray, estimate: np.ndarray, config: EvaluationConfig = _DEFAULT
) -> BssScores:
    """Signal to distortion, interference and artefacts of every second and voice.

    Estimates belong to the targets in their order. A voice that is silent in a second is left out
    of that second's interference, to which it adds nothing.

    Args:
        target: true voices ``[J, S]``.
        estimate: the same shape.
        config: of the seconds; length of the filter that is forgiven.

    Returns:
        Three float64 arrays ``[J, N]`` in dB, NaN where target or estimate is silent, or where
        the targets of a second cannot be told apart.

    Raises:
        ValueError: if the shapes differ.

    Source: Vincent, Gribonval, Févotte 2006; equal to ``mir_eval.separation.bss_eval_sources``
    on a second in which all voices sound. (Written anew: the packages that compute it do not run
    with NumPy 2 or bring a whole data set with them, and mir_eval is about to drop it.)
    """
    targets, estimates, both_sound = paired_seconds(target, estimate, config)
    result = np.full((3, *both_sound.shape), np.nan)
    for frame, there in enumerate(np.any(targets != 0, axis=-1).T):
        if there.any():
            result[:, there, frame] = _bss_of_second(
                targets[there, frame], estimates[there, frame], config.bss_filter_samples
            )
    return BssScores(*np.where(both_sound, result, np.nan))


def _bss_of_second(targets: np.ndarray, estimates: np.ndarray, taps: int) -> np.ndarray:
    """SDR, SIR and SAR ``[3, K]`` of K voices that all sound.

    An estimate is projected on the delayed copies of its own target, and on those of all. The
    projections are orthogonal and one contains the other, so that energies tell everything.
    """
    voices, samples = targets.shape
    size = scipy.fft.next_fast_len(samples + taps - 1, real=True)
    spectra = scipy.fft.rfft(targets, size)
    # [i, j, m]: sum over t of target i at t with target j at t + m
    between = scipy.fft.irfft(np.conj(spectra)[:, None] * spectra[None], size)
    with_estimates = scipy.fft.irfft(
        np.conj(spectra)[:, None] * scipy.fft.rfft(estimates, size)[None], size
    )[..., :taps]
    delays = np.arange(taps)
    gram = between[..., delays[:, None] - delays]  # negative lags are at the end of the axis
    own = np.diagonal(with_estimates).T
    try:
        on_own = np.linalg.solve(np.diagonal(gram).transpose(2, 0, 1), own[..., None])[..., 0]
        whole = gram.transpose(0, 2, 1, 3).reshape(voices * taps, voices * taps)
        all_targets = with_estimates.transpose(0, 2, 1).reshape(voices * taps, voices)
        on_all = np.linalg.solve(whole, all_targets)
    except np.linalg.LinAlgError:
        return np.full((3, voices), np.nan)
    energy = np.sum(estimates**2, axis=-1)
    target_energy = np.sum(on_own * own, axis=-1)
    explained_energy = np.sum(on_all * all_targets, axis=0)

    def ratio_db(signal: np.ndarray, residual: np.ndarray) -> np.ndarray:
        minimum = _MINIMUM_SHARE * np.where(energy > 0, energy, 1.0)
        return 10 * np.log10(np.maximum(signal, minimum) / np.maximum(residual, minimum))

    return np.stack(
        [
            ratio_db(target_energy, energy - target_energy),
            ratio_db(target_energy, explained_energy - target_energy),
            ratio_db(explained_energy, energy - explained_energy),
        ]
    )
