"""What is measured of F0: tracks, and sets of pitches, both by mir_eval.

NumPy in and out, float64 inside, every leading axis a batch.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from mir_eval import melody, multipitch

from umss_jax.evaluate.config import EvaluationConfig

_DEFAULT = EvaluationConfig()


class MelodyScores(NamedTuple):
    """mir_eval's measures of one F0 track against another, each in [0, 1]."""

    overall_accuracy: np.ndarray
    raw_pitch_accuracy: np.ndarray
    raw_chroma_accuracy: np.ndarray
    voicing_recall: np.ndarray
    voicing_false_alarm: np.ndarray


class MultiPitchScores(NamedTuple):
    """mir_eval's measures of sets of F0s, voices not told apart, each in [0, 1]."""

    precision: np.ndarray
    recall: np.ndarray
    accuracy: np.ndarray
    f_measure: np.ndarray


def melody_scores(
    reference_hz: np.ndarray, estimate_hz: np.ndarray, config: EvaluationConfig = _DEFAULT
) -> MelodyScores:
    """mir_eval.melody's measures of F0 tracks on one time grid.

    Args:
        reference_hz: ``[..., T]``, Hz, 0 where unvoiced.
        estimate_hz: the same shape. Any positive value counts as voiced, however low: set the
            floor that an F0 extractor writes into unvoiced frames to 0 before (see
            ``umss_jax.evaluate.protocol``).
        config: tolerance in cents.

    Returns:
        Five float64 arrays ``[...]`` in [0, 1], with mir_eval's values for the special cases:
        accuracies 0 and recall 1 where no reference frame is voiced, false alarm 0 where all are.

    Raises:
        ValueError: if the shapes differ or there are no frames.
    """
    reference = np.asarray(reference_hz, np.float64)
    estimate = np.asarray(estimate_hz, np.float64)
    if reference.shape != estimate.shape or reference.shape[-1:] in ((), (0,)):
        raise ValueError(
            f"F0 tracks of shapes {reference.shape} and {estimate.shape}: "
            "they must be equal and hold at least one frame"
        )
    *batch, frames = reference.shape
    times = np.arange(frames)
    tolerance = config.tolerance_cents
    scores = np.empty((len(MelodyScores._fields), *batch))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing is voiced
        for index in np.ndindex(*batch):
            pair = melody.to_cent_voicing(times, reference[index], times, estimate[index])
            scores[:, *index] = (
                melody.overall_accuracy(*pair, tolerance),
                melody.raw_pitch_accuracy(*pair, tolerance),
                melody.raw_chroma_accuracy(*pair, tolerance),
                melody.voicing_recall(pair[0], pair[2]),
                melody.voicing_false_alarm(pair[0], pair[2]),
            )
    return MelodyScores(*scores)


def multi_pitch_scores(
    reference_hz: np.ndarray, estimate_hz: np.ndarray, config: EvaluationConfig = _DEFAULT
) -> MultiPitchScores:
    """mir_eval.multipitch's precision, recall and accuracy, and F = 2PR / (P + R).

    Args:
        reference_hz: ``[..., T, N]``, Hz, 0 where there is no pitch; any order within a frame.
        estimate_hz: ``[..., T, M]``, likewise.
        config: tolerance in cents.

    Returns:
        Four float64 arrays ``[...]`` in [0, 1], from counts over the whole time axis; 0 where a
        count to divide by is 0, as in mir_eval.

    Raises:
        ValueError: if the two differ in an axis other than the last.
    """
    reference = np.asarray(reference_hz, np.float64)
    estimate = np.asarray(estimate_hz, np.float64)
    if reference.shape[:-1] != estimate.shape[:-1]:
        raise ValueError(
            f"frames of reference {reference.shape[:-1]} and estimate {estimate.shape[:-1]} differ"
        )
    *batch, _, _ = reference.shape
    scores = np.empty((3, *batch))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no pitch
        for index in np.ndindex(*batch):
            pair = [
                multipitch.frequencies_to_midi([frame[frame > 0] for frame in of[index]])
                for of in (reference, estimate)
            ]
            found = multipitch.compute_num_true_positives(*pair, config.tolerance_cents / 100)
            counts = map(multipitch.compute_num_freqs, pair)
            scores[:, *index] = multipitch.compute_accuracy(found, *counts)
    precision, recall, accuracy = scores
    total = precision + recall
    f_measure = 2 * precision * recall / np.where(total > 0, total, 1.0)
    return MultiPitchScores(precision, recall, accuracy, f_measure)
