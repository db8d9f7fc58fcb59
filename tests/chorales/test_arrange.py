"""Four-part scores for other ensembles."""

import itertools

import numpy as np
import pytest

from umss_jax.chorales.arrange import arranged, sections_of
from umss_jax.chorales.scores import embedded_scores
from umss_jax.config import VoicesConfig
from umss_jax.voice_sets import parse_voices

SCORES = embedded_scores()
SETS = ("ttbb", "ssaa", "sab", "duet", "bb", "ssatb", "ssaattbb", "5")


def sounding(line, beat):
    return next((note.midi for note in line if note.start <= beat < note.end), 0)


def grid(score):
    return np.arange(0.05, score.beats, 0.25)


def chords(score):
    """MIDI notes [parts, moments], 0 in rests."""
    return np.array([[sounding(line, beat) for beat in grid(score)] for line in score.voices])


def test_the_usual_voices_sing_what_is_written():
    for score in SCORES:
        assert arranged(score, VoicesConfig(), np.random.default_rng(0)) is score


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("score", SCORES, ids=lambda score: score.title)
def test_every_part_lies_in_its_range_and_above_the_next(name, score):
    voices = parse_voices(name)
    made = arranged(score, voices, np.random.default_rng(1))
    assert len(made.voices) == len(voices)
    assert made.beats == pytest.approx(score.beats)
    notes = chords(made)
    for row, low, high in zip(notes, voices.lowest_notes, voices.highest_notes, strict=True):
        sung = row[row > 0]
        outside = (sung < low) | (sung > high)
        assert outside.mean() < 0.1
    for upper, lower in itertools.pairwise(notes):
        both = (upper > 0) & (lower > 0)
        assert (upper < lower)[both].mean() < 0.1
        assert upper[both].mean() > lower[both].mean()


@pytest.mark.parametrize("name", ["ttbb", "ssaa", "sab", "duet"])
def test_fewer_or_moved_parts_sing_the_same_harmony(name):
    for score in SCORES:
        made = chords(arranged(score, parse_voices(name), np.random.default_rng(2)))
        written = chords(score)
        fits = [
            np.mean(
                [
                    set(chord[chord > 0] % 12) <= set((whole[whole > 0] + shift) % 12)
                    for chord, whole in zip(made.T, written.T, strict=True)
                ]
            )
            for shift in range(12)
        ]
        assert max(fits) == 1.0


def test_added_parts_lie_a_third_from_another():
    for score in SCORES:
        made = chords(arranged(score, parse_voices("ssatb"), np.random.default_rng(0)))
        written = chords(score)
        found = []
        for chord, whole in zip(made.T, written.T, strict=True):
            if (chord > 0).all() and (whole > 0).all():
                gaps = chord[:, None] - chord
                found.append(bool(np.isin(gaps, (3, 4)).any()))
        assert np.mean(found) > 0.9
        shift = made[made > 0].max() - written[written > 0].max()
        both = [
            len(set(whole + shift) & set(chord)) >= 3
            for chord, whole in zip(made.T, written.T, strict=True)
            if (whole > 0).all()
        ]
        assert np.mean(both) > 0.9


def test_sections_are_told_by_the_range():
    assert sections_of(VoicesConfig()) == VoicesConfig().names
    assert sections_of(parse_voices("ttbb")) == ("tenor", "tenor", "bass", "bass")
    assert sections_of(parse_voices("ssaa")) == ("soprano", "soprano", "alto", "alto")
    assert sections_of(parse_voices("sab")) == ("soprano", "alto", "bass")
