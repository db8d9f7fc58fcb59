"""Sound at another tempo and the same pitch (`python-stretch`, extra ``practice``).

The library, Signalsmith Stretch, is a phase vocoder that finds spectral peaks and transients and
takes a whole sound. Here it is given pieces that overlap, so that memory does not grow with the
length. Two pieces are joined where their overlap is quietest, at the lag at which they agree best.
"""

from __future__ import annotations

import numpy as np

from umss_jax.audio.config import StretchConfig


def stretched_samples(samples: int, tempo: float) -> int:
    """Length of a sound of that many samples at another tempo: 0.8 makes it longer by a quarter."""
    return round(samples / tempo)


class Stretcher:
    """Stretches a sound block by block.

    Args:
        sample_rate_hz: Its rate.
        channels: Rows of every block.
        samples: Samples per channel that will be pushed in all.
        tempo: Of the result as a part of the sound's own; at 1 blocks come back as they are.
        config: How it is done.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        channels: int,
        samples: int,
        tempo: float,
        config: StretchConfig = StretchConfig(),
    ) -> None:
        self._rate, self._tempo, self._samples, self._config = (
            sample_rate_hz,
            tempo,
            samples,
            config,
        )
        self._piece = round(config.piece_s * sample_rate_hz)
        self._overlap = round(config.overlap_s * sample_rate_hz)
        self._waiting: list[np.ndarray] = []
        self._start = 0  # of what waits, in the sound
        self._done = 0  # samples that came back
        self._held = np.zeros((channels, 0), np.float32)  # stretched from `_done` on, not joined

    def push(self, block: np.ndarray) -> np.ndarray:
        """Takes float32 ``[channels, n]`` and returns the ``[channels, m]`` that are ready."""
        if self._tempo == 1:
            return block
        self._waiting.append(block)
        ready = []
        # The last piece is never short: two pieces' worth must wait before one is taken.
        while self._waits() >= 2 * self._piece + self._overlap:
            heard = np.concatenate(self._waiting, axis=1)
            ready.append(self._join(heard[:, : self._piece + self._overlap]))
            self._waiting = [heard[:, self._piece :]]
            self._start += self._piece
        return np.concatenate([self._held[:, :0], *ready], axis=1)

    def finish(self) -> np.ndarray:
        """Returns what is left: together :func:`stretched_samples` of all that was pushed."""
        if self._tempo == 1 or not self._waiting:
            return self._held[:, :0]
        begun = self._join(np.concatenate(self._waiting, axis=1))
        rest = self._held[:, : stretched_samples(self._samples, self._tempo) - self._done]
        missing = stretched_samples(self._samples, self._tempo) - self._done - rest.shape[1]
        return np.pad(np.concatenate([begun, rest], axis=1), ((0, 0), (0, missing)))

    def _waits(self) -> int:
        return sum(block.shape[1] for block in self._waiting)

    def _join(self, piece: np.ndarray) -> np.ndarray:
        """Stretches the next piece and returns what comes before its join with the one held."""
        new = stretch_whole(piece, self._rate, self._tempo, self._config)
        at = stretched_samples(self._start, self._tempo)
        if not self._held.shape[1]:
            self._held = new
            return new[:, :0]
        half = round(self._config.fade_s * self._rate / 2)
        lags = round(self._config.largest_lag_s * self._rate)
        old = self._held[:, at - self._done :]  # both begin at the same moment
        shared = min(old.shape[1], new.shape[1])
        place = _quietest(old[:, :shared], half, half + 2 * lags)
        lag = _best_lag(old, new, place, half, lags)
        fade = np.sin(np.linspace(0, np.pi / 2, 2 * half, dtype=np.float32)) ** 2
        faded = (1 - fade) * old[:, place - half : place + half]
        faded = faded + fade * new[:, place - half + lag : place + half + lag]
        ready = self._held[:, : at - self._done + place - half]
        self._held = np.concatenate([faded, new[:, place + half + lag :]], axis=1)
        self._done += ready.shape[1]
        return ready


def stretch_whole(
    sound: np.ndarray, sample_rate_hz: int, tempo: float, config: StretchConfig = StretchConfig()
) -> np.ndarray:
    """Float32 ``[channels, n]`` at another tempo, ``[channels, stretched_samples(n, tempo)]``.

    The windows are shorter than the library's own, for the sake of consonants.
    """
    from python_stretch.Signalsmith import Stretch

    samples = stretched_samples(sound.shape[1], tempo)
    window, hop = (round(s * sample_rate_hz) for s in (config.window_s, config.hop_s))
    stretch = Stretch(config.seed)
    stretch.configure(len(sound), window, hop)
    stretch.setTimeFactor(tempo)
    # It must have a window to hear before it can begin.
    padded = np.pad(np.asarray(sound, np.float32), ((0, 0), (0, 2 * window)))
    made = np.array(stretch.process(np.ascontiguousarray(padded)), np.float32)[:, :samples]
    return np.pad(made, ((0, 0), (0, samples - made.shape[1])))


def _quietest(sound: np.ndarray, half: int, margin: int) -> int:
    """The sample around which least energy lies, not within a margin of both ends."""
    power = np.concatenate([[0.0], np.cumsum((sound.astype(np.float64) ** 2).sum(axis=0))])
    around = power[2 * half :] - power[: -2 * half]  # around[i]: of samples i … i + 2 · half
    places = np.arange(len(around)) + half
    inside = (places >= margin) & (places <= sound.shape[1] - margin)
    return int(places[inside][np.argmin(around[inside])])


def _best_lag(old: np.ndarray, new: np.ndarray, place: int, half: int, lags: int) -> int:
    """By how many samples the new piece is to be shifted to be most like the old one there."""
    kept = old[:, place - half : place + half].astype(np.float64)
    offered = np.lib.stride_tricks.sliding_window_view(
        new[:, place - half - lags : place + half + lags].astype(np.float64), 2 * half, axis=1
    )
    likeness = np.einsum("cn,cln->l", kept, offered)
    level = np.sqrt(np.einsum("cln,cln->l", offered, offered)) + 1e-12
    return int(np.argmax(likeness / level)) - lags
