"""Which part is which voice."""

import numpy as np
import pytest

from umss_jax.config import VOICES
from umss_jax.errors import ScoreError
from umss_jax.scores.notes import Score, part_of
from umss_jax.scores.parts import cast_voices, split_lines

PITCHES = {"soprano": 72, "alto": 67, "tenor": 60, "bass": 48}


def part(name, *pitches, length=1.0):
    """Notes one after the other; a tuple is a chord."""
    rows = []
    for n, chord in enumerate(pitches):
        for pitch in chord if isinstance(chord, tuple) else (chord,):
            rows.append((n, n + length, n / 2, (n + length) / 2, pitch, 1, 1))
    return part_of(name, rows)


def score(*parts):
    return Score(parts, "written")


def firsts(cast):
    return [int(voice.part.pitch[0]) for voice in cast.voices]


@pytest.mark.parametrize(
    "names",
    [
        ("Soprano", "Alto", "Tenor", "Bass"),
        ("SOPRAN", "Alt", "TENOR", "Baß 1"),
        ("Cantus", "Altus", "Tenor", "Bassus"),
        ("S.", "A.", "T.", "B."),
        ("Tiple", "Contralto", "Tenor", "Bajo"),
        ("Canto", "Alto", "Tenore", "Basso"),
    ],
)
def test_names_tell_the_voices_in_any_order(names):
    if "Baß 1" in names:
        names = (*names[:3], "Bass 1")
    parts = [part(name, pitch, pitch) for name, pitch in zip(names, PITCHES.values(), strict=True)]
    assert firsts(cast_voices(score(*parts[::-1]), "x")) == list(PITCHES.values())


def test_accompaniment_is_left_out():
    parts = [part(voice, pitch) for voice, pitch in PITCHES.items()]
    piano = [part("Piano", (60, 64)), part("Practice only", 40), part("Bass Guitar", 30)]
    cast = cast_voices(score(*piano, *parts), "x")
    assert firsts(cast) == list(PITCHES.values())
    assert cast.left_out == ("Piano", "Practice only", "Bass Guitar")


def test_without_names_pitch_tells():
    parts = [part("", pitch) for pitch in PITCHES.values()]
    assert firsts(cast_voices(score(*parts[::-1]), "x")) == list(PITCHES.values())
    chords = part("", (50, 55, 58))
    assert firsts(cast_voices(score(chords, *parts), "x")) == list(PITCHES.values())


def test_a_closed_score_is_divided():
    upper = part("Women", (72, 67), (74, 66), 70, (76, 65))
    lower = part("Men", (60, 48), (59, 47), (60, 48), (57, 45))
    cast = cast_voices(score(upper, lower), "x")
    assert [voice.part.pitch.tolist() for voice in cast.voices] == [
        [72, 74, 70, 76],
        [67, 66, 65],
        [60, 59, 60, 57],
        [48, 47, 48, 45],
    ]
    assert cast.left_out == ()


def test_one_name_may_be_missing():
    parts = [part(voice, pitch) for voice, pitch in PITCHES.items() if voice != "tenor"]
    assert firsts(cast_voices(score(part("Voice", 60), *parts), "x")) == [72, 67, 60, 48]


def test_divided_voices_follow_their_outer_line():
    parts = [part(voice, pitch, pitch) for voice, pitch in PITCHES.items() if voice != "bass"]
    basses = [part("Bass 1", 52, 50), part("Bass 2", 45, 50)]
    cast = cast_voices(score(part("Soprano 2", 69, 70), *parts, *basses), "x")
    for voice, followed in ((cast.voices[0], [72, 72]), (cast.voices[3], [45, 50])):
        assert len(voice.part.pitch) == 4
        assert voice.part.pitch[voice.is_followed].tolist() == followed


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("Soprano", "Alto", "Tenor"), "no bass"),
        (("", "", "", "", ""), "5 parts"),
        (("", "", ""), "3 parts"),
        (("Soprano", "Alto", "", "", ""), "no tenor and no bass"),
        (("Solo",), "1 part "),
    ],
)
def test_what_cannot_be_told_is_refused(names, words):
    parts = [part(name, 72 - 5 * n) for n, name in enumerate(names)]
    with pytest.raises(ScoreError, match=words) as refused:
        cast_voices(score(*parts), "x.mid")
    assert "x.mid" in str(refused.value)


def test_as_many_voices_as_are_asked_for():
    parts = [part("", 70), part("", 50)]
    assert len(cast_voices(score(*parts), "x", ("high", "low")).voices) == 2
    with pytest.raises(ScoreError):
        cast_voices(score(*parts), "x", VOICES)


def test_lines_do_not_lose_notes():
    chords = part("", (60, 64, 67), (60, 64), 62, (50, 55, 60, 64))
    lines = split_lines(chords, 3)
    assert sum(len(line.pitch) for line in lines) == len(chords.pitch)
    assert [line.pitch[0] for line in lines] == [67, 64, 60]
    assert all(np.all(np.diff(line.onset_beats) >= 0) for line in lines)


TTBB = ("tenor1", "tenor2", "bass1", "bass2")


@pytest.mark.parametrize(
    "names",
    [
        ("Tenor 1", "Tenor 2", "Bass 1", "Bass 2"),
        ("Tenor I", "Tenor II", "Bass I", "Bass II"),
        ("T1", "T2", "B1", "B2"),
        ("tenor1", "tenor2", "bass1", "bass2"),
        ("Tenor", "Tenor", "Bass", "Bass"),
        ("Tenor", "Tenor", "Baritone", "Bass"),
        ("Tenor 1", "Tenor 2", "Bariton", "Bass"),
        ("", "", "", ""),
        ("Voice", "Tenor 2", "Bass 1", "Bass 2"),
    ],
)
def test_divided_sections_are_told_by_number_or_pitch(names):
    parts = [part(name, pitch, pitch) for name, pitch in zip(names, (67, 62, 55, 48), strict=True)]
    for order in (parts, parts[::-1]):
        assert firsts(cast_voices(score(*order), "x", TTBB)) == [67, 62, 55, 48]


def test_a_section_on_one_staff_is_taken_apart():
    upper, lower = part("Tenors", (67, 62), (65, 60)), part("Basses", (55, 48), (53, 46))
    cast = cast_voices(score(lower, upper), "x", TTBB)
    assert [voice.part.pitch.tolist() for voice in cast.voices] == [
        [67, 65],
        [62, 60],
        [55, 53],
        [48, 46],
    ]


@pytest.mark.parametrize(
    ("names", "voices", "expected"),
    [
        (("Soprano", "Alto", "Men"), ("soprano", "alto", "baritone"), [70, 65, 60]),
        (("Soprano", "Alto", "Bass"), ("soprano", "alto", "baritone"), [70, 65, 60]),
        (
            ("Soprano 1", "Soprano 2", "Alto", "Tenor", "Bass"),
            ("soprano1", "soprano2", "alto", "tenor", "bass"),
            [70, 65, 60, 55, 50],
        ),
        (("Flauto", "Basso"), ("voice1", "voice2"), [70, 65]),
        (("low", "high"), ("high", "low"), [65, 70]),
        (("Mezzo", "Alto"), ("mezzo", "alto"), [70, 65]),
    ],
)
def test_other_ensembles(names, voices, expected):
    parts = [part(name, 70 - 5 * n, 70 - 5 * n) for n, name in enumerate(names)]
    assert firsts(cast_voices(score(*parts), "x", voices)) == expected


@pytest.mark.parametrize(
    ("names", "voices", "words"),
    [
        (("Soprano", "Alto", "Tenor", "Bass"), TTBB, "no tenor2 and no bass2"),
        (("Tenor 1", "Tenor 2", "Bass 1"), TTBB, "no bass2"),
        (("Soprano", "Alto", "Tenor", "Bass"), ("voice1", "voice2"), "4 parts"),
        (("Tenor", "Bass"), ("soprano", "alto"), "no soprano and no alto|2 parts"),
    ],
)
def test_scores_of_other_ensembles_are_refused(names, voices, words):
    parts = [part(name, 72 - 5 * n) for n, name in enumerate(names)]
    with pytest.raises(ScoreError, match=words) as refused:
        cast_voices(score(*parts), "x.mid", voices)
    assert "\n" not in str(refused.value)
