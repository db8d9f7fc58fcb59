"""The stages of a job, and how many seconds are left, told from how long earlier ones took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

READING, LOADING, PAGES = "reading the recording", "loading the model", "making the page"
_OWN_NAMES = {
    "tracking": "following the score",
    "separating": "separating",
    "writing": "writing stems",
    "writing softer": "writing stems again, softer",
    "practice": "writing practice files",
    "practice softer": "writing practice files again, softer",
}
"""What a stage of the separation is called on the page."""
_IF_LOUD = (_OWN_NAMES["writing softer"], _OWN_NAMES["practice softer"])
"""Come only where sounds would have passed full scale, which nobody knows before."""
FACTORS: Mapping[str, float] = {
    READING: 0.02,
    LOADING: 0.1,
    "following the score": 0.3,
    "separating": 0.3,
    "writing stems": 0.05,
    "writing stems again, softer": 0.05,
    "writing practice files": 0.05,
    "writing practice files again, softer": 0.05,
    PAGES: 0.1,
}
"""Seconds that each takes for a second of a recording, in their order: a guess before the first,
about what two cores of a server need."""
_LEAST_PACE = 0.04
"""Share of a stage that must be done until its pace is believed."""


class Told(NamedTuple):
    """How far a job is."""

    stage: str
    done_s: float = 0.0
    total_s: float = 0.0
    """Seconds of the recording; 0 where nobody knows yet."""


class Heard(NamedTuple):
    """The last that was told, and since when its stage lasts; times are those of one clock."""

    told: Told
    at_s: float
    began_s: float
    began_done_s: float
    """Seconds of the recording that were done when the stage was first told of."""
    first_s: float
    first_done_s: float
    """When something of the stage was first done, and what: what went before was no pace."""


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
    """The stages that a job is sure to have, in order."""
    left_out = {
        _OWN_NAMES["tracking"]: not has_score,
        _OWN_NAMES["practice"]: not practice,
        **dict.fromkeys(_IF_LOUD, True),
    }
    return [stage for stage in FACTORS if not left_out.get(stage)]


def heard_now(before: Heard | None, told: Told, now_s: float) -> Heard:
    """What is known after something was told, given what was known before."""
    if before is None or before.told.stage != told.stage:
        return Heard(told, now_s, now_s, told.done_s, now_s, told.done_s)
    if before.first_done_s == 0:
        before = before._replace(first_s=now_s, first_done_s=told.done_s)
    return before._replace(told=told, at_s=now_s)


def progress_of(
    heard: Heard, now_s: float, stages: list[str], factors: Mapping[str, float]
) -> Progress:
    """How far a job is whose certain stages are ``stages``.

    What is left of the stage is by its own pace, once there is some, and by ``factors`` before:
    the seconds that a second of a recording took earlier, by which the later stages are told too.
    It becomes less between two news. A stage that shows no pace and has lasted longer than
    expected may last for any time.
    """
    told = heard.told
    if told.total_s <= 0 or told.stage not in factors:
        return Progress(told.stage, 0.0, None)
    done_s = min(told.done_s, told.total_s)
    made_s, to_do_s = done_s - heard.first_done_s, told.total_s - done_s
    per_second = factors[told.stage]
    if made_s > _LEAST_PACE * told.total_s:
        per_second = (heard.at_s - heard.first_s) / made_s
    left_s: float | None = max(0.0, per_second * to_do_s - (now_s - heard.at_s))
    if left_s == 0 and done_s == 0:
        left_s = None
    if left_s is not None:
        order = list(FACTORS)
        later = [one for one in stages if order.index(one) > order.index(told.stage)]
        left_s += sum(factors[one] for one in later) * told.total_s
    return Progress(told.stage, done_s / told.total_s, left_s)


def learnt(factors: Mapping[str, float], last: Heard, ended_s: float) -> dict[str, float]:
    """The factors after a stage has ended: half of what was known is kept."""
    told = last.told
    done_s = told.total_s - last.began_done_s
    if done_s <= 0 or told.stage not in factors:
        return dict(factors)
    took = (ended_s - last.began_s) / done_s
    return {**factors, told.stage: 0.5 * factors[told.stage] + 0.5 * took}
