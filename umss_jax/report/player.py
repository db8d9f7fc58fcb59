"""The player of a page: sounds on one clock, their spectrograms, the pitches, and what is chosen.

A page about a separation has one set of stems; one about an evaluation has one per excerpt and row
of its table, between which the listener chooses while it plays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from umss_jax.report.config import ReportConfig
from umss_jax.report.images import (
    clock,
    shade_spectrogram,
    spectrogram_db,
    spectrogram_ticks,
    time_ticks,
)
from umss_jax.report.pitches import Panel, voice_colours
from umss_jax.report.sounds import Advance, Interval, PageAudio, encode, nobody

_LEAST_STEP = 2.0**-15
"""Of 16 bits: what is softer is written as silence."""
_HEADROOM_DB = 6.0
"""Below the loudest point of the mixture a spectrogram is opaque already."""


class Raw(NamedTuple):
    """A sound before it is encoded."""

    name: str
    kind: str
    """``mixture``, ``stem``, ``target`` or ``residual``."""
    colour: str
    """Of the style sheet: a voice, or ``ink``."""
    audio: np.ndarray
    """``[samples, channels]`` at the page's rate, within ±1."""
    excerpt: str = ""
    row: str = ""
    """For which choice it is there; empty: for all."""


class Choice(NamedTuple):
    """Between what the listener may choose."""

    kind: str
    """``excerpt`` or ``row``, as tracks and panels name it."""
    label: str
    options: list[str]
    """The first is shown first."""


def player(
    tracks: Iterator[dict[str, Any]],
    panels: Sequence[Panel],
    interval: Interval,
    audio: PageAudio,
    hint: str,
    choices: Sequence[Choice] = (),
    config: ReportConfig = ReportConfig(),
) -> dict[str, Any]:
    """What the template of the player asks for.

    Tracks are encoded as the template comes to them. The hint says what is heard at first. Choices
    of a single option are left out.
    """
    return {
        "tracks": tracks,
        "panels": panels,
        "readouts": [panel.readout for panel in panels],
        "colours": _colours(panels),
        "choices": [choice for choice in choices if len(choice.options) > 1],
        "media_type": audio.media_type,
        "sample_rate_hz": audio.sample_rate_hz,
        "start_s": interval.start_s,
        "duration_s": interval.duration_s,
        "start_label": clock(interval.start_s),
        "end_label": clock(interval.start_s + interval.duration_s),
        "time_ticks": time_ticks(interval.start_s, interval.duration_s),
        "frequency_ticks": spectrogram_ticks(audio.sample_rate_hz, config),
        "hint": hint,
    }


def _colours(panels: Sequence[Panel]) -> dict[str, str]:
    """Those of the voices whose pitches are shown."""
    shown: Any = panels[0].readout["hz"] if panels else ()
    return voice_colours(tuple(shown))


def loudest_db(mixture: np.ndarray, audio: PageAudio, config: ReportConfig) -> float:
    """Level that is opaque in spectrograms of a mixture ``[samples, channels]`` and its parts."""
    level = spectrogram_db(mixture.mean(axis=1), audio.sample_rate_hz, config)
    return float(level.max()) - _HEADROOM_DB


def quietness(
    audio: np.ndarray, level_db: np.ndarray, opaque_db: float, config: ReportConfig
) -> str:
    """What an empty picture says of its sound; nothing where there is something to see."""
    if np.abs(audio).max(initial=0.0) < _LEAST_STEP:
        return "silent"
    drawn = np.mean(level_db > opaque_db - config.visible_part * config.range_db)
    if drawn >= config.least_drawn:
        return ""
    return "almost silent"


def encoded_all(
    rows: Sequence[Raw],
    audio: PageAudio,
    opaque_db: float,
    config: ReportConfig,
    advance: Advance = nobody,
) -> Iterator[dict[str, Any]]:
    """Rows of players one by one; ``advance`` is told the part of all of them that is done."""
    done = 0

    def tell(part: float) -> None:
        advance((done + part) / len(rows))

    for row in rows:
        yield encoded(row, audio, opaque_db, config, tell)
        done += 1


def encoded(
    raw: Raw,
    audio: PageAudio,
    opaque_db: float,
    config: ReportConfig,
    advance: Advance = nobody,
) -> dict[str, Any]:
    """A row of players: the sound in base64, its spectrogram as a data address."""
    level = spectrogram_db(raw.audio.mean(axis=1), audio.sample_rate_hz, config)
    quiet = quietness(raw.audio, level, opaque_db, config)
    return {
        "name": raw.name[:1].upper() + raw.name[1:],
        "kind": raw.kind,
        "colour": raw.colour,
        # The stems and the residual together are the mixture, so it starts muted.
        "muted": raw.kind in ("mixture", "target"),
        "sound": encode(raw.audio, audio, config, advance),
        "picture": shade_spectrogram(level, opaque_db, config),
        "level": quiet,
        "description": f"Spectrogram of {raw.name}" + (f": {quiet}" if quiet else ""),
        # The same in all choices: what is solo or mute in one is so in the others.
        "place": raw.name,
        "excerpt": raw.excerpt,
        "row": raw.row,
    }
