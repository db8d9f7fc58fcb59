"""Recorded singers taken apart: spectral envelopes and breath of every syllable, by WORLD.

A bank holds what is needed to sing anything with the timbre and the words of these singers. A unit
is one voiced run of a recording with the consonant before it. Needs the package pyworld (WORLD:
Morise, Yokomori, Ozawa 2016).
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from umss_jax.audio.recording import scan
from umss_jax.audio.resampling import read_16k
from umss_jax.audio.suffixes import SOUNDS, has_suffix
from umss_jax.config import AudioConfig
from umss_jax.errors import DatasetError, UsageError
from umss_jax.files import write_whole
from umss_jax.interruption import checked
from umss_jax.pitch.runs import true_runs

RATE_HZ = 16_000
PERIOD_S = 0.005
FFT_SIZE = 1024
_COEFFICIENTS = 60
_F0_HZ = (60.0, 1200.0)
_SHORTEST_S = 0.15
_CONSONANT_S = 0.18
_CONSONANT_DB = -45.0


class SingerBank(NamedTuple):
    """Units of several singers; frames every 5 ms, those of a unit side by side."""

    names: np.ndarray
    """str [singers]."""
    envelopes: np.ndarray
    """float16 [frames, 60], coded spectral envelopes."""
    aperiodicities: np.ndarray
    """float16 [frames, bands], coded."""
    power_db: np.ndarray
    """float32 [frames], mean of the power spectrum."""
    units: np.ndarray
    """int32 [units, 4]: singer, first frame, first voiced frame, end."""
    unit_hz: np.ndarray
    """float32 [units], median F0."""


def world() -> Any:
    """The package pyworld.

    Raises:
        UsageError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks setuptools for its own version
            import pyworld
    except ImportError as error:
        raise UsageError(
            f"singers need the package pyworld, which is not there ({error})",
            "pip install 'umss-jax[singers]'",
        ) from error
    return pyworld


def make_bank(
    singers: Sequence[Path], progress: Callable[[int], object] | None = None
) -> SingerBank:
    """Takes recordings apart.

    Args:
        singers: one file, or folder of files, of each; one voice alone in all of them.
        progress: told the number of each singer when that is done; they count from 0.

    Raises:
        DatasetError: a singer has no recordings, or nothing is sung in them.
        AudioError: a file cannot be read.
    """
    parts: list[_Unit] = []
    units: list[tuple[int, int, int, int]] = []
    hz, names = [], []
    frames = 0
    for number, place in enumerate(singers):
        names.append(_name(place))
        before = len(units)
        for file in checked(_files(place)):
            for unit in _units(_samples(file)):
                length = len(unit.power_db)
                units.append((number, frames, frames + unit.consonant, frames + length))
                hz.append(unit.f0_hz)
                parts.append(unit)
                frames += length
        if len(units) == before:
            raise DatasetError(f"{place} holds nothing that is sung", "leave it out")
        if progress is not None:
            progress(number)
    return SingerBank(
        np.asarray(names),
        np.concatenate([part.envelope for part in parts]),
        np.concatenate([part.aperiodicity for part in parts]),
        np.concatenate([part.power_db for part in parts]),
        np.asarray(units, np.int32),
        np.asarray(hz, np.float32),
    )


def save_bank(path: Path, bank: SingerBank) -> None:
    """Writes a bank as ``.npz``; errors as :func:`umss_jax.files.write_whole`."""
    write_whole(path, lambda file: np.savez(file, **bank._asdict()))


def load_bank(path: Path) -> SingerBank:
    """Reads a bank.

    Raises:
        DatasetError: the file is not there, or no bank.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            bank = SingerBank(**{name: stored[name] for name in SingerBank._fields})
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DatasetError(
            f"{path} is no bank of singers ({error})", "make one by `umss-jax chorale singers`"
        ) from error
    return bank


class _Unit(NamedTuple):
    envelope: np.ndarray
    aperiodicity: np.ndarray
    power_db: np.ndarray
    consonant: int
    """Frames before the voiced ones."""
    f0_hz: float


def _units(samples: np.ndarray) -> list[_Unit]:
    """The voiced runs of a recording with their consonants."""
    pyworld = world()
    low, high = _F0_HZ
    period_ms = 1000 * PERIOD_S
    f0_hz, times = pyworld.harvest(samples, RATE_HZ, low, high, period_ms)
    envelope = pyworld.cheaptrick(samples, f0_hz, times, RATE_HZ, fft_size=FFT_SIZE)
    aperiodicity = pyworld.d4c(samples, f0_hz, times, RATE_HZ, fft_size=FFT_SIZE)
    power_db = 10 * np.log10(envelope.mean(axis=1) + 1e-20)
    coded = pyworld.code_spectral_envelope(envelope, RATE_HZ, _COEFFICIENTS)
    breath = pyworld.code_aperiodicity(aperiodicity, RATE_HZ)
    found = []
    last_end = 0
    loud_db = np.percentile(power_db, 95)
    for start, end in true_runs(f0_hz > 0):
        mean_db = power_db[start:end].mean()
        if end - start < _SHORTEST_S / PERIOD_S or mean_db < loud_db - 35:
            continue
        first = start
        reach = max(last_end, start - int(_CONSONANT_S / PERIOD_S))
        while first > reach and power_db[first - 1] > mean_db + _CONSONANT_DB:
            first -= 1
        part = slice(first, end)
        found.append(
            _Unit(
                coded[part].astype(np.float16),
                breath[part].astype(np.float16),
                power_db[part].astype(np.float32),
                start - first,
                float(np.median(f0_hz[start:end])),
            )
        )
        last_end = end
    return found


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    files = sorted(one for one in place.glob("*") if has_suffix(one.name, SOUNDS))
    if not files:
        raise DatasetError(f"{place} holds no recordings", f"give files {', '.join(SOUNDS)}")
    return files


def _name(place: Path) -> str:
    return re.sub(r"\W+", "_", place.stem)


def _samples(file: Path) -> np.ndarray:
    """Mono at 16 kHz, float64 as WORLD takes it."""
    recording = scan(file)
    sound = read_16k(recording, AudioConfig())
    downmix = np.asarray(recording.downmix, np.float32)
    return np.concatenate([downmix @ block for block in sound.blocks]).astype(np.float64)
