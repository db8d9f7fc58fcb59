"""Scores sung by recorded singers: the timbre and words of a bank at any pitch, by WORLD.

Every note takes a syllable of its singer: as it was sung where it is long enough, else its middle
forth and back. Pitch, vibrato, loudness and timing are those of sampled singers, so that the F0 is
known exactly. Low voices sing by warped envelopes where only high ones were recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from umss_jax.chorales.bank import FFT_SIZE, PERIOD_S, RATE_HZ, SingerBank, world
from umss_jax.chorales.config import ChoraleConfig
from umss_jax.chorales.performance import loudness_curve, perform, pitch_curve
from umss_jax.chorales.scores import Score
from umss_jax.chorales.singer import Singer
from umss_jax.chorales.timing import Sung
from umss_jax.config import SynthConfig
from umss_jax.pitch.grid import midi_to_hz

_HOP_S = SynthConfig().hop_samples / SynthConfig().sample_rate_hz
_VOICED_DB = -30.0
_FADE = 6
"""Frames over which one syllable's envelope becomes the next one's."""
_EDGE = 24
"""Frames of a syllable's start and end that are not repeated."""
_FORMANT_EXPONENT = 0.2
"""Formants of a voice that lies an octave higher lie 15 % higher."""
_REGISTER_SEMITONES = 9.0
_UNIT_SEMITONES = 3.0
_RMS = 0.1


class SungVoices(NamedTuple):
    """Every singer of a score alone."""

    voice: np.ndarray
    """int [singers], 0 = the highest part."""
    samples: np.ndarray
    """[singers, samples] at 16 kHz."""
    f0_hz: np.ndarray
    """float32 [J, frames + 1] at multiples of 16 ms, 0 where nobody of a part sings a pitch."""


class _Lane(NamedTuple):
    samples: np.ndarray
    f0_hz: np.ndarray
    """[frames + 1], 0 = unvoiced."""


class _Plan(NamedTuple):
    """What is sung in every frame of 5 ms."""

    frame: np.ndarray
    """int, of the bank; −1 = silence."""
    before: np.ndarray
    """int, the frame that is being left."""
    weight: np.ndarray
    """Of ``before``."""
    gain_db: np.ndarray
    voiced: np.ndarray


def human_voices(
    score: Score,
    bank: SingerBank,
    rng: np.random.Generator,
    config: ChoraleConfig,
    sections: Sequence[str],
) -> SungVoices:
    """A performance of a score by singers of a bank, chosen by their register."""
    centres = [np.average([n.midi for n in v], weights=[n.beats for n in v]) for v in score.voices]

    def sing(number: int, notes: list[Sung], frames: int) -> _Lane:
        return _sing(number, centres[number], notes, frames, bank, rng, config, sections)

    voice, lanes, frames = perform(score, rng, config, sing)
    f0_hz = np.zeros((len(sections), frames + 1), np.float32)
    for number in range(len(sections)):
        mine = np.stack([lane.f0_hz for lane, v in zip(lanes, voice, strict=True) if v == number])
        counts = (mine > 0).sum(axis=0)
        total = np.log(np.where(mine > 0, mine, 1.0)).sum(axis=0)
        f0_hz[number] = np.where(counts > 0, np.exp(total / np.maximum(counts, 1)), 0)
    return SungVoices(voice, np.stack([lane.samples for lane in lanes]), f0_hz)


def _sing(
    number: int,
    centre: float,
    notes: list[Sung],
    frames: int,
    bank: SingerBank,
    rng: np.random.Generator,
    config: ChoraleConfig,
    sections: Sequence[str],
) -> _Lane:
    """One singer's part."""
    performer = Singer(sections[number], rng, config)
    who, median_hz = _choose_singer(bank, float(centre), rng)
    plan = _plan(notes, frames, bank, who, rng)
    fine = (np.arange(frames * 4) + 0.5) * (_HOP_S / 4)
    midi, vibrato = pitch_curve(performer, notes, fine)
    times = np.arange(len(plan.frame)) * PERIOD_S
    hz = midi_to_hz(np.interp(times, fine, midi))
    gain_db = plan.gain_db + np.interp(times, fine, loudness_curve(performer, fine, vibrato))
    warp = (midi_to_hz(centre) / median_hz) ** _FORMANT_EXPONENT * np.exp(rng.normal(0, 0.04))
    samples = _synthesise(bank, plan, np.where(plan.voiced, hz, 0.0), gain_db, warp, frames)
    sung = plan.voiced & (plan.gain_db > _VOICED_DB)
    at = np.arange(frames + 1) * _HOP_S
    nearest = np.minimum(np.round(at / PERIOD_S).astype(int), len(sung) - 1)
    exact = midi_to_hz(np.interp(at, fine, midi))
    return _Lane(samples, np.where(sung[nearest], exact, 0.0))


def _choose_singer(bank: SingerBank, centre: float, rng: np.random.Generator) -> tuple[int, float]:
    """A singer whose register is near, and the median of what he or she sang."""
    medians = np.asarray(
        [np.median(bank.unit_hz[bank.units[:, 0] == one]) for one in range(len(bank.names))]
    )
    distance = np.abs(12 * np.log2(medians / midi_to_hz(centre)))
    chance = np.exp(-distance / _REGISTER_SEMITONES)
    who = int(rng.choice(len(medians), p=chance / chance.sum()))
    return who, float(medians[who])


def _plan(
    notes: list[Sung], frames: int, bank: SingerBank, who: int, rng: np.random.Generator
) -> _Plan:
    """Which frame of the bank is heard when, and how loud."""
    total = round(frames * _HOP_S / PERIOD_S) + 1
    frame, before = np.full(total, -1), np.full(total, -1)
    weight, gain_db = np.zeros(total), np.full(total, -200.0)
    voiced = np.zeros(total, bool)
    mine = np.flatnonzero(bank.units[:, 0] == who)
    rest = (0, 0)  # of the last syllable, frames that were not sung
    level = 0.0
    for note in notes:
        start, end = (min(round(t / PERIOD_S), total) for t in (note.start_s, note.end_s))
        if end <= start:
            continue
        loud = rng.normal(0, 1.3) + 0.12 * (note.midi - notes[0].midi)
        is_carried = not note.after_rest and note.syllable.consonant == "none"
        if is_carried and rest[1] - rest[0] >= end - start:
            path = rest[0] + np.arange(end - start)
            rest = (int(path[-1]) + 1, rest[1])
        else:
            unit = mine[_choose_unit(bank.unit_hz[mine], note.midi, rng)]
            _, first, begin, last = (int(value) for value in bank.units[unit])
            level = -10 * np.log10(np.mean(10 ** (bank.power_db[begin:last] / 10)))
            with_consonant = not is_carried and begin > first
            path = _path(begin, last, end - start, with_consonant, rng)
            rest = (int(path[-1]) + 1, last)
            if with_consonant:
                place = np.arange(max(start - (begin - first), 0), start)
                frame[place] = np.arange(begin - len(place), begin)
                voiced[place], weight[place] = False, 0.0
                gain_db[place] = level + loud
            elif not note.after_rest and start:
                fade = np.arange(start, min(start + _FADE, end))
                before[fade] = frame[start - 1]
                weight[fade] = 1 - (np.arange(len(fade)) + 1) / (_FADE + 1)
        frame[start:end], voiced[start:end] = path, True
        gain_db[start:end] = level + loud + _ramps(note, end - start, rng)
    silent = frame < 0
    gain_db[silent] = -200.0
    relative = np.where(silent, -200.0, gain_db)
    return _Plan(frame, before, weight, relative, voiced & ~silent)


def _choose_unit(unit_hz: np.ndarray, midi: float, rng: np.random.Generator) -> int:
    """One of a singer's units, rather one that was sung near this pitch."""
    distance = np.abs(12 * np.log2(unit_hz / midi_to_hz(midi)))
    chance = np.exp(-(distance - distance.min()) / _UNIT_SEMITONES)
    return int(rng.choice(len(unit_hz), p=chance / chance.sum()))


def _path(
    begin: int, end: int, length: int, from_start: bool, rng: np.random.Generator
) -> np.ndarray:
    """Frames [length] of a unit's voiced part; from within where it is longer than needed."""
    has = end - begin
    if has >= length:
        offset = 0 if from_start else int(rng.integers(has - length + 1))
        return begin + offset + np.arange(length)
    edge = min(_EDGE, has // 3)
    inside = has - 2 * edge
    steps = np.cumsum(rng.uniform(0.4, 1.0, max(length - 2 * edge, 0)))
    turned = np.abs((steps % (2 * inside)) - inside) if inside else steps * 0
    middle = begin + edge + np.minimum((inside - turned).astype(int), inside - 1)
    path = np.concatenate([begin + np.arange(edge), middle, end - edge + np.arange(edge)])
    return path[:length]


def _ramps(note: Sung, length: int, rng: np.random.Generator) -> np.ndarray:
    """Attack after a rest and release before one, in dB."""
    ramp = np.zeros(length)
    if note.after_rest:
        attack = max(2, min(int(rng.uniform(0.015, 0.09) / PERIOD_S), length // 3))
        ramp[:attack] += np.linspace(-40, 0, attack)
    if note.before_rest:
        release = max(2, min(int(rng.uniform(0.04, 0.18) / PERIOD_S), length // 3))
        ramp[-release:] += np.linspace(0, -60, release)
    return ramp


def _synthesise(
    bank: SingerBank,
    plan: _Plan,
    f0_hz: np.ndarray,
    gain_db: np.ndarray,
    warp: float,
    frames: int,
) -> np.ndarray:
    """Samples [frames · 256] of a plan, at a common level."""
    pyworld = world()
    heard, left = np.maximum(plan.frame, 0), np.maximum(plan.before, 0)
    blend = (plan.weight * (plan.before >= 0))[:, None]
    coded = (1 - blend) * bank.envelopes[heard] + blend * bank.envelopes[left]
    envelope = pyworld.decode_spectral_envelope(np.ascontiguousarray(coded), RATE_HZ, FFT_SIZE)
    breath = np.ascontiguousarray(bank.aperiodicities[heard], np.float64)
    aperiodicity = pyworld.decode_aperiodicity(breath, RATE_HZ, FFT_SIZE)
    envelope = _warped(envelope, warp) * 10 ** (gain_db / 10)[:, None]
    contiguous = (np.ascontiguousarray(one) for one in (f0_hz, envelope, aperiodicity))
    sound = pyworld.synthesize(*contiguous, RATE_HZ, 1000 * PERIOD_S)
    samples = np.zeros(round(frames * _HOP_S * RATE_HZ))
    count = min(len(sound), len(samples))
    samples[:count] = sound[:count]
    loud = np.sqrt(np.mean(samples**2) / max(plan.voiced.mean(), 1e-3))
    normal: np.ndarray = samples * (_RMS / max(loud, 1e-9))
    return normal


def _warped(envelope: np.ndarray, warp: float) -> np.ndarray:
    """Power spectra [frames, bins] with all formants ``warp`` times as high."""
    bins = envelope.shape[1]
    at = np.minimum(np.arange(bins) / warp, bins - 1)
    low = np.minimum(at.astype(int), bins - 2)
    part = at - low
    log = np.log(envelope + 1e-30)
    warped: np.ndarray = np.exp((1 - part) * log[:, low] + part * log[:, low + 1])
    return warped
