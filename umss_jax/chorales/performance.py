"""From a score to what every singer does: pitch and loudness, frame by frame.

What it imitates, and from where: pitch moves from note to note as a damped oscillator that
overshoots, with fine fluctuation (Saitou, Unoki, Akagi 2005); vibrato of 5 to 6.5 Hz sets in late;
intonation is off by some cents and drifts. All of it is sampled from a seeded generator, NumPy
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from scipy import signal

from umss_jax.chorales.config import ChoraleConfig
from umss_jax.chorales.scores import Score
from umss_jax.chorales.singer import SILENT_DB, Curve, Singer
from umss_jax.chorales.timing import Sung, draw_text, tempo_map, timed
from umss_jax.pitch.grid import midi_to_hz

_FINE = 4  # points of the control curves in a frame
_VOICED_DB = -30.0


class Singing(NamedTuple):
    """Controls of some singers, frames of 256 samples at 16 kHz, centred as the synthesiser's."""

    voice: np.ndarray
    """int [lanes], 0 = the highest part."""
    f0_hz_synth: np.ndarray
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


Controls = TypeVar("Controls")


class Performance(NamedTuple, Generic[Controls]):
    """What every singer of a score does."""

    voice: np.ndarray
    """int [singers], 0 = the highest part."""
    lanes: list[Controls]
    """Of every singer, as ``sing`` gave them."""
    frames: int
    """Of 16 ms."""


def perform(
    score: Score,
    rng: np.random.Generator,
    config: ChoraleConfig,
    sing: Callable[[int, list[Sung], int], Controls],
) -> Performance[Controls]:
    """A performance of a score: tempo, key, singers and everything they do are sampled.

    The generator is sampled from in a fixed order, so that its seed decides all. ``sing`` is given
    the number of a voice, a singer's notes and the frames of the whole; it may sample as well.

    Returns:
        Singers of the highest part first, at least one of each.
    """
    seconds = tempo_map(score, rng, config)
    semitones = float(rng.uniform(*config.transposition_semitones))
    text = draw_text(score, rng)
    length_s = max(seconds(notes[-1].end) for notes in score.voices) + config.tail_s
    if config.longest_s:
        length_s = min(length_s, config.longest_s)
    frames = -int(-length_s * 62.5 // config.block_frames) * config.block_frames
    lanes: list[Controls] = []
    voices: list[int] = []
    share = np.cumsum(config.singers_probability)
    for number, notes in enumerate(score.voices):
        for _ in range(1 + int(np.searchsorted(share, rng.uniform(0, share[-1])))):
            sung = timed(notes, seconds, semitones, text, rng, config)
            lanes.append(sing(number, sung, frames))
            voices.append(number)
    return Performance(np.asarray(voices), lanes, frames)


def synthetic_singing(
    score: Score, rng: np.random.Generator, config: ChoraleConfig, sections: Sequence[str]
) -> Singing:
    """A performance by singers that are all sampled, of the section of each part."""

    def sing(number: int, notes: list[Sung], frames: int) -> dict[str, np.ndarray]:
        return controls(Singer(sections[number], rng, config), notes, frames)

    voice, lanes, _ = perform(score, rng, config, sing)
    stacked = {key: np.stack([lane[key] for lane in lanes]) for key in lanes[0]}
    return Singing(voice=voice, **stacked)


def controls(singer: Singer, notes: list[Sung], frames: int) -> dict[str, np.ndarray]:
    """Controls of a part; keys as in :class:`Singing`."""
    synth = singer.synth
    hop_s = synth.hop_samples / synth.sample_rate_hz
    fine = (np.arange(frames * _FINE) + 0.5) * (hop_s / _FINE)
    times = (np.arange(frames) + 0.5) * hop_s
    midi, vibrato = pitch_curve(singer, notes, fine)
    gestures = singer.gestures(notes)
    loudness = loudness_curve(singer, fine, vibrato)
    level_db = gestures.level_db.at(fine)
    sounding = np.where(level_db > SILENT_DB + 5, loudness, 0.0)
    amplitude_db = _per_frame(level_db + sounding)
    # The poles of neighbouring frames overlap, so levels are followed in dB per frame.
    power = 10 ** (amplitude_db / 10)
    noise_power = 10 ** (_per_frame(gestures.noise_db.at(fine) + loudness) / 10)
    f0_hz = midi_to_hz(_per_frame(midi))
    below = np.minimum(np.ceil(synth.sample_rate_hz / 2 / f0_hz) - 1, synth.harmonics)
    amplitude = np.sqrt(power * np.exp(-gestures.tone.at(times))) * below
    gain = np.sqrt(noise_power * np.exp(-gestures.hush.at(times)))
    return {
        "f0_hz_synth": f0_hz.astype(np.float32),
        "amplitude": np.where(amplitude_db > SILENT_DB + 8, amplitude, 0).astype(np.float32),
        "noise_gain": np.minimum(gain, 4.0).astype(np.float32),
        "noise_magnitudes": singer.magnitudes,
        "lsf_rad": gestures.lsf_rad.at(times).astype(np.float32),
        "voiced": _per_frame(level_db) > _VOICED_DB,
    }


def pitch_curve(
    singer: Singer, notes: list[Sung], fine: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Semitones (MIDI) on the fine grid, and the vibrato in them in cents."""
    rng, step_s = singer.rng, fine[1] - fine[0]
    target = np.full(len(fine), notes[0].midi)
    extent = Curve()
    extent.to(0.0, 0.0)
    for note in notes:
        first = np.searchsorted(fine, note.start_s - 0.03)
        off = (singer.tuning + rng.normal(0, singer.intonation)) / 100
        target[first:] = note.midi + off
        if note.after_rest and rng.uniform() < singer.scoop:
            last = np.searchsorted(fine, note.start_s + rng.uniform(0.03, 0.12))
            target[first:last] -= rng.uniform(0.3, 2.0)
        delay = rng.uniform(0.08, 0.35)
        if note.end_s - note.start_s > delay + 0.2:
            extent.to(note.start_s + 0.3 * delay, 0.2 * singer.vibrato_cents)
            cents = singer.vibrato_cents * np.exp(rng.normal(0, 0.25))
            extent.to(note.start_s + delay + 0.15, cents)
            extent.to(note.end_s, cents * rng.uniform(0.4, 1.0))
        else:
            extent.to(note.end_s, 0.2 * singer.vibrato_cents)
    rate, damping = singer.glide
    numerator, denominator, _ = signal.cont2discrete(
        ([rate**2], [1, 2 * damping * rate, rate**2]), step_s, "bilinear"
    )
    start = signal.lfilter_zi(numerator[0], denominator) * target[0]
    smooth, _ = signal.lfilter(numerator[0], denominator, target, zi=start)
    wobble = _slow_noise(rng, len(fine), step_s, 0.6)
    phase = np.cumsum((singer.vibrato_hz * (1 + 0.06 * wobble)) * step_s) + rng.uniform()
    vibrato = extent.at(fine) * np.sin(2 * np.pi * phase)
    cents = (
        vibrato
        + rng.uniform(*singer.config.drift_cents) * _slow_noise(rng, len(fine), step_s, 0.5)
        + rng.uniform(*singer.config.jitter_cents) * _slow_noise(rng, len(fine), step_s, 0.012)
    )
    return smooth + cents / 100, vibrato


def loudness_curve(singer: Singer, fine: np.ndarray, vibrato: np.ndarray) -> np.ndarray:
    """Decibels beside the gestures: phrases, shimmer, and what vibrato does to it."""
    rng, step_s = singer.rng, fine[1] - fine[0]
    slow = rng.uniform(1.0, 3.5) * _slow_noise(rng, len(fine), step_s, 1.5)
    quick = rng.uniform(0.2, 0.7) * _slow_noise(rng, len(fine), step_s, 0.02)
    loudness: np.ndarray = slow + quick + rng.uniform(-0.02, 0.02) * vibrato
    return loudness


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
