"""What a decoder of recordings is, whichever library it is by, and what all of them refuse."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from umss_jax.audio.config import FileConfig
from umss_jax.errors import AudioError

EXPORT_AGAIN = "copy or export it again"


class DamagedError(Exception):
    """What follows cannot be decoded; where that is, its reader knows."""


class Decoder(Protocol):
    """An opened recording, which is read once from its beginning to its end."""

    sample_rate_hz: int
    channels: int
    note: str
    """One line about a choice that was made, such as among several tracks; else empty."""

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]:
        """float32 ``[channels, block_samples]`` to the end, the last one shorter.

        Raises:
            DamagedError: What follows cannot be decoded.
        """

    def check_whole(self, samples: int) -> None:
        """Told at the end how many samples came.

        Raises:
            AudioError: There should have been more, or there were none.
        """

    def close(self) -> None:
        """Closes the file."""


def check_form(path: Path, rate_hz: int, channels: int) -> None:
    """Refuses a header that asks for something out of the ordinary.

    Whatever follows allocates by the rate and the channels.
    """
    limits = FileConfig
    if not limits.lowest_rate_hz <= rate_hz <= limits.highest_rate_hz:
        raise AudioError(
            f"{path} says that it has {rate_hz} samples a second, which no recording has",
            f"export it again, at {limits.lowest_rate_hz} to {limits.highest_rate_hz} Hz",
        )
    if not 1 <= channels <= limits.most_channels:
        raise AudioError(
            f"{path} has {channels} channels",
            f"choose those of the mixture, {limits.most_channels} at most",
        )


def truncated(path: Path, samples: int, rate_hz: int) -> AudioError:
    """The error of a recording that cannot be read on."""
    seconds = samples / rate_hz
    return AudioError(f"{path} is truncated or damaged after {seconds:.2f} s", EXPORT_AGAIN)


def conversion(path: Path) -> str:
    """The command that makes a WAV of a file, under a name that it does not have already."""
    made = path.with_suffix(".wav" if path.suffix.lower() != ".wav" else ".converted.wav")
    return f"ffmpeg -i {shlex.quote(no_option(path))} {shlex.quote(no_option(made))}"


def no_option(path: Path) -> str:
    """A path that no program takes for an option, nor libsndfile for the standard input."""
    return f".{os.sep}{path}" if str(path).startswith("-") else str(path)
