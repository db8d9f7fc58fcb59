"""Mixes to practise a part with: with it in front, and without it, at any tempo.

The part in front stands at its own level and all else, the residual too, below it; the mix without
it is the recording less its stem. None of them is louder than the recording but for chance.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from umss_jax.audio.config import FileConfig
from umss_jax.audio.recording import Recording
from umss_jax.audio.stretching import Stretcher, stretched_samples
from umss_jax.config import VOICES
from umss_jax.errors import UsageError
from umss_jax.separation.config import PracticeConfig
from umss_jax.separation.encodings import Encoding
from umss_jax.separation.outputs import IN_FRONT, MISSING
from umss_jax.separation.pitch_files import need_package
from umss_jax.separation.stem_writer import StemWriter
from umss_jax.separation.stream import Progress, renamed

Blocks = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
"""The recording by blocks ``[C, n]``, each with its stems ``[J, C, n]``; each call begins again."""


class Mix(NamedTuple):
    """A mix of a recording with one part at another level than the rest."""

    name: str
    """Of its file, without extension."""
    part: int
    """Number of the voice."""
    rest_gain: float
    """Of the recording, in which the part is as loud as all else."""
    part_gain: float
    """Of the part besides."""


def check_practice(config: PracticeConfig, has_voice: bool) -> None:
    """Refuses before the work what could not be written after it, such as practice without a voice.

    Raises:
        UsageError: there is no part to practise, or the library that another tempo needs is not
            installed.
    """
    if not has_voice:
        raise UsageError("--practice has no part to put in front", "name a voice in --stems")
    if config.tempo != 1:
        need_package("--tempo", "python_stretch", "practice")


def practice_mixes(
    parts: Sequence[str], config: PracticeConfig, voices: Sequence[str]
) -> list[Mix]:
    """Two mixes of every voice among the parts, in the order of the voices."""
    others = 10 ** (config.others_db / 20)
    mixes = []
    for number, voice in enumerate(voices):
        if voice in parts:
            mixes.append(Mix(voice + IN_FRONT, number, others, 1 - others))
            mixes.append(Mix(voice + MISSING, number, 1.0, -1.0))
    return mixes


def write_practice(
    recording: Recording,
    blocks: Blocks,
    folder: Path,
    encoding: Encoding,
    config: PracticeConfig,
    tags: Mapping[str, Mapping[str, str]],
    progress: Progress | None = None,
    voices: Sequence[str] = VOICES,
) -> float:
    """Writes the mixes that ``tags`` names, with the texts of each.

    They have the recording's rate and channels, and its length by the tempo to the sample.

    Returns:
        The gain of all of them: 1 unless one would have passed full scale.
    """
    mixes = [mix for mix in practice_mixes(voices, config, voices) if mix.name in tags]

    def write(gain: float, progress: Progress | None) -> float:
        return _write_at(recording, blocks(), folder, encoding, config, mixes, tags, gain, progress)

    peak = write(1.0, progress)
    if peak <= 1:
        return 1.0
    gain = FileConfig.rescaled_peak / peak
    write(gain, renamed(progress, "practice softer"))
    return gain


def _write_at(
    recording: Recording,
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    folder: Path,
    encoding: Encoding,
    config: PracticeConfig,
    mixes: Sequence[Mix],
    tags: Mapping[str, Mapping[str, str]],
    gain: float,
    progress: Progress | None,
) -> float:
    """Writes the mixes at one gain; returns the highest peak before anything is cut."""
    rate, channels = recording.sample_rate_hz, recording.channels
    length = stretched_samples(recording.samples, config.tempo)
    peak = 0.0
    with contextlib.ExitStack() as stack:
        sinks = []
        for mix in mixes:
            path = folder / f"{mix.name}.{encoding.extension}"
            about = recording._replace(samples=length)
            writer = StemWriter(path, encoding, about, tags[mix.name])
            stack.callback(writer.close)
            sinks.append((writer, Stretcher(rate, channels, recording.samples, config.tempo)))

        def put(writer: StemWriter, made: np.ndarray) -> float:
            writer.write(_as_written(made * np.float32(gain), encoding))
            return float(np.abs(made).max(initial=0.0)) * gain

        for block, stems in blocks:
            for mix, (writer, stretcher) in zip(mixes, sinks, strict=True):
                mixed = mix.rest_gain * block + mix.part_gain * stems[mix.part]
                peak = max(peak, put(writer, stretcher.push(mixed.astype(np.float32))))
            if progress is not None:
                progress("practice", block.shape[1] / rate)
        for writer, stretcher in sinks:
            peak = max(peak, put(writer, stretcher.finish()))
    return peak


def _as_written(sound: np.ndarray, encoding: Encoding) -> np.ndarray:
    """In the numbers of the file, cut at full scale: what is cut is written again, softer."""
    scale = encoding.full_scale
    if not scale:
        return np.clip(sound, -1.0, 1.0)
    whole = np.rint(sound.astype(np.float64) * scale)
    return np.clip(whole, -scale, scale - 1).astype(np.int32)
