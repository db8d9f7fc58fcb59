"""The picture of a recording: salience, pitch tracks over it (matplotlib, extra ``plot``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from umss_jax.pitch.grid import midi_to_hz
from umss_jax.separation.config import PlotConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VOICE_COLOURS = (
    *("#D55E00", "#0072B2", "#009E73", "#AA3377"),
    *("#E69F00", "#56B4E9", "#444444", "#882255"),
)
"""One per voice; told apart with colour-blind eyes too."""
JUMP_OCTAVES = 1 / 12
"""A curve is broken where the pitch leaps by more than this between frames."""
_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")


class NoteBox(NamedTuple):
    """A note of a score in the picture."""

    voice: int
    start_s: float
    end_s: float
    hz: float
    is_believed: bool
    """Drawn full; else as an outline."""


class SalienceImage:
    """The salience of a recording at the width of a picture, filled as it is computed.

    Args:
        bins: Rows.
        frames: Of the whole recording.
        columns: Maximum number of columns; of the frames that share one the largest is kept.
    """

    def __init__(self, bins: int, frames: int, columns: int) -> None:
        self.frames_per_column = max(1, -(-frames // columns))
        self.frames = frames
        self.image = np.zeros((bins, -(-frames // self.frames_per_column)), np.float32)
        self._filled = 0

    def push(self, salience: np.ndarray) -> None:
        """Takes the next ``[bins, frames]``."""
        column = (self._filled + np.arange(salience.shape[1])) // self.frames_per_column
        np.maximum.at(self.image.T, column, salience.T)
        self._filled += salience.shape[1]


def image_columns(duration_s: float, config: PlotConfig = PlotConfig()) -> int:
    """Columns of an image of full resolution."""
    return round(_width_inches(duration_s, config) * config.dots_per_inch)


def pitch_ticks() -> tuple[list[str], np.ndarray]:
    """Where a pitch axis is labelled: C, E and A of every octave, as names and in Hz."""
    notes = [note for note in range(128) if note % 12 in (0, 4, 9)]
    hz = midi_to_hz(np.asarray(notes))
    return [f"{_NAMES[note % 12]}{note // 12 - 1}" for note in notes], hz


def write_plot(
    path: Path,
    title: str,
    salience: SalienceImage,
    f0_hz_synth: np.ndarray,
    time_s: np.ndarray,
    frequencies_hz: np.ndarray,
    voices: tuple[str, ...],
    config: PlotConfig = PlotConfig(),
    notes: Sequence[NoteBox] = (),
) -> None:
    """Writes a PNG: seconds to the right, Hz on the pitch grid upwards.

    F0 ``[N, frames]`` is 0 where there is no pitch; frames are evenly spaced, the frequencies
    ``[bins]`` of the salience in logarithm. Without voices the pitches belong to nobody. The notes
    of a score are boxes of a semitone, empty where the score is not believed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    frame_s = float(time_s[1] - time_s[0]) if len(time_s) > 1 else 0.016
    duration_s = len(time_s) * frame_s
    figure = Figure(
        figsize=(_width_inches(duration_s, config), config.height_inches), layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    bins_per_octave = 1 / np.log2(frequencies_hz[1] / frequencies_hz[0])
    columns = salience.image.shape[1]
    left, right = -0.5 * frame_s, (columns * salience.frames_per_column - 0.5) * frame_s
    image = axes.imshow(
        salience.image,
        origin="lower",
        aspect="auto",
        cmap="gray_r",
        vmin=0,
        vmax=1,
        interpolation="nearest",
        extent=(left, right, -0.5, len(frequencies_hz) - 0.5),
    )
    with np.errstate(divide="ignore"):
        bins = bins_per_octave * np.log2(f0_hz_synth / frequencies_hz[0])
    bins = np.where(f0_hz_synth > 0, bins, np.nan)
    _draw_notes(axes, notes, frequencies_hz[0], bins_per_octave)
    _draw_tracks(axes, bins, time_s, voices, JUMP_OCTAVES * bins_per_octave)
    _hz_axis(axes, bins, frequencies_hz, bins_per_octave, config.margin_octaves)
    axes.set_xlim(left, max(duration_s, frame_s))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=round(_width_inches(duration_s, config))))
    axes.set_xlabel("time (s)")
    axes.set_title(title.replace("$", r"\$"), loc="left")
    figure.colorbar(image, ax=axes, label="salience", pad=0.01)
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(loc="upper right", ncols=len(handles), markerscale=3)
    figure.savefig(path, format="png", dpi=config.dots_per_inch)


def _width_inches(duration_s: float, config: PlotConfig) -> float:
    wanted = config.inches_per_s * duration_s
    return float(np.clip(wanted, config.least_width_inches, config.most_width_inches))


def _draw_notes(
    axes: Axes, notes: Sequence[NoteBox], lowest_hz: float, bins_per_octave: float
) -> None:
    height = JUMP_OCTAVES * bins_per_octave
    for note in notes:
        middle = bins_per_octave * np.log2(note.hz / lowest_hz)
        axes.broken_barh(
            [(note.start_s, note.end_s - note.start_s)],
            (middle - height / 2, height),
            facecolor=VOICE_COLOURS[note.voice] if note.is_believed else "none",
            edgecolor=VOICE_COLOURS[note.voice],
            alpha=0.3 if note.is_believed else 0.8,
            linewidth=0.7,
        )


def _draw_tracks(
    axes: Axes, bins: np.ndarray, time_s: np.ndarray, voices: tuple[str, ...], jump: float
) -> None:
    """A line per voice, broken where it jumps; dots where the pitches belong to nobody."""
    if not voices:
        for row, track in enumerate(bins):
            label = "pitches" if row == 0 else None
            axes.plot(time_s, track, ".", markersize=2, color=VOICE_COLOURS[0], label=label)
        return
    for voice, track, colour in zip(voices, bins, VOICE_COLOURS, strict=False):
        breaks = 1 + np.flatnonzero(np.abs(np.diff(track)) > jump)
        times, broken = np.insert(time_s, breaks, np.nan), np.insert(track, breaks, np.nan)
        axes.plot(
            times, broken, ".-", markersize=2, linewidth=1.5, alpha=0.85, color=colour, label=voice
        )


def _hz_axis(
    axes: Axes,
    bins: np.ndarray,
    frequencies_hz: np.ndarray,
    bins_per_octave: float,
    margin_octaves: float,
) -> None:
    """Ticks at C, E and A of every octave, in Hz; the range of the tracks and a margin."""
    low, high = 0.0, len(frequencies_hz) - 1.0
    if np.isfinite(bins).any():
        margin = margin_octaves * bins_per_octave
        low = max(low, float(np.nanmin(bins)) - margin)
        high = min(high, float(np.nanmax(bins)) + margin)
    notes, hz = pitch_ticks()
    places = bins_per_octave * np.log2(hz / frequencies_hz[0])
    shown = [
        (place, f"{value:.0f} ({note})")
        for place, value, note in zip(places, hz, notes, strict=True)
        if low <= place <= high
    ]
    axes.set_yticks([place for place, _ in shown], [label for _, label in shown])
    axes.set_ylim(low - 0.5, high + 0.5)
    axes.set_ylabel("frequency (Hz)")
