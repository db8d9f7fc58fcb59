"""Pictures inside a page: spectrograms and salience as PNG, pitch curves as SVG paths.

The PNG files hold nothing but transparency: the page paints through them in the colour of a voice,
so that one picture serves on light and on dark ground.
"""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

import numpy as np

from umss_jax.report.config import ReportConfig
from umss_jax.separation.pitch_plot import JUMP_OCTAVES, SalienceImage, pitch_ticks

_POINTS_PER_ROW = 6


class Tick(NamedTuple):
    """A mark on an axis."""

    percent: float
    """From the left or from above."""
    label: str
    detail: str = ""
    """Shown where there is room."""
    is_coarse: bool = True
    """Whether the mark itself is shown where there is little room."""


class PitchAxis(NamedTuple):
    """A logarithmic axis of frequency."""

    low_hz: float
    high_hz: float

    def percent(self, hz: np.ndarray | float) -> np.ndarray:
        """Distance from the upper edge."""
        return 100.0 * np.log2(self.high_hz / np.asarray(hz)) / np.log2(self.high_hz / self.low_hz)

    def ticks(self) -> list[Tick]:
        """C, E and A of every octave in sight."""
        return [
            Tick(float(self.percent(value)), name, f"{value:.0f} Hz")
            for name, value in zip(*pitch_ticks(), strict=True)
            if self.low_hz <= value <= self.high_hz
        ]


def png_mask(opacity: np.ndarray, config: ReportConfig = ReportConfig()) -> str:
    """Data address of a PNG of opacities ``[rows, columns]`` in [0, 1], the first row above."""
    from PIL import Image

    shades = config.shades
    levels = np.rint(np.clip(opacity, 0, 1) * (shades - 1)).astype(np.uint8)
    image = Image.fromarray(levels, mode="P")
    image.putpalette([0] * 3 * shades)
    buffer = io.BytesIO()
    alpha = bytes(round(255 * shade / (shades - 1)) for shade in range(shades))
    image.save(buffer, format="PNG", transparency=alpha, optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def spectrogram_db(
    audio: np.ndarray, sample_rate_hz: int, config: ReportConfig = ReportConfig()
) -> np.ndarray:
    """Power of audio ``[samples]`` over time and mel frequency, in dB of a full-scale sine.

    float64 ``[rows, columns]``, the highest frequency first; of frames that share a column the mean
    is shown.
    """
    window = 1 << round(np.log2(config.window_s * sample_rate_hz))
    hop = window // 4
    frames = max(1, -(-len(audio) // hop))
    padded = np.pad(audio, (window // 2, window + frames * hop - len(audio)))
    shape = np.hanning(window)
    per_column = max(1, -(-frames // config.columns))
    starts = np.arange(0, frames, per_column)
    power = np.empty((window // 2 + 1, len(starts)))
    for column, first in enumerate(starts):
        last = min(first + per_column, frames)
        cut = np.stack([padded[f * hop : f * hop + window] for f in range(first, last)])
        power[:, column] = np.mean(np.abs(np.fft.rfft(cut * shape)) ** 2, axis=0)
    level = 10 * np.log10(np.maximum(power / (shape.sum() / 2) ** 2, 1e-12))
    low, high = mel(config.lowest_hz), mel(highest_hz(sample_rate_hz, config))
    # The largest of several points of a row: a line between two rows must not get lost.
    points = config.spectrogram_rows * _POINTS_PER_ROW
    hz = 700.0 * (10.0 ** np.linspace(high, low, points) - 1.0)
    place = hz * window / sample_rate_hz
    below = np.minimum(place.astype(int), window // 2 - 1)
    part = (place - below)[:, None]
    fine = (1 - part) * level[below] + part * level[below + 1]
    return np.max(fine.reshape(config.spectrogram_rows, _POINTS_PER_ROW, -1), axis=1)


def highest_hz(sample_rate_hz: int, config: ReportConfig = ReportConfig()) -> float:
    """Upper edge of a spectrogram."""
    return min(config.highest_hz, sample_rate_hz / 2)


def mel(hz: np.ndarray | float) -> np.ndarray:
    """Decades above 700 Hz: mel but for a factor."""
    return np.log10(1.0 + np.asarray(hz) / 700.0)


def spectrogram_ticks(sample_rate_hz: int, config: ReportConfig = ReportConfig()) -> list[Tick]:
    """500 Hz and its doubles, as far as they are in sight."""
    low, high = mel(config.lowest_hz), mel(highest_hz(sample_rate_hz, config))
    return [
        Tick(float(100 * (high - mel(hz)) / (high - low)), f"{hz / 1000:g} kHz")
        for hz in (500, 2000, 8000)
        if hz < 0.9 * highest_hz(sample_rate_hz, config)
    ]


def shade_spectrogram(
    level_db: np.ndarray, loudest_db: float, config: ReportConfig = ReportConfig()
) -> str:
    """Data address of a spectrogram's picture; ``loudest_db`` is opaque."""
    return png_mask((level_db - loudest_db + config.range_db) / config.range_db, config)


def pitch_axis(f0_hz_synth: np.ndarray, config: ReportConfig = ReportConfig()) -> PitchAxis:
    """An axis that holds all pitches and a margin; one of two octaves where there are none."""
    voiced = f0_hz_synth[f0_hz_synth > 0]
    low, high = (voiced.min(), voiced.max()) if voiced.size else (110.0, 440.0)
    margin = 2.0**config.margin_octaves
    return PitchAxis(float(low / margin), float(high * margin))


def pitch_path(
    time_s: np.ndarray,
    f0_hz_synth: np.ndarray,
    axis: PitchAxis,
    duration_s: float,
    config: ReportConfig = ReportConfig(),
) -> str:
    """SVG path of a pitch curve in a box of 1000 by 100, interrupted by silence and leaps.

    The times ``[frames]`` are evenly spaced, the pitches ``[frames]`` 0 where there is none.
    """
    every = max(1, -(-len(time_s) // config.most_points))
    time_s, f0_hz_synth = time_s[::every], f0_hz_synth[::every]
    commands, previous = [], 0.0
    for x, hz in zip(1000 * time_s / duration_s, f0_hz_synth, strict=True):
        if hz > 0:
            near = previous > 0 and abs(np.log2(hz / previous)) <= JUMP_OCTAVES
            # A line of no length shows as a dot under round caps: a lone frame stays visible.
            move = "L" if near else f"M{x:.2f} {axis.percent(hz):.2f}L"
            commands.append(f"{move}{x:.2f} {axis.percent(hz):.2f}")
        previous = float(hz)
    return "".join(commands)


def salience_mask(
    salience: np.ndarray,
    frequencies_hz: np.ndarray,
    axis: PitchAxis,
    config: ReportConfig = ReportConfig(),
) -> str:
    """Data address of the picture of a salience ``[bins, frames]`` in [0, 1] on a pitch axis.

    The frequencies ``[bins]`` ascend, evenly spaced in logarithm. Bins outside the axis are left
    out, frequencies without a bin stay blank.
    """
    image = SalienceImage(salience.shape[0], salience.shape[1], config.columns)
    image.push(salience)
    step = np.log2(frequencies_hz[1] / frequencies_hz[0])
    height = np.log2(axis.high_hz / axis.low_hz)
    rows = max(1, round(height / step))
    octaves = np.log2(axis.high_hz / frequencies_hz[0]) - (np.arange(rows) + 0.5) * (height / rows)
    bins = np.rint(octaves / step).astype(int)
    known = (bins >= 0) & (bins < len(frequencies_hz))
    shown = np.where(known[:, None], image.image[np.clip(bins, 0, len(frequencies_hz) - 1)], 0.0)
    return png_mask(shown, config)


def time_ticks(start_s: float, duration_s: float, maximum: int = 12, few: int = 4) -> list[Tick]:
    """Seconds or minutes at a round distance; about ``few`` of them are coarse."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600)
    place = next((n for n, step in enumerate(steps) if duration_s / step <= maximum), len(steps))
    step = steps[place] if place < len(steps) else 1800
    wider = [n for n in (1, 2, 3, 4, 5, 6, 8, 10, 12) if duration_s / (n * step) <= few]
    every = next((n for n in wider if n == 1 or n * step in steps), wider[0] if wider else 12)
    first = int(np.ceil(start_s / step - 1e-9))
    last = int(np.floor((start_s + duration_s) / step + 1e-9))
    return [
        Tick(
            100 * (index * step - start_s) / duration_s,
            clock(index * step, step),
            is_coarse=index % every == 0,
        )
        for index in range(first, last + 1)
    ]


def clock(seconds: float, step: float = 1.0) -> str:
    """Minutes and seconds, with tenths where they are needed to tell marks apart."""
    tenths = step < 1
    whole = round(seconds * (10 if tenths else 1))
    minutes, rest = divmod(whole, 600 if tenths else 60)
    return f"{minutes}:{rest / 10:04.1f}" if tenths else f"{minutes}:{rest:02d}"
