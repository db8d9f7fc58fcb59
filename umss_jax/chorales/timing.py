"""When and on which syllables the notes of a score are sung: tempo, breaths, text, small delays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from umss_jax.chorales.config import ChoraleConfig
from umss_jax.chorales.formants import VOWELS
from umss_jax.chorales.scores import Note, Score


class Syllable(NamedTuple):
    """A consonant and a vowel."""

    vowel: np.ndarray
    """[5], shares of the vowels."""
    consonant: str
    """One of :data:`umss_jax.chorales.formants.CONSONANTS`, or ``none``."""


class Sung(NamedTuple):
    """A note as one singer times it."""

    start_s: float
    end_s: float
    midi: float
    syllable: Syllable
    after_rest: bool
    before_rest: bool


def tempo_map(
    score: Score, rng: np.random.Generator, config: ChoraleConfig
) -> Callable[[float], float]:
    """Seconds of a beat: a random tempo that sways, and waits at the breaths of the soprano."""
    grid = np.arange(0, np.ceil(score.beats * 4) + 2) / 4
    per_beat = 60.0 / (score.beats_per_minute * rng.uniform(*config.tempo_factor))
    period = rng.uniform(6, 16)
    sway = 1 + rng.uniform(0, 0.06) * np.sin(2 * np.pi * (grid / period + rng.uniform()))
    for note in score.voices[0]:
        if note.breath:
            sway[(grid >= note.start) & (grid < note.end)] *= rng.uniform(1.1, 1.7)
    times = np.concatenate([[0.0], np.cumsum(per_beat * sway[:-1] / 4)]) + rng.uniform(0.1, 0.6)
    return lambda beat: float(np.interp(beat, grid, times))


def draw_text(score: Score, rng: np.random.Generator) -> dict[float, Syllable]:
    """The syllable of every beat on which a note begins: choirs sing one text."""
    starts = sorted({note.start for notes in score.voices for note in notes})
    return {start: _draw_syllable(rng) for start in starts}


def _draw_syllable(rng: np.random.Generator) -> Syllable:
    vowel = rng.dirichlet(np.full(len(VOWELS), 0.25))
    kinds = ("none", "nasal", "hiss", "hush", "stop")
    return Syllable(vowel, str(rng.choice(kinds, p=(0.18, 0.37, 0.12, 0.08, 0.25))))


def timed(
    notes: Sequence[Note],
    seconds: Callable[[float], float],
    semitones: float,
    text: dict[float, Syllable],
    rng: np.random.Generator,
    config: ChoraleConfig,
) -> list[Sung]:
    """Notes in seconds, each singer a little off, with breaths and syllables."""
    sung: list[Sung] = []
    lag = rng.normal(0, config.timing_s)
    syllable = _draw_syllable(rng)
    for number, note in enumerate(notes):
        follower = notes[number + 1] if number + 1 < len(notes) else None
        rests = follower is None or follower.start > note.end + 1e-6
        start = max(seconds(note.start) + lag + rng.normal(0, config.timing_s), 0.05)
        start = max(start, sung[-1].start_s + 0.08) if sung else start
        end = seconds(note.end) + lag
        breath = note.breath or (rests and follower is not None) or follower is None
        breath = breath or rng.uniform() < config.breath_probability * (end - start)
        if breath:
            end -= min(rng.uniform(0.12, 0.35), 0.4 * (end - start))
        after = not sung or sung[-1].before_rest
        carried = note.beats < 0.75 and rng.uniform() < 0.5
        if after or not carried:
            own = rng.uniform() < 0.12
            syllable = _draw_syllable(rng) if own else text[note.start]
        else:
            syllable = syllable._replace(consonant="none")
        if sung and not after:
            sung[-1] = sung[-1]._replace(end_s=start)
        end = max(end, start + 0.06)
        sung.append(Sung(start, end, note.midi + semitones, syllable, after, breath))
    return sung
