"""Stems at 16 kHz become audio files that sum to the recording, at its rate and in its channels.

What lies above 8 kHz is shared out by :mod:`umss_jax.separation.high_band` on the way.

The residual is what the *written* stems leave of the input, so rounding and cutting of the stems
end up in it instead of in the sum.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from umss_jax.audio.config import FileConfig
from umss_jax.audio.recording import Recording, read_blocks
from umss_jax.audio.resampling import StreamResampler, block_length
from umss_jax.audio.writing import SoundWriter
from umss_jax.config import VOICES, AudioConfig
from umss_jax.errors import AudioError
from umss_jax.separation.config import ClipMode
from umss_jax.separation.encodings import Encoding, check_encoding
from umss_jax.separation.high_band import BandSharer
from umss_jax.separation.high_masks import Plan
from umss_jax.separation.outputs import RESIDUAL, sounds_of
from umss_jax.separation.stream import Progress, renamed

_RIFF_LIMIT_BYTES = 0xFFFF_0000


class StemWriter:
    """Writes one stem block by block, at the rate, in the channels and length of the recording.

    Raises:
        AudioError: The format cannot hold this rate or number of channels.
    """

    def __init__(
        self,
        path: Path,
        encoding: Encoding,
        recording: Recording,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        check_encoding(encoding, recording)
        container = encoding.container
        if container == "WAV" and recording.samples * recording.channels * 4 > _RIFF_LIMIT_BYTES:
            container = "RF64"  # WAV with 64-bit lengths: plain WAV ends at 4 GiB.
        try:
            self._file = SoundWriter(
                path,
                recording.sample_rate_hz,
                recording.channels,
                encoding.subtype,
                container,
                tags,
            )
        except (soundfile.SoundFileError, ValueError, TypeError) as error:
            raise AudioError(
                f"{recording.path}: {container} cannot hold {recording.channels} channels at "
                f"{recording.sample_rate_hz} Hz",
                "convert the input",
            ) from error

    def write(self, block: np.ndarray) -> None:
        """Appends ``[channels, n]``: float32, or int32 of 24 bits for a 24-bit encoding."""
        if block.dtype == np.int32:
            block = block << 8  # libsndfile takes the upper 24 bits of each integer.
        self._file.write(np.ascontiguousarray(block.T))

    def close(self) -> None:
        """Finishes the file."""
        self._file.close()


class Separated16k(NamedTuple):
    """What the first pass over a recording found."""

    scratch: Path
    """Stems at the model's rate, interleaved float32 ``[n, J, C]``."""
    f0_hz_synth: np.ndarray
    """float32 ``[J, frames]``, 0 where unvoiced."""
    audio: AudioConfig
    """Rate and hop of the model."""
    full_band: bool
    """Whether stems get their part of what lies above the model's band."""
    voices: tuple[str, ...] = VOICES


class Level(NamedTuple):
    """At which level the files of a recording were written."""

    gain: float
    """Of all files; 1 unless the stems had to be turned down."""
    clipped_samples: int
    """Samples that were cut at full scale."""
    residual: float
    """Share of the recording's energy below 8 kHz that the residual holds."""


def write_stems(
    recording: Recording,
    separated: Separated16k,
    folder: Path,
    encoding: Encoding,
    clip_mode: ClipMode,
    progress: Progress | None = None,
    tags: Mapping[str, Mapping[str, str]] | None = None,
) -> Level:
    """Writes the sounds in one pass over the recording, or in two where they would clip.

    ``tags`` names those that are written, with the texts of each; None: all, without texts. What a
    sound holds, the residual too, does not depend on which others are written.
    """
    sounds = sounds_of(separated.voices)
    tags = {name: {} for name in sounds} if tags is None else tags

    def write(gain: float, progress: Progress | None) -> _Written:
        sharer = _sharer(recording, separated)
        stems = full_band_stems(recording, separated, sharer)
        written = _write_at(
            recording, stems, folder, encoding, gain, clip_mode, progress, tags, sounds
        )
        return written._replace(residual=sharer.residual)

    gain = 1.0
    written = write(gain, progress)
    if written.clipped and clip_mode == ClipMode.RESCALE:
        gain = FileConfig.rescaled_peak / written.peak
        written = write(gain, renamed(progress, "writing softer"))
    return Level(gain, written.clipped, written.residual)


class _Written(NamedTuple):
    """Of the files at one gain: peak before cutting, samples cut, share of the residual."""

    peak: float
    clipped: int
    residual: float = 0.0


def _sharer(recording: Recording, separated: Separated16k) -> BandSharer:
    about = Plan(
        recording.sample_rate_hz,
        recording.channels,
        recording.samples,
        recording.peak,
        separated.audio,
    )
    return BandSharer(about, separated.f0_hz_synth, separated.full_band)


def full_band_stems(
    recording: Recording, separated: Separated16k, sharer: BandSharer | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The recording by blocks ``[C, n]``, each with its stems ``[J, C, n]``, float32."""
    sharer = sharer or _sharer(recording, separated)
    upsampled = _upsampled(recording, separated)
    # Decoded once for both: the sharer is ahead of its stems by a few blocks.
    ahead, blocks = itertools.tee(read_blocks(recording))
    full_band = sharer.share_out(ahead, upsampled)
    voices = len(separated.voices)
    ready = np.zeros((voices * recording.channels, 0), np.float32)
    for block in blocks:
        while ready.shape[1] < block.shape[1]:
            ready = np.concatenate([ready, next(full_band)], axis=1)
        stems = ready[:, : block.shape[1]].reshape(voices, recording.channels, -1)
        ready = ready[:, block.shape[1] :]
        yield block, stems


def _write_at(
    recording: Recording,
    full_band: Iterator[tuple[np.ndarray, np.ndarray]],
    folder: Path,
    encoding: Encoding,
    gain: float,
    clip_mode: ClipMode,
    progress: Progress | None,
    tags: Mapping[str, Mapping[str, str]],
    sounds: tuple[str, ...],
) -> _Written:
    """Writes the sounds at one gain."""
    rescale = clip_mode == ClipMode.RESCALE
    can_clip = encoding.full_scale or encoding.is_lossy
    peak, clipped = 0.0, 0
    with contextlib.ExitStack() as stack:
        writers: dict[str, StemWriter] = {}
        for name, texts in tags.items():
            path = folder / f"{name}.{encoding.extension}"
            writers[name] = StemWriter(path, encoding, recording, texts)
            stack.callback(writers[name].close)
        for block, stems in full_band:
            left = _to_full_scale(block, gain, encoding)
            for voice, name in enumerate(sounds):
                is_residual = name == RESIDUAL
                exact = left if is_residual else _to_full_scale(stems[voice], gain, encoding)
                written, block_peak, cut = _limit(exact, encoding, clip_mode)
                if name in writers:
                    writers[name].write(written)
                # What is cut will not stay so when rescaling: it must not swell the residual.
                left = left - (exact if can_clip and rescale else written)
                peak, clipped = max(peak, block_peak), clipped + cut
            if progress is not None:
                progress("writing", block.shape[1] / recording.sample_rate_hz)
    return _Written(peak, clipped)


def _upsampled(recording: Recording, separated: Separated16k) -> Iterator[np.ndarray]:
    """The stems at the recording's rate, ``[J · C, n]``."""
    rate_16k = separated.audio.sample_rate_hz
    width = len(separated.voices) * recording.channels
    resampler = StreamResampler(rate_16k, recording.sample_rate_hz, width, recording.samples)
    at_most = FileConfig.block_samples // 4
    length = block_length(width, rate_16k, recording.sample_rate_hz, at_most)
    block_bytes = length * width * 4
    with separated.scratch.open("rb") as file:
        while data := file.read(block_bytes):
            yield resampler.push(np.frombuffer(data, np.float32).reshape(-1, width).T)
    yield resampler.finish()


def _to_full_scale(block: np.ndarray, gain: float, encoding: Encoding) -> np.ndarray:
    """float64 in units of the file: rounded to its integers, or as it is for floating point."""
    scaled = block.astype(np.float64) * gain
    return np.rint(scaled * encoding.full_scale) if encoding.full_scale else scaled


def _limit(
    exact: np.ndarray, encoding: Encoding, clip_mode: ClipMode
) -> tuple[np.ndarray, float, int]:
    """What is written of a block, its peak relative to full scale, and how many samples are cut."""
    full_scale = encoding.full_scale or 1
    peak = float(np.abs(exact).max(initial=0.0)) / full_scale
    limited = exact
    if encoding.full_scale:
        limited = np.clip(exact, -full_scale, full_scale - 1)
    elif encoding.is_lossy or clip_mode == ClipMode.CLAMP:
        limited = np.clip(exact, -1.0, 1.0)
    kind = np.int32 if encoding.full_scale else np.float32
    return limited.astype(kind), peak, int(np.count_nonzero(limited != exact))
