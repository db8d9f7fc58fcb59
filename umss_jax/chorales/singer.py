"""One singer: what stays the same through a piece, and how syllables, breaths and rests sound.

Syllables begin with voiced consonants, hisses, stops or nothing; first formants follow the pitch
where that would pass them; breaths end phrases. All of it is sampled from a seeded generator, NumPy
alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from umss_jax.chorales.config import ChoraleConfig
from umss_jax.chorales.formants import (
    VOWELS,
    consonant_polynomial,
    line_spectrum,
    power_gain,
    vowel_polynomial,
)
from umss_jax.chorales.timing import Sung
from umss_jax.config import SynthConfig
from umss_jax.pitch.grid import midi_to_hz

SILENT_DB = -70.0
_ORDER = 20
_NOISE_BANDS = 40
_RAMP_S = 0.012


class Curve:
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


class Spectrum(NamedTuple):
    """A vocal tract."""

    lsf_rad: np.ndarray
    """[20]."""
    tone: float
    """Logarithm of the power that it gives to the harmonics of a note."""
    hush: float
    """Logarithm of the power that it gives to noise."""


class Gestures:
    """Curves of a part: level and noise in dB, and the fields of :class:`Spectrum`."""

    def __init__(self) -> None:
        self.level_db, self.noise_db = Curve(), Curve()
        self.lsf_rad, self.tone, self.hush = Curve(), Curve(), Curve()
        self.level_db.to(0.0, SILENT_DB)
        self.noise_db.to(0.0, SILENT_DB)

    def shape(self, time_s: float, spectrum: Spectrum) -> None:
        """The vocal tract at a time."""
        self.lsf_rad.to(time_s, spectrum.lsf_rad)
        self.tone.to(time_s, spectrum.tone)
        self.hush.to(time_s, spectrum.hush)


class Singer:
    """One singer of a section, sampled in a fixed order, here and in all that is sung."""

    def __init__(self, voice: str, rng: np.random.Generator, config: ChoraleConfig) -> None:
        self.voice, self.rng, self.config = voice, rng, config
        self.synth = SynthConfig()
        self.tract = float(np.exp(rng.normal(0, 0.06)))
        self.bandwidth = float(np.exp(rng.normal(0.1, 0.25)))
        self.shifts = np.exp(rng.normal(0, 0.05, 5))
        self.slope = rng.uniform(-0.4, 0.5)
        self.intonation = rng.uniform(*config.intonation_cents)
        self.vibrato_hz = rng.uniform(*config.vibrato_hz)
        has_vibrato = rng.choice([0.0, 1.0], p=[0.15, 0.85])
        self.vibrato_cents = has_vibrato * rng.uniform(*config.vibrato_cents)
        self.tuning = rng.normal(0, config.detuning_cents)
        self.glide = rng.uniform(18, 45), rng.uniform(0.55, 1.0)  # rad/s, damping
        self.breath_db = rng.uniform(*config.breath_db)
        self.scoop = rng.uniform(0, 0.4)
        bands = np.linspace(0, 1, _NOISE_BANDS)
        tilt = np.exp(rng.uniform(-1.5, 1.0) * bands + rng.normal(0, 0.3) * np.cos(np.pi * bands))
        self.magnitudes = (tilt / np.sqrt(np.mean(tilt**2))).astype(np.float32)

    def gestures(self, notes: list[Sung]) -> Gestures:
        """What the syllables, breaths and rests of a part do."""
        rng = self.rng
        curves = Gestures()
        before_db = SILENT_DB
        for number, note in enumerate(notes):
            length = note.end_s - note.start_s
            vowel = self._vowel(note)
            late = self._vowel(note, drift=0.3)
            loud = rng.normal(0, 1.3) + 0.12 * (note.midi - notes[0].midi)
            room = 0.3 * (notes[number - 1].end_s - notes[number - 1].start_s) if number else 0.2
            self._onset(curves, note, room, before_db, loud)
            attack = min(rng.uniform(0.02, 0.12), 0.4 * length)
            curves.shape(note.start_s + min(0.045, 0.3 * length), vowel)
            curves.level_db.to(note.start_s + attack, loud)
            curves.noise_db.to(note.start_s + 0.03, loud + self.breath_db)
            before_db = loud + rng.normal(0, 1.0)
            release = min(rng.uniform(0.04, 0.18), 0.4 * length)
            curves.shape(note.end_s - min(0.06, 0.3 * length), late)
            if note.before_rest:
                curves.level_db.to(note.end_s - release, before_db)
                curves.level_db.to(note.end_s, SILENT_DB)
                curves.noise_db.to(note.end_s - release, before_db + self.breath_db)
                curves.noise_db.to(note.end_s + 0.03, SILENT_DB)
                if rng.uniform() < 0.4:
                    self._inhale(curves, note.end_s)
            else:
                curves.level_db.to(note.end_s - min(0.15, 0.5 * length), before_db)
        return curves

    def _onset(
        self, curves: Gestures, note: Sung, room: float, before_db: float, loud: float
    ) -> None:
        """From the note before to this one's vowel: a consonant, a rest, or a dip."""
        rng, begin = self.rng, note.start_s
        if note.syllable.consonant != "none":
            begin -= min(rng.uniform(0.04, 0.13), room)
            before = SILENT_DB if note.after_rest else before_db
            self._consonant(curves, begin, note, before, loud)
        elif note.after_rest:
            curves.level_db.to(begin - 0.01, SILENT_DB)
            curves.noise_db.to(begin - 0.05, SILENT_DB)
        else:
            dip = rng.choice([0.0, rng.uniform(1, 8)])
            curves.level_db.to(begin - 0.02, before_db)
            curves.level_db.to(begin, min(loud, before_db) - dip)

    def _consonant(
        self, curves: Gestures, begin: float, note: Sung, before: float, loud: float
    ) -> None:
        """What happens from ``begin`` to the vowel."""
        rng, start, kind = self.rng, note.start_s, note.syllable.consonant
        level, noise = curves.level_db, curves.noise_db
        polynomial = consonant_polynomial(kind, self.synth.sample_rate_hz, _ORDER, self.tract)
        spectrum = self._spectrum(polynomial, note.midi)
        curves.shape(begin - 0.015, spectrum)
        curves.shape(start - 0.01, spectrum)
        level.to(begin - 2 * _RAMP_S, before)
        noise.to(begin - 2 * _RAMP_S, before + self.breath_db if before > SILENT_DB else before)
        if kind == "nasal":
            level.to(begin, loud - rng.uniform(4, 14))
            level.to(start, loud - rng.uniform(2, 10))
            return
        level.to(begin, SILENT_DB)
        level.to(start, SILENT_DB)
        if kind == "stop":
            noise.to(begin, SILENT_DB)
            noise.to(start - 0.022, SILENT_DB)
            noise.to(start - 0.012, loud - rng.uniform(3, 18))
            noise.to(start, loud - 20)
        else:
            strength = loud - rng.uniform(6, 22)
            noise.to(begin + _RAMP_S, strength)
            noise.to(start - _RAMP_S, strength)

    def _inhale(self, curves: Gestures, end_s: float) -> None:
        """The breath after a phrase."""
        strength = self.rng.uniform(-48, -30)
        curves.noise_db.to(end_s + 0.06, strength)
        curves.noise_db.to(end_s + 0.16, strength)
        curves.noise_db.to(end_s + 0.2, SILENT_DB)

    def _vowel(self, note: Sung, drift: float = 0.0) -> Spectrum:
        """A note's vowel, a share ``drift`` of the way to another."""
        rng = self.rng
        weights = note.syllable.vowel
        if drift:
            weights = (1 - drift) * weights + drift * rng.dirichlet(np.full(len(VOWELS), 0.5))
        slope = np.clip(self.slope + rng.normal(0, 0.08), -0.4, 0.85)
        polynomial = vowel_polynomial(
            self.voice,
            weights,
            self.synth.sample_rate_hz,
            _ORDER,
            tract=self.tract,
            bandwidth=self.bandwidth,
            shifts=self.shifts * np.exp(rng.normal(0, 0.02, 5)),
            minimum_first_hz=midi_to_hz(note.midi) * rng.uniform(0.9, 1.1),
            slope_poles=(slope, 0.0),
        )
        return self._spectrum(polynomial, note.midi)

    def _spectrum(self, polynomial: np.ndarray, midi: float) -> Spectrum:
        """What passes through an all-pole filter of a note's harmonics, and of noise."""
        rate = self.synth.sample_rate_hz
        f0_hz = midi_to_hz(midi)
        harmonics = np.arange(1, min(int(rate / 2 / f0_hz), self.synth.harmonics) + 1) * f0_hz
        roll_off = np.minimum(1.0, self.synth.roll_off_reference_hz / harmonics) ** 2
        tone = 0.5 * np.sum(roll_off * power_gain(polynomial, harmonics, rate))
        everywhere = np.linspace(50, rate / 2 - 50, 160)
        bands_hz = np.linspace(0, rate / 2, len(self.magnitudes))
        shaped = np.interp(everywhere, bands_hz, self.magnitudes)
        hiss = np.mean(shaped**2 * power_gain(polynomial, everywhere, rate)) / 3
        return Spectrum(line_spectrum(polynomial), float(np.log(tone)), float(np.log(hiss)))
