"""Pitches inside a page: curves of the voices, those of a reference, and salience beneath them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from umss_jax.config import VOICES
from umss_jax.errors import DatasetError, ReportError
from umss_jax.pitch.tables import on_frames, read_voices
from umss_jax.report.config import ReportConfig
from umss_jax.report.images import PitchAxis, Tick, pitch_axis, pitch_path, salience_mask
from umss_jax.report.sounds import Interval

_FRAME_S = 0.016


class Pitches(NamedTuple):
    """Of all voices, on one clock."""

    time_s: np.ndarray
    """``[frames]`` from the beginning of the interval shown, evenly spaced."""
    f0_hz_synth: np.ndarray
    """``[J, frames]``, 0 where there is no pitch."""


class Salience(NamedTuple):
    """Of how many voices sing what, as `umss-jax f0 --salience` writes it."""

    salience: np.ndarray
    """``[bins, frames]`` in [0, 1]."""
    frequency_hz: np.ndarray
    step_s: float


class Curve(NamedTuple):
    """A line of a panel."""

    voice: str
    path: str
    """SVG, in a box of 1000 by 100."""


class Panel(NamedTuple):
    """One picture of pitches."""

    ticks: list[Tick]
    curves: list[Curve]
    references: list[Curve]
    salience: str
    """Data address; empty where there is none."""
    description: str
    """What the picture shows, in words."""
    readout: dict[str, object]
    """``frame_s``, and ``hz`` by voice, for what the page tells of the moment."""
    excerpt: str = ""
    row: str = ""
    """For which choice it is shown; empty: for all."""


def read_f0(path: Path, interval: Interval, remedy: str) -> Pitches:
    """Reads an interval of a table of ``time_s`` and the four voices, on any grid.

    Raises:
        ReportError: It is not there, or something else; with this remedy.
    """
    try:
        table = read_voices(path)
    except DatasetError as error:
        raise ReportError(error.message, remedy) from error
    f0_hz = np.stack([on_frames(table.time_s, voice, _FRAME_S) for voice in table.f0_hz])
    time_s = np.arange(f0_hz.shape[1]) * _FRAME_S - interval.start_s
    shown = (time_s >= 0) & (time_s <= interval.duration_s)
    return Pitches(time_s[shown], f0_hz[:, shown])


def read_salience(path: Path, duration_s: float, remedy: str, config: ReportConfig) -> Salience:
    """Reads a salience, which should cover a duration (but for ``config.length_tolerance_s``).

    Raises:
        ReportError: It is not there, or something else, with this remedy; or of another length.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            salience, time_s, hz = (archive[k] for k in ("salience", "time_s", "frequency_hz"))
        step_s = float(time_s[1] - time_s[0]) if len(time_s) > 1 else _FRAME_S
        if salience.shape != (len(hz), len(time_s)):
            raise ValueError("shape")
    except FileNotFoundError as error:
        raise ReportError(f"{path} is not there", remedy) from error
    except Exception as error:  # a zip of anything
        raise ReportError(f"{path} holds no salience", remedy) from error
    if abs(len(time_s) * step_s - duration_s) > config.length_tolerance_s:
        raise ReportError(
            f"{path} covers {len(time_s) * step_s:.2f} s, the stems {duration_s:.2f} s",
            "name the salience of the same recording",
        )
    return Salience(salience.astype(np.float32), hz, step_s)


def pitch_panel(
    pitches: Pitches | None,
    interval: Interval,
    config: ReportConfig,
    salience: Salience | None = None,
    reference: Pitches | None = None,
    axis: PitchAxis | None = None,
) -> Panel:
    """The picture of the pitches of an interval, beside the true ones where these are known.

    The salience is that of the whole recording. Several pictures may share an axis; by default it
    lies around the pitches.
    """
    told = pitches or reference or Pitches(np.zeros(0), np.zeros((len(VOICES), 0)))
    axis = axis or pitch_axis(told.f0_hz_synth, config)
    picture = ""
    if salience is not None:
        first = round(interval.start_s / salience.step_s)
        frames = max(1, round(interval.duration_s / salience.step_s))
        shown = salience.salience[:, first : first + frames]
        picture = salience_mask(shown, salience.frequency_hz, axis, config)
    return Panel(
        ticks=axis.ticks(),
        curves=_curves(pitches, axis, interval, config),
        references=_curves(reference, axis, interval, config),
        salience=picture,
        description=_description(pitches, reference, salience is not None),
        readout=_readout(told),
    )


def _curves(
    pitches: Pitches | None, axis: PitchAxis, interval: Interval, config: ReportConfig
) -> list[Curve]:
    if pitches is None:
        return []
    return [
        Curve(voice, pitch_path(pitches.time_s, hz, axis, interval.duration_s, config))
        for voice, hz in zip(VOICES, pitches.f0_hz_synth, strict=True)
    ]


def _readout(pitches: Pitches) -> dict[str, object]:
    time_s, hz = pitches
    return {
        "frame_s": round(float(time_s[1] - time_s[0]), 6) if len(time_s) > 1 else _FRAME_S,
        "hz": {v: np.round(one, 1).tolist() for v, one in zip(VOICES, hz, strict=True)},
    }


def _description(pitches: Pitches | None, reference: Pitches | None, has_salience: bool) -> str:
    """The picture in words."""
    over = " over the salience" if has_salience else ""
    if pitches is not None:
        beside = ", the reference dashed" if reference is not None else ""
        return f"Pitch curves{over}: {_ranges(pitches.f0_hz_synth)}{beside}."
    if reference is not None:
        return f"Pitch curves of the reference{over}: {_ranges(reference.f0_hz_synth)}."
    return "No pitches are known."


def _ranges(f0_hz_synth: np.ndarray) -> str:
    def words(hz: np.ndarray) -> str:
        sung = hz[hz > 0]
        if not sung.size:
            return "silent"
        part = 100 * sung.size / hz.size
        return f"{sung.min():.0f} to {sung.max():.0f} Hz, sung in {part:.0f} % of the time"

    return "; ".join(f"{v} {words(hz)}" for v, hz in zip(VOICES, f0_hz_synth, strict=True))
