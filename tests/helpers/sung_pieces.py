"""Two short pieces of gliding voices with known F0, and a tiny pre-training on them."""

import numpy as np
import soundfile

from umss_jax.config import VOICES
from umss_jax.data.pitched_mixes import PitchedVoice

RATE = 16_000


def glide(lowest_hz, seconds=3.0, octaves=0.5):
    """Harmonics on a gliding pitch, and its F0 every 16 ms."""
    time = np.arange(int(seconds * RATE)) / RATE
    f0_hz = lowest_hz * 2 ** (octaves * time / seconds)
    phase = 2 * np.pi * np.cumsum(f0_hz) / RATE
    samples = sum(np.sin(k * phase) / k for k in range(1, 9)).astype(np.float32)
    frames = len(samples) // 256 + 1
    at_frames = lowest_hz * 2 ** (octaves * np.arange(frames) * 0.016 / seconds)
    return PitchedVoice(samples / 4, at_frames.astype(np.float32))


PIECES = [tuple(glide(hz * factor) for hz in (500, 300, 200, 120)) for factor in (1.0, 1.1)]


def write(folder):
    """The pieces as `umss-jax chorale make` lays them out, each sung twice."""
    for number, piece in enumerate(PIECES):
        (folder / f"piece{number}").mkdir(parents=True)
        for name, voice in zip(VOICES, piece, strict=True):
            at = folder / f"piece{number}" / f"{name}.wav"
            soundfile.write(at, np.tile(voice.samples, 2), RATE)
            f0_hz = np.concatenate([voice.f0_hz_synth[:-1]] * 2)
            rows = [f"{n * 0.016:.3f},{hz:.3f},1.0" for n, hz in enumerate(f0_hz)]
            text = "\n".join(["time,frequency,confidence", *rows])
            at.with_suffix(".f0.csv").write_text(text + "\n")


def pretraining(recordings):
    """Arguments of `umss-jax pretrain` for ten steps on the pieces."""
    return [
        "-q",
        f"train.folders=['{recordings}']",
        f"validation.folders=['{recordings}']",
        "steps=[6, 4]",
        "batch=[2, 2]",
        "crop_s=[0.3, 0.3]",
        "window_frames=12",
        "validation_steps=2",
        "validation_examples=2",
        "distinct_mixes=5",
    ]
