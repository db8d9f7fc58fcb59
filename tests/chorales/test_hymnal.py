"""Scores from ABC files: voices told apart, licences respected, broken files left out."""

import pytest

from umss_jax.chorales.hymnal import abc_scores
from umss_jax.errors import DatasetError
from umss_jax.scores.abc_voices import split_voices

HYMN = """% a comment
X: 1
T: A Hymn
C: Music: Somebody, 1700.
C: copyright: public domain.  Setting and all.
M: 4/4 % common time
L: 1/4
V: S1V1 clef=treble
V: S1V2
V: S2V1 clef=bass
V: S2V2
K: G % key
[V: S1V1] [Q:1/4=90] G A !fermata!B c | d2 z2 |
w: these are words and no notes
[V: S1V2] D D D E | F2 z2 |
[V: S2V1] B, C "rit." D C | A,2 z2 |
[V: S2V2] G, F, G, C, | D,2 z2 |
[V: S1V1] G A B c | d2 d2 |]
[V: S1V2] D D D [CE] | F2 F2 |]
[V: S2V1] B, C D C | A,2 A,2 |]
[V: S2V2] G, F, G, C, | D,2 D,2 |]
"""


@pytest.fixture
def hymnal(tmp_path):
    pytest.importorskip("music21", reason="music21 reads ABC")

    def written(text):
        (tmp_path / "hymn.abc").write_text(text, encoding="latin-1")
        return tmp_path

    return written


def test_voices_are_told_apart():
    header, voices = split_voices(HYMN)
    assert list(voices) == ["S1V1", "S1V2", "S2V1", "S2V2"]
    assert header["K"].startswith("G")
    assert "fermata" not in voices["S1V1"]
    assert "words" not in "".join(voices.values())


def test_a_hymn_is_read(hymnal):
    (score,) = abc_scores(hymnal(HYMN))
    assert score.beats_per_minute == 90
    assert score.beats == 16
    assert [note.midi for note in score.voices[0][:5]] == [67, 69, 71, 72, 74]
    # The key has an F sharp, and the highest note of a chord counts.
    assert [note.midi for note in score.voices[1]] == [62, 62, 62, 64, 66, 62, 62, 62, 64, 66, 66]
    assert [note.start for note in score.voices[3][:5]] == [0, 1, 2, 3, 4]
    assert [note.start for note in score.voices[3][5:]] == [8, 9, 10, 11, 12, 14]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("public domain", "all rights reserved"),
        ("[V: S2V2]", "[V: S1V1]"),
        ("D,2 D,2", "D,2 D,8"),
        ("A,2", "a'2"),
    ],
)
def test_others_are_left_out(hymnal, before, after):
    with pytest.raises(DatasetError, match="no ABC file in four voices"):
        abc_scores(hymnal(HYMN.replace(before, after)))
