"""Pitches inside a page: curves of the voices, those of a reference, and salience beneath them."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
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
_MOST_FRAMES, _MOST_BINS = 10_000_000, 4_096
"""Of a salience."""
_FINEST_OCTAVES = 1 / 1_200
_ROUNDING = 1e-3
_HIGHEST_HZ = 1e5


class Pitches(NamedTuple):
    """Of all voices, on one clock."""

    time_s: np.ndarray
    """``[frames]`` from the beginning of the interval shown, evenly spaced."""
    f0_hz_synth: np.ndarray
    """``[J, frames]``, 0 where there is no pitch."""
    voices: tuple[str, ...] = VOICES


class Salience(NamedTuple):
    """Of how many voices sing what, as `umss-jax f0 --salience` writes it."""

    salience: np.ndarray
    """``[bins, frames]`` in [0, 1]."""
    frequency_hz: np.ndarray
    step_s: float


class Curve(NamedTuple):
    """A line of a panel."""

    voice: str
    colour: str
    """Of the style sheet."""
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


def voice_colours(voices: Sequence[str]) -> dict[str, str]:
    """What the style sheet calls the colour of each voice."""
    if tuple(voices) == VOICES:
        return dict(zip(VOICES, VOICES, strict=True))
    return {voice: f"voice-{number}" for number, voice in enumerate(voices, 1)}


def read_f0(
    path: Path, interval: Interval, remedy: str, voices: tuple[str, ...] = VOICES
) -> Pitches:
    """Reads an interval of a table of ``time_s`` and the voices, on any grid.

    Raises:
        ReportError: It is not there, or something else; with this remedy.
    """
    try:
        table = read_voices(path, voices)
    except DatasetError as error:
        raise ReportError(error.message, remedy) from error
    is_pitch = (table.f0_hz >= 0) & (table.f0_hz <= _HIGHEST_HZ)
    if not np.all(is_pitch) or not np.all(np.diff(table.time_s) > 0):
        raise ReportError(f"{path} holds what are no pitches", remedy)
    f0_hz = np.stack([on_frames(table.time_s, voice, _FRAME_S) for voice in table.f0_hz])
    time_s = np.arange(f0_hz.shape[1]) * _FRAME_S - interval.start_s
    shown = (time_s >= 0) & (time_s <= interval.duration_s)
    return Pitches(time_s[shown], f0_hz[:, shown], voices)


def read_salience(path: Path, duration_s: float, remedy: str, config: ReportConfig) -> Salience:
    """Reads a salience, which should cover a duration (but for ``config.length_tolerance_s``).

    Raises:
        ReportError: It is not there, or something else, with this remedy; or of another length.
    """
    if not path.exists():
        raise ReportError(f"{path} is not there", remedy)
    try:
        if not path.is_file():
            raise ValueError("no file")
        with zipfile.ZipFile(path) as archive:
            shapes = {name: _shape(archive, name) for name in ("time_s", "frequency_hz")}
            if any(len(shape) != 1 or shape[0] > _MOST_FRAMES for shape in shapes.values()):
                raise ValueError("shape")
            time_s, hz = (np.load(archive.open(f"{name}.npy")) for name in shapes)
            step_s = _step_s(time_s.astype(np.float64))
            _check_frequencies(hz.astype(np.float64))
            if _shape(archive, "salience") != (len(hz), len(time_s)):
                raise ValueError("shape")
            covered_s = len(time_s) * step_s
            salience = None
            if abs(covered_s - duration_s) <= config.length_tolerance_s:
                salience = _salience_values(np.load(archive.open("salience.npy")))
    except Exception as error:  # a zip of anything
        raise ReportError(f"{path} holds no salience", remedy) from error
    if salience is None:
        raise ReportError(
            f"{path} covers {covered_s:.2f} s, the stems {duration_s:.2f} s",
            "name the salience of the same recording",
        )
    return Salience(salience, hz.astype(np.float64), step_s)


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    """Of an array of real numbers in an archive, from its header alone.

    Raises:
        ValueError: there is something else, or fewer bytes than that takes.
        KeyError: it is not there.
    """
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0
        shape, _, kind = (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)
    needed = math.prod(shape) * kind.itemsize
    if kind.kind not in "fiu" or needed > archive.getinfo(f"{name}.npy").file_size:
        raise ValueError("type or size")
    return tuple(shape)


def _step_s(time_s: np.ndarray) -> float:
    """Distance of evenly spaced times; raises a ValueError for others."""
    if len(time_s) < 2:
        return _FRAME_S
    steps = np.diff(time_s)
    # Written so that NaN is refused too.
    if not (1e-4 <= steps[0] <= 10.0 and np.allclose(steps, steps[0], rtol=0.05, atol=2e-3)):
        raise ValueError("times")
    return float(steps[0])


def _check_frequencies(hz: np.ndarray) -> None:
    """Raises a ValueError for what is no pitch grid: it would have bins without end."""
    if not (2 <= len(hz) <= _MOST_BINS and np.all((hz >= 1.0) & (hz <= 1e5))):
        raise ValueError("frequencies")
    octaves = np.diff(np.log2(hz))
    if not (octaves[0] >= _FINEST_OCTAVES and np.allclose(octaves, octaves[0], rtol=0.05)):
        raise ValueError("frequencies")


def _salience_values(salience: np.ndarray) -> np.ndarray:
    """As float32 in [0, 1]; raises a ValueError for values that are none."""
    if not np.all((salience >= -_ROUNDING) & (salience <= 1.0 + _ROUNDING)):
        raise ValueError("values")
    return np.clip(salience, 0.0, 1.0).astype(np.float32)


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
    colours = voice_colours(pitches.voices)
    return [
        Curve(
            voice,
            colours[voice],
            pitch_path(pitches.time_s, hz, axis, interval.duration_s, config),
        )
        for voice, hz in zip(pitches.voices, pitches.f0_hz_synth, strict=True)
    ]


def _readout(pitches: Pitches) -> dict[str, object]:
    time_s, hz, voices = pitches
    return {
        "frame_s": round(float(time_s[1] - time_s[0]), 6) if len(time_s) > 1 else _FRAME_S,
        "hz": {v: np.round(one, 1).tolist() for v, one in zip(voices, hz, strict=True)},
    }


def _description(pitches: Pitches | None, reference: Pitches | None, has_salience: bool) -> str:
    """The picture in words."""
    over = " over the salience" if has_salience else ""
    if pitches is not None:
        beside = ", the reference dashed" if reference is not None else ""
        return f"Pitch curves{over}: {_ranges(pitches)}{beside}."
    if reference is not None:
        return f"Pitch curves of the reference{over}: {_ranges(reference)}."
    return "No pitches are known."


def _ranges(pitches: Pitches) -> str:
    def words(hz: np.ndarray) -> str:
        sung = hz[hz > 0]
        if not sung.size:
            return "silent"
        part = 100 * sung.size / hz.size
        return f"{sung.min():.0f} to {sung.max():.0f} Hz, sung in {part:.0f} % of the time"

    sung = zip(pitches.voices, pitches.f0_hz_synth, strict=True)
    return "; ".join(f"{voice} {words(hz)}" for voice, hz in sung)
