"""Does a recording look like its singers a cappella? Measured from what separation computes.

The model shares every recording out among the voices, also one that has none: so what it found is
compared with what it finds in quartets, in constant memory, block by block.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from umss_jax.config import AudioConfig, VoicesConfig
from umss_jax.pitch.grid import midi_to_hz
from umss_jax.separation.config import LikenessConfig
from umss_jax.words import NUMBERS

_BIN_HZ, _BINS, _BINS_PER_OCTAVE = 20.0, 600, 60  # of the histograms of pitch
_STILL_SEMITONES = 0.01


class Likeness(NamedTuple):
    """What was measured of a recording; None where there was nothing to measure it by."""

    sounding_s: float
    """Time in which it sounds."""
    pitches_at_once: float | None
    """Mean number of different pitches that the voices were given."""
    four_at_once: float | None
    """Share of the time with a different one of each voice: of quartets, with four."""
    five_or_more: float | None
    """Share of the frames with pitches in which the salience shows more than there are voices: of
    quartets, five or more."""
    still: float | None
    """Share of frames of a voice whose pitch is that of the frame before."""
    centre_hz: float | None
    """Geometric mean of the median pitches of the voices."""
    above_4_khz_db: float | None
    """Energy there, of all below 8 kHz."""
    residual: float | None
    """Share of the energy below 8 kHz in the residual: what lies above is air, or rejected."""

    def findings(
        self,
        config: LikenessConfig = LikenessConfig(),
        voices: VoicesConfig = VoicesConfig(),
    ) -> list[str]:
        """What does not look like the voices a cappella, with its measure; nothing if all does.

        Of less sound than ``config.least_s`` nothing is said.
        """
        if self.sounding_s < config.least_s:
            return []
        found, shift = [], _centre_of(voices) / _centre_of(VoicesConfig())
        lowest, highest = (shift * hz for hz in config.centre_hz)
        number = len(voices)
        is_few = self.four_at_once is not None and self.four_at_once < config.least_four_at_once
        if is_few:
            found.append(
                f"{NUMBERS[number]} different pitches at once in {self.four_at_once:.0%} of the "
                f"time, on average {self.pitches_at_once:.1f}"
            )
        if self.five_or_more is not None and self.five_or_more > config.most_five_or_more:
            more = NUMBERS[number + 1]
            found.append(f"{more} or more pitches at once in {self.five_or_more:.0%} of the time")
        if self.still is not None and not is_few and self.still > config.most_still:
            found.append(f"pitches that stand still, as of an instrument, in {self.still:.0%}")
        if self.centre_hz is not None and not is_few and not lowest < self.centre_hz < highest:
            than = "lower" if self.centre_hz <= lowest else "higher"
            found.append(f"voices around {self.centre_hz:.0f} Hz, {than} than of {_who(voices)}")
        if self.above_4_khz_db is not None and self.above_4_khz_db < config.least_above_4_khz_db:
            found.append(f"nothing above 4 kHz ({self.above_4_khz_db:.0f} dB)")
        if self.residual is not None and self.residual > config.most_residual:
            found.append(f"{self.residual:.0%} of the energy in the residual")
        return found

    def warning(self, name: str, voices: VoicesConfig = VoicesConfig()) -> str:
        """The findings about a recording in one line; empty where there are none."""
        found = "; ".join(self.findings(voices=voices))
        number = NUMBERS[len(voices)]
        what = f"{name} does not look like {number} singers ({_who(voices)}) a cappella ({found})"
        return f"{what}: listen whether the stems are what they are called" if found else ""


def _who(voices: VoicesConfig) -> str:
    return "SATB" if voices.is_usual else ", ".join(voices.names)


def _centre_of(voices: VoicesConfig) -> float:
    """Geometric mean of the middles of their ranges, Hz."""
    notes = (*voices.lowest_notes, *voices.highest_notes)
    return float(midi_to_hz(sum(notes) / len(notes)))


class Likening:
    """Measures a recording block by block.

    Args:
        peak: largest absolute sample of the recording.
        audio: rate and hop of the blocks.
        voices: that it is separated into.
    """

    def __init__(
        self,
        peak: float,
        audio: AudioConfig,
        voices: VoicesConfig = VoicesConfig(),
        config: LikenessConfig = LikenessConfig(),
    ) -> None:
        self._audio, self._voices, self._config = audio, voices, config
        self._least_power = (config.sounding * peak) ** 2
        self._frames, self._different, self._all = 0, 0, 0
        self._pitched, self._many, self._knows_many = 0, 0, True
        self._pairs, self._still = 0, 0
        self._histograms = np.zeros((len(self._voices), _BINS), np.int64)
        self._energy, self._high = 0.0, 0.0

    def add(self, stems: np.ndarray, f0_hz: np.ndarray, pitches: np.ndarray) -> None:
        """Takes stems ``[J, C, n]``, F0 ``[J, frames]`` and pitches of the salience ``[frames]``.

        Those are negative where they are not known.
        """
        mixture = stems.sum(axis=0, dtype=np.float64)
        hop, frames = self._audio.hop_samples, f0_hz.shape[1]
        padded = np.pad(mixture, ((0, 0), (0, frames * hop - mixture.shape[1])))
        power = np.mean(padded.reshape(len(mixture), frames, hop) ** 2, axis=(0, 2))
        sounds = power > self._least_power
        spectrum = np.abs(np.fft.rfft(mixture * np.hanning(mixture.shape[1]))) ** 2
        above = spectrum.shape[1] * 8_000 // self._audio.sample_rate_hz
        self._energy += float(spectrum.sum())
        self._high += float(spectrum[:, above:].sum())
        self._add_pitches(f0_hz[:, sounds], pitches[sounds])

    def _add_pitches(self, f0_hz: np.ndarray, pitches: np.ndarray) -> None:
        if not f0_hz.shape[1]:
            return
        is_sung = f0_hz > 0
        semitones = np.where(is_sung, 12 * np.log2(np.maximum(f0_hz, 1) / _BIN_HZ), -np.inf)
        ordered = np.sort(semitones, axis=0)
        with np.errstate(invalid="ignore"):  # of two that are silent
            is_new = np.diff(ordered, axis=0) > self._config.different_semitones
        different = np.isfinite(ordered[0]) + (is_new & np.isfinite(ordered[1:])).sum(axis=0)
        self._frames += f0_hz.shape[1]
        self._different += int(different.sum())
        self._all += int((different == len(self._voices)).sum())
        self._pitched += int((pitches > 0).sum())
        self._many += int((pitches > len(self._voices)).sum())
        self._knows_many &= bool((pitches >= 0).all())
        both = is_sung[:, 1:] & is_sung[:, :-1]
        moved = np.abs(np.diff(np.where(is_sung, semitones, 0.0), axis=1))
        self._pairs += int(both.sum())
        self._still += int((both & (moved < _STILL_SEMITONES)).sum())
        bins = np.clip(np.rint(semitones * _BINS_PER_OCTAVE / 12), 0, _BINS - 1)
        for voice, sung in enumerate(is_sung):
            counts = np.bincount(bins[voice, sung].astype(int), minlength=_BINS)
            self._histograms[voice] += counts

    def result(self, residual: float | None = None) -> Likeness:
        """All that was measured, and the share of the energy below 8 kHz in the residual."""
        return Likeness(
            sounding_s=self._frames * self._audio.hop_s,
            pitches_at_once=_share(self._different, self._frames),
            four_at_once=_share(self._all, self._frames),
            five_or_more=_share(self._many, self._pitched) if self._knows_many else None,
            still=_share(self._still, self._pairs),
            centre_hz=self._centre_hz(),
            above_4_khz_db=(
                10 * math.log10(max(self._high / self._energy, 1e-12)) if self._energy else None
            ),
            residual=residual,
        )

    def _centre_hz(self) -> float | None:
        sung = self._histograms[self._histograms.sum(axis=1) > 0]
        if not len(sung):
            return None
        cumulated = np.cumsum(sung, axis=1)
        medians = np.argmax(cumulated >= cumulated[:, -1:] / 2, axis=1)
        return float(_BIN_HZ * 2 ** (medians.mean() / _BINS_PER_OCTAVE))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
