"""Recordings at another rate, block by block; the model itself has :mod:`umss_jax.dsp.resample`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import soxr

from umss_jax.audio.arrays import Sound
from umss_jax.audio.config import FileConfig
from umss_jax.audio.recording import Recording, choose_downmix, read_blocks
from umss_jax.config import AudioConfig


class Sound16k(NamedTuple):
    """A recording at the model's rate, 16 kHz."""

    blocks: Iterable[np.ndarray]
    """float32 ``[C, n]``, ``samples`` in all."""
    samples: int
    """Length in samples."""
    downmix: tuple[float, ...]
    """Weight of every channel in the mono mixture."""
    peak: float
    """Largest absolute sample of the recording, against which silence is judged."""


class StreamResampler:
    """Resamples block by block without delay: equal to resampling the whole at once.

    Args:
        from_hz: Rate of what is pushed.
        to_hz: Rate of what comes back.
        channels: Rows of every block.
        samples: Samples per channel to return in all; the end is padded with silence if needed.
    """

    def __init__(self, from_hz: int, to_hz: int, channels: int, samples: int) -> None:
        self._left = samples
        self._channels = channels
        self._stream = None
        if from_hz != to_hz:
            self._stream = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32")
        # Silence that pushes the last samples out: soxr rounds its own length down.
        self._tail = 64 * -(-from_hz // to_hz) + 64

    def push(self, block: np.ndarray) -> np.ndarray:
        """Takes ``[channels, n]`` and returns the ``[channels, m]`` that are ready (m may be 0)."""
        return self._cut(self._resample(block, last=False))

    def finish(self) -> np.ndarray:
        """Returns what is left, so that all blocks together have the samples promised."""
        rest = self._cut(self._resample(np.zeros((self._channels, self._tail)), last=True))
        return np.pad(rest, ((0, 0), (0, self._left)))

    def _resample(self, block: np.ndarray, last: bool) -> np.ndarray:
        block = np.asarray(block, np.float32)
        if self._stream is None:
            return block
        # A copy: soxr hands back a view of a buffer that it may use again.
        interleaved = self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last)
        return np.array(interleaved.reshape(-1, self._channels).T)

    def _cut(self, block: np.ndarray) -> np.ndarray:
        block = block[:, : self._left]
        self._left -= block.shape[1]
        return block


def resampled_samples(samples: int, from_hz: int, to_hz: int) -> int:
    """Number of samples at another rate that covers ``samples`` (rounded up)."""
    return -(-samples * to_hz // from_hz)


def block_length(rows: int, from_hz: int, to_hz: int, at_most: int) -> int:
    """Samples per row to resample at once, so that neither side exceeds what a block may hold."""
    from_one = rows * max(1, -(-to_hz // from_hz))
    return max(1, min(at_most, FileConfig.block_values // from_one))


def read_16k(recording: Recording, audio: AudioConfig) -> Sound16k:
    """A scanned recording, read and resampled to the model's rate as its blocks are asked for."""
    from_hz, to_hz = recording.sample_rate_hz, audio.sample_rate_hz
    samples = resampled_samples(recording.samples, from_hz, to_hz)

    length = block_length(recording.channels, from_hz, to_hz, FileConfig.block_samples)

    def blocks() -> Iterator[np.ndarray]:
        resampler = StreamResampler(from_hz, to_hz, recording.channels, samples)
        for block in read_blocks(recording, length):
            yield resampler.push(block)
        yield resampler.finish()

    return Sound16k(blocks(), samples, recording.downmix, recording.peak)


def array_16k(sound: Sound, audio: AudioConfig) -> Sound16k:
    """A recording in memory, resampled, in one block."""
    channels, from_hz = sound.channels, sound.sample_rate_hz
    channel_peaks = np.abs(channels).max(axis=1)
    downmix = choose_downmix(channel_peaks, float(np.abs(channels.mean(axis=0)).max()))
    rate_16k = audio.sample_rate_hz
    samples = resampled_samples(channels.shape[1], from_hz, rate_16k)
    block = resample_whole(channels, from_hz, rate_16k, samples)
    return Sound16k([block], samples, downmix, float(channel_peaks.max()))


def resample_whole(block: np.ndarray, from_hz: int, to_hz: int, samples: int) -> np.ndarray:
    """``[channels, n]`` at once, to ``samples`` a channel, as :class:`StreamResampler` does it."""
    resampler = StreamResampler(from_hz, to_hz, len(block), samples)
    return np.concatenate([resampler.push(block), resampler.finish()], axis=1)
