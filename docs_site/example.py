"""The example of the start page: clips and a picture of what `umss-jax demo` made.

Usage: ``python -m docs_site.example DEMO`` with the folder of a demo; writes into ``docs/example``
and ``docs/images``. Run it again when the demo sounds different.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np
import soundfile

from umss_jax.config import VOICES
from umss_jax.pitch.tables import read_voices

DOCS = Path(__file__).resolve().parents[1] / "docs"
CLIPS = ("mixture", *VOICES)
"""Nobody else sings in the demo: its residual is silent, or nearly so."""
_SECONDS = 12.0
_FADE_S = 0.3
_MP3_COMPRESSION = 0.75
_COLOURS = ("#d1495b", "#e0892b", "#2a9d8f", "#3f6fc4")
_HIGHEST_HZ = 2_200.0
_WINDOW, _HOP = 1_024, 128


def read_clips(demo: Path) -> tuple[dict[str, np.ndarray], int]:
    """The beginning of every sound of a demo, ``[samples]``, with a short fade at its end."""
    clips = {}
    for name in CLIPS:
        sound, rate_hz = soundfile.read(demo / f"{name}.wav")
        clip = sound[: round(_SECONDS * rate_hz)]
        fade = round(_FADE_S * rate_hz)
        clip[-fade:] *= np.linspace(1.0, 0.0, fade)
        clips[name] = clip
    return clips, rate_hz


def write_clips(clips: dict[str, np.ndarray], rate_hz: int) -> None:
    """MP3, which every browser plays; one gain for all, so that levels compare."""
    gain = 0.9 / max(np.abs(clip).max() for clip in clips.values())
    (DOCS / "example").mkdir(exist_ok=True)
    for name, clip in clips.items():
        path = DOCS / "example" / f"{name}.mp3"
        level = {"compression_level": _MP3_COMPRESSION, "bitrate_mode": "VARIABLE"}
        soundfile.write(path, gain * clip, rate_hz, "MPEG_LAYER_III", format="MP3", **level)


def draw(clips: dict[str, np.ndarray], rate_hz: int, demo: Path) -> None:
    """One spectrogram of the recording becomes four, each with the pitch that was found."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    table = read_voices(demo / "f0.csv")
    frames = round(_SECONDS / 0.016)
    f0_hz, time_s = table.f0_hz[:, :frames], np.arange(frames) * 0.016
    figure = plt.figure(figsize=(10, 4.4), dpi=110, facecolor="white")
    grid = figure.add_gridspec(
        4, 2, width_ratios=(1, 1), hspace=0.14, wspace=0.16, left=0.07, right=0.99, top=0.92
    )
    whole = figure.add_subplot(grid[:, 0])
    _show(whole, clips["mixture"], rate_hz)
    whole.set_title("one recording", loc="left", fontsize=11)
    whole.set_ylabel("kHz")
    whole.set_xlabel("seconds")
    for row, (voice, colour) in enumerate(zip(VOICES, _COLOURS, strict=True)):
        axes = figure.add_subplot(grid[row, 1], sharex=whole)
        _show(axes, clips[voice], rate_hz)
        axes.plot(time_s, np.where(f0_hz[row] > 0, f0_hz[row], np.nan) / 1e3, colour, lw=1.6)
        axes.text(
            0.985, 0.9, voice, transform=axes.transAxes, color=colour, weight="bold",
            va="top", ha="right", bbox={"facecolor": "white", "linewidth": 0, "pad": 1.5},
        )  # fmt: skip
        axes.tick_params(labelbottom=row == 3)
        if row == 0:
            axes.set_title("four voices, with their pitches", loc="left", fontsize=11)
    axes.set_xlabel("seconds")
    (DOCS / "images").mkdir(exist_ok=True)
    path = DOCS / "images" / "separation.png"
    figure.savefig(path)
    _shrink(path)


def _show(axes: matplotlib.axes.Axes, sound: np.ndarray, rate_hz: int) -> None:
    """A spectrogram over 55 dB, up to where pitches and their first harmonics lie."""
    starts = np.arange(0, len(sound) - _WINDOW, _HOP)
    frames = sound[starts[:, None] + np.arange(_WINDOW)] * np.hanning(_WINDOW)
    rows = round(_HIGHEST_HZ / rate_hz * _WINDOW)
    level_db = 20 * np.log10(np.abs(np.fft.rfft(frames))[:, :rows].T + 1e-6)
    axes.imshow(
        level_db, origin="lower", aspect="auto", cmap="Greys", vmin=-28, vmax=27,
        extent=(0, _SECONDS, 0, _HIGHEST_HZ / 1e3),
    )  # fmt: skip


def _shrink(path: Path) -> None:
    """As a picture of 96 colours, which are spread so that the four of the voices stay."""
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(96, Image.Quantize.MAXCOVERAGE)
    small.save(path, optimize=True)


if __name__ == "__main__":
    demo_folder = Path(sys.argv[1])
    sounds, sample_rate_hz = read_clips(demo_folder)
    write_clips(sounds, sample_rate_hz)
    draw(sounds, sample_rate_hz, demo_folder)
