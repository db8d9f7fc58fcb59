"""Recordings in memory: what callers pass as audio and rate, accepted where it is clear.

Everything is told from type and shape first, before anything of the size of the array is made.
"""

from __future__ import annotations

import math
import operator
import os
from typing import Any, NamedTuple

import numpy as np

from umss_jax.audio.config import ArrayConfig
from umss_jax.errors import AudioError, UsageError

_PCM = {"int16": 2.0**15, "int32": 2.0**31}
_SHAPES = "pass one recording as [samples] or [channels, samples]"
_FLOATS = "pass floating point (full scale 1), or PCM as int16, int32 or uint8"


class Sound(NamedTuple):
    """A recording in memory, as the package computes with it."""

    channels: np.ndarray
    """float32 [C, N]."""
    sample_rate_hz: int
    as_passed: str
    """Axes of the array as it was passed: ``N``, ``CN`` or ``NC``."""

    def shaped(self, channels: np.ndarray) -> np.ndarray:
        """``[..., C, N]`` with the axes of the array as it was passed."""
        if self.as_passed == "N":
            return channels[..., 0, :]
        return channels if self.as_passed == "CN" else np.swapaxes(channels, -1, -2)


def sound_of(audio: Any, sample_rate_hz: Any) -> Sound:
    """An array of audio and its rate, checked.

    Args:
        audio: [N], [C, N], or [N, C] where that is longer in its first axis, as `soundfile` reads
            it; two equal axes are [C, N]. NumPy, JAX, PyTorch on the CPU, or nested lists. Floating
            point of any level; int16, int32 and uint8 are PCM, and come to full scale 1.
        sample_rate_hz: a whole number, of any type.

    Raises:
        AudioError: no samples, other shapes, types that hold no audio, samples that are not finite
            or far beyond full scale, nothing but silence, or too many for the memory.
        UsageError: the rate is no number of samples per second.
    """
    rate_hz = rate_of(sample_rate_hz)
    array = _array(audio)
    as_passed = _axes(array.shape)
    _check_type(array, audio)
    _check_memory(array)
    channels = array.T if as_passed == "NC" else np.atleast_2d(array)
    samples = _full_scale(channels)
    _check_values(samples)
    return Sound(samples, rate_hz, as_passed)


def rate_of(sample_rate_hz: Any) -> int:
    """A sample rate as a whole number; UsageError where it is none, or beyond all recordings."""
    lowest, highest = ArrayConfig.lowest_rate_hz, ArrayConfig.highest_rate_hz
    remedy = f"pass a whole number of Hz from {lowest} to {highest}"
    wrong = UsageError(f"sample_rate_hz {sample_rate_hz!r:.60} is no sample rate", remedy)
    if isinstance(sample_rate_hz, (bool, str, bytes)):
        raise wrong
    try:
        rate_hz = operator.index(sample_rate_hz)
    except TypeError:
        try:
            real = float(sample_rate_hz)
        except (TypeError, ValueError, OverflowError) as error:
            raise wrong from error
        if not math.isfinite(real) or real != int(real):
            raise wrong from None
        rate_hz = int(real)
    if not lowest <= rate_hz <= highest:
        raise wrong
    return rate_hz


def _array(audio: Any) -> np.ndarray:
    """What was passed, as an array; nothing is copied that is one already."""
    if isinstance(audio, (str, bytes, os.PathLike)):
        raise AudioError(
            f"{audio!r:.80} is no array of samples", "of a file, call separate_file or track_file"
        )
    if isinstance(audio, np.ma.MaskedArray) and np.ma.is_masked(audio):
        raise AudioError("the array has masked samples", "fill them (array.filled(0))")
    try:
        return np.asarray(audio)
    except Exception as error:  # libraries raise what they like: of another device, with gradients
        reason = str(error).strip().split("\n")[0]
        raise AudioError(
            f"{type(audio).__name__} cannot be read as an array of samples ({reason:.100})",
            f"{_SHAPES}, a NumPy array on the CPU (tensor.detach().cpu().numpy())",
        ) from error


def _axes(shape: tuple[int, ...]) -> str:
    """Which axes a shape has."""
    if len(shape) not in (1, 2) or 0 in shape:
        wrong = f"an array of shape {shape} is no recording"
        raise AudioError(wrong, _SHAPES)
    if len(shape) == 1:
        return "N"
    if min(shape) > ArrayConfig.most_channels:
        wrong = f"an array of shape {shape} is no recording of at most {ArrayConfig.most_channels}"
        raise AudioError(f"{wrong} channels", _SHAPES)
    return "NC" if shape[0] > shape[1] else "CN"


def _check_type(array: np.ndarray, audio: Any) -> None:
    kind = array.dtype
    if kind.kind == "f" or kind.name in {*_PCM, "uint8"}:
        return
    # Whole numbers in a list have no full scale either; those of a list of floats are floats.
    what = f"{array.shape} of {kind}" if hasattr(audio, "dtype") else f"a list of {kind}"
    raise AudioError(f"an array {what} is no audio", _FLOATS)


def _check_memory(array: np.ndarray) -> None:
    """Refuses what could not be computed with, before the first copy of it is made."""
    needed = array.size * ArrayConfig.bytes_per_sample
    available = _memory_bytes()
    if needed > available:
        raise AudioError(
            f"an array of shape {array.shape} needs about {needed / 2**30:.0f} GiB of memory, here "
            f"are {available / 2**30:.0f}",
            "write it to a file and separate that: a file of any length takes little memory",
        )


def _memory_bytes() -> float:
    """Of the machine; infinite where the system does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return math.inf


def _full_scale(array: np.ndarray) -> np.ndarray:
    """As float32, PCM at full scale 1."""
    if array.dtype.name == "uint8":
        return (array.astype(np.float32) - 128.0) / np.float32(128.0)
    with np.errstate(over="ignore", invalid="ignore"):  # what is infinite then is refused
        samples = np.asarray(array, np.float32)
    scale = _PCM.get(array.dtype.name)
    return samples if scale is None else samples / np.float32(scale)


def _check_values(channels: np.ndarray) -> None:
    peaks = np.stack([channels.min(axis=1), channels.max(axis=1)])
    if not np.isfinite(peaks).all():
        finite = np.isfinite(channels).all(axis=0)
        first = int(np.argmin(finite))
        raise AudioError(
            f"the array holds samples that are not numbers (NaN or infinite), the first at {first}",
            "cut that part out or set it to 0",
        )
    peak = float(np.abs(peaks).max())
    if peak < ArrayConfig.silence_peak:
        raise AudioError(f"the array is silent (peak {peak:g})", "check its scale: full scale is 1")
    if peak > ArrayConfig.highest_peak:
        raise AudioError(
            f"the array holds samples up to {peak:g}", "check its scale: full scale is 1"
        )
