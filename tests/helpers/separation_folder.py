"""A separated recording on disk, made by an engine that needs no network."""

from pathlib import Path

import numpy as np
import soundfile
from stub_engine import StubEngine

from umss_jax.config import VOICES
from umss_jax.separation.stems import separate_file


def make_separation(
    place: Path, seconds: float = 3.0, sample_rate_hz: int = 16_000, channels: int = 1
) -> Path:
    """Folder of the stems of a noise, ``place/out/stub/song``."""
    samples = round(seconds * sample_rate_hz)
    noise = np.random.default_rng(3).normal(0, 0.1, (samples, channels)).clip(-0.8, 0.8)
    soundfile.write(place / "song.wav", noise, sample_rate_hz, subtype="PCM_24")
    return separate_file(place / "song.wav", place / "out", StubEngine()).folder


def add_targets(folder: Path, gain: float = 1.0) -> None:
    """True voices that are the stems themselves, at another level."""
    (folder / "targets").mkdir()
    for voice in VOICES:
        audio, rate = soundfile.read(folder / f"{voice}.wav")
        soundfile.write(folder / "targets" / f"{voice}.wav", gain * audio, rate, subtype="FLOAT")


def add_salience(folder: Path, seconds: float = 3.0) -> np.ndarray:
    """A salience of 360 bins, as `umss-jax f0 --salience` writes it; returns it."""
    frames = round(seconds * 62.5)
    salience = np.random.default_rng(5).random((360, frames), np.float32)
    np.savez(
        folder / "song.salience.npz",
        salience=salience,
        time_s=np.arange(frames) * 0.016,
        frequency_hz=32.7 * 2 ** (np.arange(360) / 60),
    )
    return salience
