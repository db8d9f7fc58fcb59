"""Recordings decoded once: mono, 16 kHz, kept on disk by the content of the file.

The folder is ``$UMSS_JAX_HOME/audio_16k`` (by default in the user's cache folder). A file is found
again under another name or place, and decoded anew once its bytes change.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from umss_jax.audio.recording import scan
from umss_jax.audio.resampling import read_16k
from umss_jax.config import AudioConfig
from umss_jax.errors import OutputError
from umss_jax.files import file_sha256, home, write_array

_VERSION = 1  # of decoding and resampling: another one must not read what this one kept


class DecodedAudio:
    """Decodes recordings and keeps what it decoded in a folder, by default as said above."""

    def __init__(self, folder: Path | None = None, audio: AudioConfig = AudioConfig()) -> None:
        self._folder = folder or home() / f"audio_{audio.sample_rate_hz // 1000}k"
        self._audio = audio

    def load(self, path: Path) -> np.ndarray:
        """The whole recording, float32 [samples] at 16 kHz, mapped from disk where possible.

        Channels are mixed down as for separation (:func:`umss_jax.audio.recording.scan`).

        Raises:
            AudioError: missing, unreadable, truncated, silent, or not finite.
        """
        if not path.is_file():
            scan(path)  # which knows how to say what is wrong
        kept = self._folder / f"{file_sha256(path)}-v{_VERSION}.npy"
        if not kept.is_file():
            samples = decode_16k(path, self._audio)
            try:
                write_array(kept, samples)
            except OutputError:
                return samples  # no room to keep it: only slower
        mapped: np.ndarray = np.load(kept, mmap_mode="r", allow_pickle=False)
        return mapped


def decode_16k(path: Path, audio: AudioConfig) -> np.ndarray:
    """The mono mixture of a file, float32 [samples] at the model's rate; errors as :func:`scan`."""
    sound = read_16k(scan(path), audio)
    downmix = np.asarray(sound.downmix, np.float32)
    return np.concatenate([downmix @ block for block in sound.blocks])
