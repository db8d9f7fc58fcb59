"""Stems of the model's band (8 kHz) reach the recording's: block by block, in constant memory.

The recording is divided in two bands that sum to it: the lower is what came to the model and back
by the resamplers of the stems, the upper is the rest. So whatever lies at the border is neither
doubled nor lost. The upper band is shared out by the masks of
:mod:`umss_jax.separation.high_masks`, the same for every channel, on frames that depend on the
recording alone; what they leave is the residual's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from umss_jax.audio.config import FileConfig
from umss_jax.audio.resampling import StreamResampler, block_length, resampled_samples
from umss_jax.interruption import check
from umss_jax.separation.high_masks import WINDOWS_OVERLAP, Plan, steady_tones, upper_masks

_HANN_SQUARES = 1.5  # sum of the squares of periodic Hann windows a quarter apart


class BandSharer:
    """Brings stems of the model's band to the recording's, block by block.

    Args:
        plan: the recording, and how it is shared out.
        f0_hz_synth: float ``[J, frames]`` of the whole recording, 0 where unvoiced.
        full_band: whether stems get their part of the upper band; else they stay as they are.
    """

    def __init__(self, plan: Plan, f0_hz_synth: np.ndarray, full_band: bool = True) -> None:
        self._plan, self._voices = plan, len(f0_hz_synth)
        self._tones = steady_tones(f0_hz_synth, plan)
        self._shares_out = full_band and plan.is_wider
        self._left, self._energy = 0.0, 0.0

    @property
    def residual(self) -> float:
        """Share of the energy in the model's band that no stem holds, of all blocks so far."""
        return self._left / (self._energy or 1.0)

    def share_out(
        self, recording: Iterable[np.ndarray], stems: Iterable[np.ndarray]
    ) -> Iterator[np.ndarray]:
        """The stems with their share of the upper band.

        Args:
            recording: blocks ``[C, n]`` of any length, ``plan.samples`` in all.
            stems: blocks ``[J · C, n]`` at the recording's rate with the model's band only.

        Yields:
            float32 ``[J · C, n]``, ``plan.samples`` in all; the stems themselves where the rate is
            the model's or lower, or where the upper band is not shared out.
        """
        plan = self._plan
        rows = self._voices * plan.channels
        count = frames_at_once(plan, self._voices)
        fed = _in_step(
            (_both_bands(recording, plan), stems), (2 * plan.channels, rows), count * plan.hop
        )
        past = np.zeros((2 * plan.channels + rows, plan.frame - plan.hop), np.float32)
        tail = np.zeros((rows, plan.frame - plan.hop), np.float32)
        skipped, left, number = plan.frame - plan.hop, plan.samples, 0
        while left > 0:
            check()
            present = np.concatenate([past, np.concatenate(next(fed))], axis=1)
            past = present[:, count * plan.hop :]
            ready = present[2 * plan.channels :, : count * plan.hop]
            if self._shares_out:
                upper = self._upper(present, number)
                upper[:, : tail.shape[1]] += tail
                tail = upper[:, count * plan.hop :]
                ready = ready + upper[:, : count * plan.hop]
            number += count
            drop = min(skipped, ready.shape[1])
            skipped -= drop
            self._measure(present[:, drop : count * plan.hop][:, :left])
            ready = ready[:, drop:][:, :left]
            left -= ready.shape[1]
            yield ready

    def _measure(self, present: np.ndarray) -> None:
        channels = self._plan.channels
        lower = present[channels : 2 * channels].astype(np.float64)
        sung = present[2 * channels :].reshape(self._voices, channels, -1).sum(axis=0)
        self._energy += float(np.vdot(lower, lower))
        self._left += float(np.square(lower - sung).sum())

    def _upper(self, present: np.ndarray, number: int) -> np.ndarray:
        """Every stem's part of the upper band in the frames from ``number`` on, overlapped."""
        plan, channels = self._plan, self._plan.channels
        window = np.hanning(plan.frame + 1)[:-1].astype(np.float32)
        framed = np.lib.stride_tricks.sliding_window_view(present, plan.frame, axis=1)
        spectrum = np.fft.rfft(framed[:, :: plan.hop] * window)
        upper, lower = spectrum[:channels], spectrum[channels : 2 * channels]
        stems = spectrum[2 * channels :].reshape(self._voices, channels, *spectrum.shape[1:])
        sources = np.concatenate([stems, (lower - stems.sum(axis=0))[None]])
        at = self._tones.at(number + np.arange(spectrum.shape[1]), plan)
        masks = upper_masks(_power(sources), _power(upper), at, plan)
        parts = np.fft.irfft(masks[:, None] * upper, n=plan.frame) * (window / _HANN_SQUARES)
        parts = parts.reshape(-1, *parts.shape[2:]).astype(np.float32)
        frames, hop = parts.shape[1], plan.hop
        summed = np.zeros((len(parts), (frames - 1) * hop + plan.frame), np.float32)
        for k in range(frames):
            summed[:, k * hop : k * hop + plan.frame] += parts[:, k]
        return summed


def _power(spectrum: np.ndarray) -> np.ndarray:
    """Of all channels ``[..., C, T, F]`` together."""
    squares = np.square(spectrum.real) + np.square(spectrum.imag)
    return np.asarray(squares.sum(axis=-3))


def frames_at_once(plan: Plan, voices: int) -> int:
    """How many frames are computed at a time: a function of recording and voices alone.

    So results do not depend on how it is read.
    """
    rows = 2 * WINDOWS_OVERLAP * (voices + 2) * plan.channels
    return max(1, block_length(rows, 1, 1, FileConfig.block_samples // 4) // plan.hop)


def _both_bands(recording: Iterable[np.ndarray], plan: Plan) -> Iterator[np.ndarray]:
    """The upper and the lower band of a recording, ``[2 C, n]``.

    The lower is what came to the model and back by the resamplers of the stems, the upper the rest.
    """
    rate_hz, rate_16k = plan.rate_hz, plan.audio.sample_rate_hz
    samples_16k = resampled_samples(plan.samples, rate_hz, rate_16k)
    down = StreamResampler(rate_hz, rate_16k, plan.channels, samples_16k)
    up = StreamResampler(rate_16k, rate_hz, plan.channels, plan.samples)
    waiting = np.zeros((plan.channels, 0), np.float32)

    def bands(lower: np.ndarray) -> np.ndarray:
        nonlocal waiting
        length = lower.shape[1]
        whole, waiting = waiting[:, :length], waiting[:, length:]
        return np.concatenate([whole - lower, lower])

    for block in recording:
        waiting = np.concatenate([waiting, block], axis=1)
        yield bands(up.push(down.push(block)))
    yield bands(up.push(down.finish()))
    yield bands(up.finish())


def _in_step(
    streams: tuple[Iterator[np.ndarray] | Iterable[np.ndarray], ...],
    rows: tuple[int, ...],
    length: int,
) -> Iterator[list[np.ndarray]]:
    """Streams of blocks in step: ``length`` samples of each at a time, silence after their ends."""
    sources = [iter(stream) for stream in streams]
    held = [np.zeros((count, 0), np.float32) for count in rows]
    while True:
        for index, source in enumerate(sources):
            pieces, missing = [held[index]], length - held[index].shape[1]
            while missing > 0:
                piece = next(source, None)
                if piece is None:
                    piece = np.zeros((rows[index], missing), np.float32)
                pieces.append(piece)
                missing -= piece.shape[1]
            if len(pieces) > 1:  # a recording in memory is one piece, not to be copied every time
                held[index] = np.concatenate(pieces, axis=1)
        yield [block[:, :length] for block in held]
        held = [block[:, length:] for block in held]
