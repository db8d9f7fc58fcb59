"""From a score to what every singer does: pitch, loudness, breath, vowels, frame by frame.

What it imitates, and from where: pitch moves from note to note as a damped oscillator that
overshoots, with fine fluctuation (Saitou, Unoki, Akagi 2005); vibrato of 5 to 6.5 Hz sets in late;
intonation is off by some cents and drifts; syllables begin with voiced consonants, hisses, stops or
nothing; first formants follow the pitch where that would pass them; breaths end phrases. All of it
is drawn from a seeded generator, NumPy alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import signal

from umss_jax.chorales.config import ChoraleConfig
from umss_jax.chorales.formants import (
    VOWELS,
    consonant_polynomial,
    line_spectrum,
    power_gain,
    vowel_polynomial,
)
from umss_jax.chorales.scores import Score
from umss_jax.chorales.timing import Sung, draw_text, tempo_map, timed
from umss_jax.config import VOICES, SynthConfig

_FINE = 4  # points of the control curves in a frame
_ORDER = 20
_NOISE_BANDS = 40
_SILENT_DB = -70.0
_VOICED_DB = -30.0
_RAMP_S = 0.012


class Singing(NamedTuple):
    """Controls of some singers, frames of 256 samples at 16 kHz, centred as the synthesiser's."""

    voice: np.ndarray
    """int [lanes], 0 = soprano."""
    f0_hz_250: np.ndarray
    """float32 [lanes, frames], above 0 throughout."""
    amplitude: np.ndarray
    """float32 [lanes, frames], sum of the harmonics' amplitudes."""
    noise_gain: np.ndarray
    """float32 [lanes, frames]."""
    noise_magnitudes: np.ndarray
    """float32 [lanes, bands]."""
    lsf_rad: np.ndarray
    """float32 [lanes, frames, 20]."""
    voiced: np.ndarray
    """bool [lanes, frames]."""


def perform(score: Score, rng: np.random.Generator, config: ChoraleConfig) -> Singing:
    """A performance of a score: tempo, key, singers and everything they do are drawn.

    Args:
        score: four parts.
        rng: drawn from in a fixed order, so that its seed decides all.
        config: ranges of what is drawn.

    Returns:
        Singers of the soprano first, at least one of each voice.
    """
    seconds = tempo_map(score, rng, config)
    semitones = float(rng.uniform(*config.transposition_semitones))
    text = draw_text(score, rng)
    length_s = max(seconds(notes[-1].end) for notes in score.voices) + config.tail_s
    if config.longest_s:
        length_s = min(length_s, config.longest_s)
    frames = _round_up(length_s * 62.5, config.block_frames)
    lanes: list[dict[str, np.ndarray]] = []
    voices: list[int] = []
    for number, notes in enumerate(score.voices):
        share = np.cumsum(config.singers_probability)
        for _ in range(1 + int(np.searchsorted(share, rng.uniform(0, share[-1])))):
            sung = timed(notes, seconds, semitones, text, rng, config)
            lanes.append(_Singer(VOICES[number], rng, config).sing(sung, frames))
            voices.append(number)
    return Singing(
        voice=np.asarray(voices),
        **{key: np.stack([lane[key] for lane in lanes]) for key in lanes[0]},
    )


def _round_up(value: float, multiple: int) -> int:
    return -int(-value // multiple) * multiple


class _Curve:
    """A piecewise linear curve that is built from left to right."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._values: list[np.ndarray | float] = []

    def to(self, time_s: float, value: np.ndarray | float) -> None:
        """A point; one that would lie before the last is put upon it."""
        self._times.append(max(time_s, self._times[-1] + 1e-4) if self._times else time_s)
        self._values.append(value)

    def at(self, times_s: np.ndarray) -> np.ndarray:
        """Values, [times] or [times, dimensions]."""
        values = np.asarray(self._values)
        if values.ndim == 1:
            return np.interp(times_s, self._times, values)
        columns = [np.interp(times_s, self._times, column) for column in values.T]
        return np.stack(columns, axis=-1)


class _Singer:
    """One singer: what stays the same through a piece is drawn here."""

    def __init__(self, voice: str, rng: np.random.Generator, config: ChoraleConfig) -> None:
        self.voice, self.rng, self.config = voice, rng, config
        self.synth = SynthConfig()
        self.tract = float(np.exp(rng.normal(0, 0.06)))
        self.bandwidth = float(np.exp(rng.normal(0.1, 0.25)))
        self.shifts = np.exp(rng.normal(0, 0.05, 5))
        self.slope = rng.uniform(-0.4, 0.5)
        self.intonation = rng.uniform(*config.intonation_cents)
        self.vibrato_hz = rng.uniform(*config.vibrato_hz)
        self.vibrato_cents = rng.choice([0.0, 1.0], p=[0.15, 0.85]) * rng.uniform(
            *config.vibrato_cents
        )
        self.tuning = rng.normal(0, config.detuning_cents)
        self.glide = rng.uniform(18, 45), rng.uniform(0.55, 1.0)  # rad/s, damping
        self.breath_db = rng.uniform(*config.breath_db)
        self.scoop = rng.uniform(0, 0.4)
        bands = np.linspace(0, 1, _NOISE_BANDS)
        tilt = np.exp(rng.uniform(-1.5, 1.0) * bands + rng.normal(0, 0.3) * np.cos(np.pi * bands))
        self.magnitudes = (tilt / np.sqrt(np.mean(tilt**2))).astype(np.float32)

    def sing(self, notes: list[Sung], frames: int) -> dict[str, np.ndarray]:
        """Controls of a part; keys as in :class:`Singing`."""
        hop_s = self.synth.hop_samples / self.synth.sample_rate_hz
        fine = (np.arange(frames * _FINE) + 0.5) * (hop_s / _FINE)
        times = (np.arange(frames) + 0.5) * hop_s
        midi = self._pitch(notes, fine)
        level, noise_db, lsf, tone, hush = self._gestures(notes)
        loudness = self._loudness(fine)
        level_db = level.at(fine)
        sounding = np.where(level_db > _SILENT_DB + 5, loudness, 0.0)
        amplitude_db = _per_frame(level_db + sounding)
        # The poles of neighbouring frames overlap, so levels are followed in dB per frame.
        power = 10 ** (amplitude_db / 10)
        noise_power = 10 ** (_per_frame(noise_db.at(fine) + loudness) / 10)
        f0_hz = 440.0 * 2 ** ((_per_frame(midi) - 69) / 12)
        below = np.minimum(np.ceil(self.synth.sample_rate_hz / 2 / f0_hz) - 1, self.synth.harmonics)
        amplitude = np.sqrt(power * np.exp(-tone.at(times))) * below
        gain = np.sqrt(noise_power * np.exp(-hush.at(times)))
        return {
            "f0_hz_250": f0_hz.astype(np.float32),
            "amplitude": np.where(amplitude_db > _SILENT_DB + 8, amplitude, 0).astype(np.float32),
            "noise_gain": np.minimum(gain, 4.0).astype(np.float32),
            "noise_magnitudes": self.magnitudes,
            "lsf_rad": lsf.at(times).astype(np.float32),
            "voiced": _per_frame(level_db) > _VOICED_DB,
        }

    def _pitch(self, notes: list[Sung], fine: np.ndarray) -> np.ndarray:
        """Semitones (MIDI) on the fine grid."""
        rng, step_s = self.rng, fine[1] - fine[0]
        target = np.full(len(fine), notes[0].midi)
        extent = _Curve()
        extent.to(0.0, 0.0)
        for note in notes:
            first = np.searchsorted(fine, note.start_s - 0.03)
            off = (self.tuning + rng.normal(0, self.intonation)) / 100
            target[first:] = note.midi + off
            if note.after_rest and rng.uniform() < self.scoop:
                last = np.searchsorted(fine, note.start_s + rng.uniform(0.03, 0.12))
                target[first:last] -= rng.uniform(0.3, 2.0)
            delay = rng.uniform(0.08, 0.35)
            if note.end_s - note.start_s > delay + 0.2:
                extent.to(note.start_s + 0.3 * delay, 0.2 * self.vibrato_cents)
                cents = self.vibrato_cents * np.exp(rng.normal(0, 0.25))
                extent.to(note.start_s + delay + 0.15, cents)
                extent.to(note.end_s, cents * rng.uniform(0.4, 1.0))
            else:
                extent.to(note.end_s, 0.2 * self.vibrato_cents)
        rate, damping = self.glide
        numerator, denominator, _ = signal.cont2discrete(
            ([rate**2], [1, 2 * damping * rate, rate**2]), step_s, "bilinear"
        )
        start = signal.lfilter_zi(numerator[0], denominator) * target[0]
        smooth, _ = signal.lfilter(numerator[0], denominator, target, zi=start)
        wobble = _slow_noise(rng, len(fine), step_s, 0.6)
        phase = np.cumsum((self.vibrato_hz * (1 + 0.06 * wobble)) * step_s) + rng.uniform()
        self.vibrato = extent.at(fine) * np.sin(2 * np.pi * phase)
        cents = (
            self.vibrato
            + rng.uniform(*self.config.drift_cents) * _slow_noise(rng, len(fine), step_s, 0.5)
            + rng.uniform(*self.config.jitter_cents) * _slow_noise(rng, len(fine), step_s, 0.012)
        )
        return smooth + cents / 100

    def _loudness(self, fine: np.ndarray) -> np.ndarray:
        """Decibels beside the gestures: phrases, shimmer, and what vibrato does to it."""
        step_s = fine[1] - fine[0]
        slow = self.rng.uniform(1.0, 3.5) * _slow_noise(self.rng, len(fine), step_s, 1.5)
        quick = self.rng.uniform(0.2, 0.7) * _slow_noise(self.rng, len(fine), step_s, 0.02)
        loudness: np.ndarray = slow + quick + self.rng.uniform(-0.02, 0.02) * self.vibrato
        return loudness

    def _gestures(self, notes: list[Sung]) -> tuple[_Curve, _Curve, _Curve, _Curve, _Curve]:
        """Level and noise in dB, spectrum, and the logarithm of what tone and noise gain by it."""
        rng = self.rng
        level, noise, lsf, tone, hush = (_Curve() for _ in range(5))
        level.to(0.0, _SILENT_DB)
        noise.to(0.0, _SILENT_DB)

        def shape(time_s: float, spectrum: tuple[np.ndarray, float, float]) -> None:
            lsf.to(time_s, spectrum[0])
            tone.to(time_s, spectrum[1])
            hush.to(time_s, spectrum[2])

        before_db = _SILENT_DB
        for number, note in enumerate(notes):
            length = note.end_s - note.start_s
            vowel = self._vowel(note)
            late = self._vowel(note, drift=0.3)
            loud = rng.normal(0, 1.3) + 0.12 * (note.midi - notes[0].midi)
            room = 0.3 * (notes[number - 1].end_s - notes[number - 1].start_s) if number else 0.2
            begin = note.start_s
            kind = note.syllable.consonant
            if kind != "none":
                duration = min(rng.uniform(0.04, 0.13), room)
                begin = note.start_s - duration
                before = _SILENT_DB if note.after_rest else before_db
                self._consonant(level, noise, shape, kind, begin, note, before, loud)
            elif note.after_rest:
                level.to(begin - 0.01, _SILENT_DB)
                noise.to(begin - 0.05, _SILENT_DB)
            else:
                dip = rng.choice([0.0, rng.uniform(1, 8)])
                level.to(begin - 0.02, before_db)
                level.to(begin, min(loud, before_db) - dip)
            attack = min(rng.uniform(0.02, 0.12), 0.4 * length)
            shape(note.start_s + min(0.045, 0.3 * length), vowel)
            level.to(note.start_s + attack, loud)
            noise.to(note.start_s + 0.03, loud + self.breath_db)
            before_db = loud + rng.normal(0, 1.0)
            release = min(rng.uniform(0.04, 0.18), 0.4 * length)
            shape(note.end_s - min(0.06, 0.3 * length), late)
            if note.before_rest:
                level.to(note.end_s - release, before_db)
                level.to(note.end_s, _SILENT_DB)
                noise.to(note.end_s - release, before_db + self.breath_db)
                noise.to(note.end_s + 0.03, _SILENT_DB)
                if rng.uniform() < 0.4:
                    self._inhale(noise, note.end_s)
            else:
                level.to(note.end_s - min(0.15, 0.5 * length), before_db)
        return level, noise, lsf, tone, hush

    def _consonant(  # type: ignore[no-untyped-def]
        self, level, noise, shape, kind: str, begin: float, note: Sung, before: float, loud: float
    ) -> None:
        """What happens from ``begin`` to the vowel."""
        rng, start = self.rng, note.start_s
        spectrum = self._spectrum(
            consonant_polynomial(kind, self.synth.sample_rate_hz, _ORDER, self.tract), note.midi
        )
        shape(begin - 0.015, spectrum)
        shape(start - 0.01, spectrum)
        level.to(begin - 2 * _RAMP_S, before)
        noise.to(begin - 2 * _RAMP_S, before + self.breath_db if before > _SILENT_DB else before)
        if kind == "nasal":
            level.to(begin, loud - rng.uniform(4, 14))
            level.to(start, loud - rng.uniform(2, 10))
            return
        level.to(begin, _SILENT_DB)
        level.to(start, _SILENT_DB)
        if kind == "stop":
            noise.to(begin, _SILENT_DB)
            noise.to(start - 0.022, _SILENT_DB)
            noise.to(start - 0.012, loud - rng.uniform(3, 18))
            noise.to(start, loud - 20)
        else:
            strength = loud - rng.uniform(6, 22)
            noise.to(begin + _RAMP_S, strength)
            noise.to(start - _RAMP_S, strength)

    def _inhale(self, noise: _Curve, end_s: float) -> None:
        """The breath after a phrase."""
        strength = self.rng.uniform(-48, -30)
        noise.to(end_s + 0.06, strength)
        noise.to(end_s + 0.16, strength)
        noise.to(end_s + 0.2, _SILENT_DB)

    def _vowel(self, note: Sung, drift: float = 0.0) -> tuple[np.ndarray, float, float]:
        rng = self.rng
        weights = note.syllable.vowel
        if drift:
            weights = (1 - drift) * weights + drift * rng.dirichlet(np.full(len(VOWELS), 0.5))
        f0_hz = 440.0 * 2 ** ((note.midi - 69) / 12)
        slope = np.clip(self.slope + rng.normal(0, 0.08), -0.4, 0.85)
        polynomial = vowel_polynomial(
            self.voice,
            weights,
            self.synth.sample_rate_hz,
            _ORDER,
            tract=self.tract,
            bandwidth=self.bandwidth,
            shifts=self.shifts * np.exp(rng.normal(0, 0.02, 5)),
            least_first_hz=f0_hz * rng.uniform(0.9, 1.1),
            slope_poles=(slope, 0.0),
        )
        return self._spectrum(polynomial, note.midi)

    def _spectrum(self, polynomial: np.ndarray, midi: float) -> tuple[np.ndarray, float, float]:
        """Line spectral frequencies, and log power of tone and noise that pass through them."""
        rate = self.synth.sample_rate_hz
        f0_hz = 440.0 * 2 ** ((midi - 69) / 12)
        harmonics = np.arange(1, min(int(rate / 2 / f0_hz), self.synth.harmonics) + 1) * f0_hz
        roll_off = np.minimum(1.0, self.synth.roll_off_reference_hz / harmonics) ** 2
        tone = 0.5 * np.sum(roll_off * power_gain(polynomial, harmonics, rate))
        everywhere = np.linspace(50, rate / 2 - 50, 160)
        shaped = np.interp(
            everywhere, np.linspace(0, rate / 2, len(self.magnitudes)), self.magnitudes
        )
        hiss = np.mean(shaped**2 * power_gain(polynomial, everywhere, rate)) / 3
        return line_spectrum(polynomial), float(np.log(tone)), float(np.log(hiss))


def _per_frame(fine: np.ndarray) -> np.ndarray:
    """Values at the centres of frames: the mean of the two points around each."""
    by_frame = fine.reshape(-1, _FINE)
    middle: np.ndarray = 0.5 * (by_frame[:, _FINE // 2 - 1] + by_frame[:, _FINE // 2])
    return middle


def _slow_noise(
    rng: np.random.Generator, points: int, step_s: float, time_constant_s: float
) -> np.ndarray:
    """Gaussian noise of variance 1 that forgets itself within a time constant."""
    pole = np.exp(-step_s / time_constant_s)
    white = rng.standard_normal(points)
    white[0] /= np.sqrt(1 - pole**2)
    noise: np.ndarray = signal.lfilter([np.sqrt(1 - pole**2)], [1, -pole], white)
    return noise
