"""The stages of a job, and how many seconds are left, told from how long earlier ones took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

READING, LOADING, PAGES = "reading the recording", "loading the model", "making the page"
_OWN_NAMES = {
    "tracking": "following the score",
    "separating": "separating",
    "writing": "writing stems",
    "practice": "writing practice files",
}
"""What a stage of the separation is called on the page."""
FACTORS: Mapping[str, float] = {
    READING: 0.02,
    LOADING: 0.1,
    "following the score": 0.3,
    "separating": 0.5,
    "writing stems": 0.2,
    "writing practice files": 0.2,
    PAGES: 0.15,
}
"""Seconds that each takes for a second of a recording, in their order: a guess before the first."""


class Told(NamedTuple):
    """How far a job is."""

    stage: str
    done_s: float = 0.0
    total_s: float = 0.0
    """Seconds of the recording; 0 where nobody knows yet."""


class Progress(NamedTuple):
    """How far a job is, as the page shows it."""

    stage: str
    part: float
    """Of the stage, 0 to 1."""
    left_s: float | None
    """Until all is done; None where it cannot be told."""


def stage_name(stage: str) -> str:
    """What a stage of the separation is called on the page."""
    return _OWN_NAMES.get(stage, stage)


def stages_of(has_score: bool, practice: bool) -> list[str]:
    """The stages of a job, in order."""
    left_out = {_OWN_NAMES["tracking"]: not has_score, _OWN_NAMES["practice"]: not practice}
    return [stage for stage in FACTORS if not left_out.get(stage)]


def progress_of(
    told: Told, since_s: float, stages: list[str], factors: Mapping[str, float]
) -> Progress:
    """How far a job is that has been in its stage for ``since_s`` seconds.

    What is left of the stage is by its own pace, once there is some; later stages by their
    ``factors``, the seconds that a second of a recording took before.
    """
    part = min(1.0, told.done_s / told.total_s) if told.total_s > 0 else 0.0
    if told.total_s <= 0 or told.stage not in stages:
        return Progress(told.stage, part, None)
    expected_s = factors[told.stage] * told.total_s
    left_s = max(0.0, expected_s - since_s)
    if part > 0.05:
        left_s = since_s * (1 - part) / part
    later = stages[stages.index(told.stage) + 1 :]
    return Progress(told.stage, part, left_s + sum(factors[one] for one in later) * told.total_s)


def learnt(
    factors: Mapping[str, float], stage: str, took_s: float, total_s: float
) -> dict[str, float]:
    """The factors after a stage took so long for a recording: half of what was known is kept."""
    if total_s <= 0 or stage not in factors:
        return dict(factors)
    return {**factors, stage: 0.5 * factors[stage] + 0.5 * took_s / total_s}
