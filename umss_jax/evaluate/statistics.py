"""Statistics of scores over a test set: mean, median, and how far the mean can be trusted."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from umss_jax.evaluate.config import EvaluationConfig

_DEFAULT = EvaluationConfig()


class Summary(NamedTuple):
    """Statistics of one measure over all kept frames."""

    mean: float
    median: float
    mean_low: float
    mean_high: float
    frames: int
    undefined: int


def bootstrap_interval(
    values: np.ndarray, config: EvaluationConfig = _DEFAULT
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, excerpts being sampled with replacement.

    Frames of one excerpt are alike, so the excerpt and not the frame is the unit that is sampled.

    Args:
        values: ``[excerpts, ...]``; NaN entries are left out.
        config: number of resamples and coverage (95 %).

    Returns:
        Lower and upper end, the same for the same values; NaN where no excerpt holds a value.
    """
    values = np.asarray(values, np.float64).reshape(len(values), -1)
    sums, counts = np.nansum(values, axis=1), np.sum(np.isfinite(values), axis=1)
    held = counts > 0
    sums, counts = sums[held], counts[held]
    if not len(sums):
        return math.nan, math.nan
    generator = np.random.default_rng(0)
    sampled = generator.integers(0, len(sums), (config.bootstrap_resamples, len(sums)))
    means = sums[sampled].sum(axis=1) / counts[sampled].sum(axis=1)
    tail = (1 - config.bootstrap_coverage) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def summarise(
    values: np.ndarray,
    keep: np.ndarray | None = None,
    undefined_as: float | None = None,
    config: EvaluationConfig = _DEFAULT,
) -> Summary:
    """Mean, median and bootstrap interval of one measure.

    Args:
        values: ``[excerpts, ...]``, NaN where undefined.
        keep: the same shape, False for frames that the energy rule leaves out.
        undefined_as: a value to count undefined frames as; ``None`` leaves them out of the
            statistics, as the reference does. Their number is in the result either way.
        config: of the bootstrap.

    Returns:
        Statistics, NaN where no frame is left; ``frames`` is the number that they rest on.
    """
    values = np.asarray(values, np.float64)
    keep = np.ones(values.shape, bool) if keep is None else np.asarray(keep, bool)
    undefined = keep & np.isnan(values)
    if undefined_as is not None:
        values = np.where(undefined, undefined_as, values)
    values = np.where(keep, values, np.nan)
    used = values[~np.isnan(values)]
    if not used.size:
        return Summary(math.nan, math.nan, math.nan, math.nan, 0, int(undefined.sum()))
    low, high = bootstrap_interval(values, config)
    return Summary(
        float(used.mean()), float(np.median(used)), low, high, used.size, int(undefined.sum())
    )
