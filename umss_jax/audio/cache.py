"""Recordings decoded once: mono, 16 kHz, kept on disk by the content of the file.

The folder is ``$UMSS_JAX_HOME/audio_16k`` (by default in the user's cache folder). A file is found
again under another name or place, and decoded anew once its bytes change. Damaged entries are made
again (:mod:`umss_jax.kept_arrays`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from umss_jax.audio.recording import scan
from umss_jax.audio.resampling import read_16k
from umss_jax.config import AudioConfig
from umss_jax.errors import AudioError
from umss_jax.files import file_sha256, home
from umss_jax.kept_arrays import KeptArray, KeptArrays

_VERSION = 2  # of decoding, resampling and format: another one must not read what this one kept


class DecodedAudio:
    """Decodes recordings and keeps what it decoded in a folder, by default as said above."""

    def __init__(self, folder: Path | None = None, audio: AudioConfig = AudioConfig()) -> None:
        folder = folder or home() / f"audio_{audio.sample_rate_hz // 1000}k"
        self._kept = KeptArrays(folder, "decoded recordings")
        self._audio = audio

    def load(self, path: Path) -> np.ndarray:
        """The whole recording, float32 [samples] at 16 kHz, mapped from disk where possible.

        Channels are mixed down as for separation (:func:`umss_jax.audio.recording.scan`).

        Raises:
            AudioError: missing, unreadable, truncated, silent, not finite, or changed meanwhile.
        """
        return self.load_known(path).array

    def load_known(self, path: Path) -> KeptArray:
        """As :meth:`load`, with a digest that tells whether two recordings sound the same."""
        before = _content(path)
        name = f"{before}-v{_VERSION}"
        kept = self._kept.get(name)
        if kept is None:
            samples = decode_16k(path, self._audio)
            if _content(path) != before:
                raise _changed(path)
            kept = self._kept.put(name, samples)
        return kept


def decode_16k(path: Path, audio: AudioConfig) -> np.ndarray:
    """The mono mixture of a file, float32 [samples] at the model's rate; errors as :func:`scan`."""
    sound = read_16k(scan(path), audio)
    downmix = np.asarray(sound.downmix, np.float32)
    return np.concatenate([downmix @ block for block in sound.blocks])


def _content(path: Path) -> str:
    """SHA-256 of a recording's bytes; errors as :func:`scan`."""
    if not path.is_file():
        scan(path)  # which knows how to say what is wrong
    try:
        return file_sha256(path)
    except OSError as error:
        scan(path)
        raise _changed(path) from error


def _changed(path: Path) -> AudioError:
    return AudioError(
        f"{path} changed while it was being read", "run the command again once it stays as it is"
    )
