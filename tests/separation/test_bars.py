"""Bars of notes whose tempo is known."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from umss_jax.separation.bars import Beat, beat_at, find_beat, in_beats, write_musicxml
from umss_jax.separation.config import BarConfig
from umss_jax.separation.midi import Note


def melody(bpm, first_s, count, jitter_s=0.0, seed=0):
    """Onsets on beats and half beats, in a pattern."""
    rng = np.random.default_rng(seed)
    beats = np.cumsum(np.r_[0, np.resize([1, 1, 0.5, 0.5, 1, 2], count - 1)])
    return first_s + beats * 60 / bpm + rng.normal(0, jitter_s, count)


@pytest.mark.parametrize(
    ("bpm", "found_bpm"), [(54.0, 108.0), (66.0, 66.0), (72.3, 72.3), (96.0, 96.0), (120.0, 120.0)]
)
@pytest.mark.parametrize("jitter_s", [0.0, 0.03])
def test_a_steady_tempo_is_found(bpm, found_bpm, jitter_s):
    beat = find_beat(melody(bpm, 0.9, 60, jitter_s))
    assert beat.bpm == pytest.approx(found_bpm, rel=0.005)
    off = (0.9 - beat.first_s) / (60 / found_bpm)
    assert abs(off - round(off)) < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_no_tempo_where_there_is_none(seed):
    rng = np.random.default_rng(seed)
    assert find_beat(np.cumsum(rng.uniform(0.2, 1.4, 100))) is None
    assert find_beat(melody(90, 0, 8)) is None  # too few to say


def test_notes_stand_on_the_grid_and_do_not_overlap():
    beat = beat_at([1.0, 2.0, 3.0], 60.0)
    sung = [Note(1.02, 1.97, 60), Note(2.05, 2.52, 62), Note(2.55, 2.6, 64), Note(2.62, 4.9, 65)]
    assert in_beats(sung, Beat(60.0, 1.0)) == [
        *((0.0, 1.0, 60), (1.0, 0.5, 62), (1.5, 0.25, 64), (1.75, 2.25, 65)),
    ]
    assert beat.first_s == pytest.approx(1.0, abs=1e-9)


def test_the_file_holds_the_notes_in_bars(tmp_path):
    pytest.importorskip("music21")
    voices = {
        "soprano": [Note(1.0, 3.0, 72), Note(3.0, 6.0, 74), Note(6.5, 7.0, 76)],
        "bass": [Note(1.0, 5.0, 48)],
    }
    path = tmp_path / "a.musicxml"
    write_musicxml(path, "Title", voices, Beat(60.0, 1.0))
    root = ElementTree.parse(path).getroot()
    names = [part.findtext("part-name") for part in root.iter("score-part")]
    assert names == ["soprano", "bass"]
    soprano, bass = root.iter("part")
    assert [len(part.findall("measure")) for part in (soprano, bass)] == [2, 1]
    divisions = int(soprano.findtext("measure/attributes/divisions"))
    heard, now = [], 0.0
    for one in soprano.iter("note"):
        length = int(one.findtext("duration")) / divisions
        if one.find("rest") is None:
            pitch = one.find("pitch")
            is_on = "stop" not in [tie.get("type") for tie in one.findall("tie")]
            heard.append((now, pitch.findtext("step") + pitch.findtext("octave"), length, is_on))
        now += length
    assert heard == [
        *((0.0, "C5", 2.0, True), (2.0, "D5", 2.0, True), (4.0, "D5", 1.0, False)),
        (5.5, "E5", 0.5, True),
    ]


@pytest.mark.parametrize(
    ("config", "metre", "bars"),
    [
        (BarConfig(), ("4", "4"), 3),
        (BarConfig(beats_per_bar=3), ("3", "4"), 4),
        (BarConfig(beats_per_bar=6, beat_unit=8), ("6", "8"), 4),
        (BarConfig(beats_per_bar=2, beat_unit=2), ("2", "2"), 3),
        (BarConfig(beats_per_bar=5), ("5", "4"), 3),
    ],
)
def test_bars_of_other_metres(tmp_path, config, metre, bars):
    pytest.importorskip("music21")
    voices = {"alto": [Note(n, n + 1.0, 60 + n) for n in range(12)]}
    write_musicxml(tmp_path / "a.musicxml", "Title", voices, Beat(60.0, 0.0), config)
    part = next(ElementTree.parse(tmp_path / "a.musicxml").getroot().iter("part"))
    time = part.find("measure/attributes/time")
    assert (time.findtext("beats"), time.findtext("beat-type")) == metre
    assert len(part.findall("measure")) == bars
