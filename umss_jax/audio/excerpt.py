"""A part of a recording, by its beginning and length."""

from __future__ import annotations

import math

import numpy as np

from umss_jax.errors import UsageError


def check_excerpt(start_s: float, duration_s: float | None) -> None:
    """Refuses by a UsageError what is no part of any recording."""
    for option, value, is_time in (
        ("--start", start_s, math.isfinite(start_s) and start_s >= 0),
        ("--duration", duration_s, duration_s is None or 0 < duration_s < math.inf),
    ):
        if not is_time:
            raise UsageError(f"{option} is {value:g}", "give a number of seconds")


def interval(start_s: float, duration_s: float | None, rate_hz: int) -> tuple[int, int | None]:
    """First sample and sample after the last of a part; None: to the end."""
    first = round(start_s * rate_hz)
    return first, None if duration_s is None else first + max(1, round(duration_s * rate_hz))


def inside(block: np.ndarray, at: int, first: int, end: int | None) -> np.ndarray:
    """The part of a block, which begins at a sample, that lies in an interval."""
    return block[:, max(0, first - at) : None if end is None else max(0, end - at)]
