"""Score files: what is read of them, and on one line what cannot be."""

import os
import zipfile

import numpy as np
import pytest
from mutations import mutate
from sung_score import piece, write_midi

from umss_jax.errors import ScoreError, UsageError
from umss_jax.scores import reading
from umss_jax.scores.fit import open_score
from umss_jax.scores.midi_notes import midi_score
from umss_jax.scores.reading import read_score

MUSICXML = """<?xml version="1.0" encoding="UTF-8"?>
<score-partwise version="3.1"><part-list>
<score-part id="P1"><part-name>Sopran</part-name></score-part></part-list>
<part id="P1">
<measure number="1"><attributes><divisions>2</divisions><time><beats>2</beats>
<beat-type>4</beat-type></time></attributes><direction><sound tempo="60"/></direction>
<note><pitch><step>A</step><octave>4</octave></pitch><duration>2</duration></note>
<note><pitch><step>C</step><alter>1</alter><octave>5</octave></pitch><duration>2</duration>
<tie type="start"/></note></measure>
<measure number="2"><note><pitch><step>C</step><alter>1</alter><octave>5</octave></pitch>
<duration>2</duration><tie type="stop"/></note><note><rest/><duration>2</duration></note>
<barline location="right"><repeat direction="backward"/></barline></measure>
<measure number="3"><note><pitch><step>E</step><octave>5</octave></pitch><duration>4</duration>
</note></measure></part></score-partwise>
"""
KRN = """**kern\t**kern
*I"Bass\t*I"Soprano
*M4/4\t*M4/4
=1\t=1
4C\t4cc
4D\t4b
2E\t2a
=2\t=2
1C\t1g
==\t==
*-\t*-
"""
ABC = """X: 1
T: A Hymn
M: 4/4
L: 1/4
V: S clef=treble
V: A
V: T
V: B
K: C
[V: S] c d e f | g4 |
[V: A] G G G A | G4 |
[V: T] E D C C | D4 |
[V: B] C, B,, A,, F,, | G,,4 |
"""


@pytest.fixture
def rows():
    return piece(12)


def test_notes_of_a_midi_file(tmp_path, rows):
    (score,) = read_score(write_midi(tmp_path / "a.mid", rows, per_minute=90))
    assert [part.name for part in score.parts] == list(rows)
    for part, notes in zip(score.parts, rows.values(), strict=True):
        table = np.stack([part.onset_beats, part.offset_beats, part.pitch], axis=1)
        np.testing.assert_allclose(table, notes, atol=1e-3)
        np.testing.assert_allclose(part.onset_s, part.onset_beats * 60 / 90, atol=1e-3)
        np.testing.assert_array_equal(part.measure, part.onset_beats // 4 + 1)
        np.testing.assert_allclose(part.beat, part.onset_beats % 4 + 1)


def test_tempos_bars_and_repeated_pitches():
    from mido import Message, MetaMessage, MidiFile, MidiTrack

    track = MidiTrack(
        [
            MetaMessage("time_signature", numerator=3, denominator=4),
            MetaMessage("set_tempo", tempo=1_000_000),
            Message("note_on", note=60, time=0),
            Message("note_on", note=60, velocity=0, time=100),
            Message("note_on", note=60, time=0),
            MetaMessage("set_tempo", tempo=500_000, time=200),
            Message("note_off", note=60, time=100),
            Message("note_on", note=62, time=0),  # never ended
            MetaMessage("end_of_track", time=50),
        ]
    )
    file = MidiFile(type=0, ticks_per_beat=100)
    file.tracks.append(track)
    part = midi_score(saved(file)).parts[0]
    np.testing.assert_allclose(part.onset_s, [0, 1, 3.5])
    np.testing.assert_allclose(part.offset_s, [1, 3.5, 3.75])
    np.testing.assert_array_equal(part.measure, [1, 1, 2])
    np.testing.assert_allclose(part.beat, [1, 2, 2])


def saved(file):
    import io

    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def test_channels_of_one_track_are_parts_without_drums():
    from mido import Message, MidiFile, MidiTrack

    notes = [Message("note_on", channel=c, note=50 + c, time=0) for c in (0, 3, 9)]
    notes += [Message("note_off", channel=c, note=50 + c, time=96 * (c == 0)) for c in (0, 3, 9)]
    file = MidiFile(type=0)
    file.tracks.append(MidiTrack(notes))
    assert [part.pitch.tolist() for part in midi_score(saved(file)).parts] == [[50], [53]]


def test_repeats_are_read_both_ways(tmp_path):
    pytest.importorskip("music21", reason="music21 reads MusicXML")
    path = tmp_path / "a.musicxml"
    path.write_text(MUSICXML)
    played, written = read_score(path)
    assert (played.form, written.form) == ("expanded", "written")
    part = written.parts[0]
    assert part.name == "Sopran"
    assert part.pitch.tolist() == [69, 73, 76]
    np.testing.assert_allclose(part.onset_s, [0, 1, 4])
    np.testing.assert_allclose(part.offset_s, [1, 3, 6])  # tied notes are one
    assert part.measure.tolist() == [1, 1, 3]
    assert played.parts[0].pitch.tolist() == [69, 73, 69, 73, 76]


def test_humdrum_and_abc(tmp_path):
    pytest.importorskip("music21", reason="music21 reads both")
    (tmp_path / "a.krn").write_text(KRN)
    (score, *_) = read_score(tmp_path / "a.krn")
    sung = {part.name: part.pitch.tolist() for part in score.parts}
    assert sung == {"Bass": [48, 50, 52, 48], "Soprano": [72, 71, 69, 67]}
    (tmp_path / "a.abc").write_text(ABC)
    cast = open_score(tmp_path / "a.abc").casts[0]
    assert [voice.part.pitch[0] for voice in cast.voices] == [72, 67, 64, 48]


def bad_files(folder):
    rows = piece(12)
    whole = write_midi(folder / "whole.mid", rows).read_bytes()
    without = {voice: notes for voice, notes in rows.items() if voice != "bass"}
    five = {**rows, "fifth": rows["alto"]}
    made = {
        "empty.mid": b"",
        "text.mid": b"This is no score at all.\n" * 20,
        "truncated.mid": whole[: len(whole) // 2],
        "broken.musicxml": MUSICXML[: len(MUSICXML) // 2].encode(),
        "text.krn": b"no kern",
        "text.abc": b"no tune",
        "zip.mxl": b"PK\3\4 no archive",
        "score.pdf": b"%PDF-1.4",
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    paths = [folder / name for name in made]
    paths.append(write_midi(folder / "no_notes.mid", {voice: [] for voice in rows}))
    paths.append(write_midi(folder / "drums.mid", rows, drums=True))
    paths.append(write_midi(folder / "no_bass.mid", without))
    paths.append(write_midi(folder / "three.mid", without, names=["", "", ""]))
    paths.append(write_midi(folder / "five.mid", five, names=[""] * 5))
    (folder / "folder.mid").mkdir()
    os.mkfifo(folder / "pipe.mid")
    return [*paths, folder / "folder.mid", folder / "pipe.mid", folder / "missing.mid"]


def test_what_is_no_score_is_refused_on_one_line(tmp_path):
    pytest.importorskip("music21", reason="music21 reads some of them")
    for path in bad_files(tmp_path):
        with pytest.raises(ScoreError) as refused:
            open_score(path)
        line = str(refused.value)
        assert path.name in line
        assert line.isprintable()
        assert len(line) < 300


def test_damaged_midi_files_are_read_or_refused(tmp_path, rows):
    whole = write_midi(tmp_path / "whole.mid", rows).read_bytes()
    rng, path = np.random.default_rng(0), tmp_path / "damaged.mid"
    lines: list[str] = []
    for _ in range(200):
        path.write_bytes(mutate(whole, rng))
        try:
            cast = open_score(path).casts[0]
        except ScoreError as error:
            lines.append(str(error))
        else:
            assert all(np.isfinite(voice.part.onset_s).all() for voice in cast.voices)
    assert 20 < len(lines) < 200
    assert all(line.isprintable() for line in lines)


def test_music21_says_nothing_of_slips(tmp_path, capfd):
    pytest.importorskip("music21", reason="music21 reads Humdrum")
    path = tmp_path / "a.krn"
    path.write_text(KRN.replace("4D\t4b", "4D\t4>"))
    assert len(read_score(path)[0].parts) == 2
    assert capfd.readouterr() == ("", "")


def test_slips_of_programs(tmp_path, rows, monkeypatch):
    """Tempos that nobody plays, hours of rests, and an archive that unpacks to gigabytes."""
    for per_minute, expected in ((900_000, 0.06), (3.7, 12.0)):
        (score,) = read_score(write_midi(tmp_path / "a.mid", rows, per_minute=per_minute))
        part = score.parts[0]
        assert part.offset_s[-1] == pytest.approx(part.offset_beats[-1] * expected)
    late = {
        voice: [(a + 100_000, b + 100_000, p) for a, b, p in notes] for voice, notes in rows.items()
    }
    with pytest.raises(ScoreError, match="too long"):
        read_score(write_midi(tmp_path / "late.mid", late))
    soon = {voice: [(a + 100, b + 100, p) for a, b, p in notes] for voice, notes in rows.items()}
    cast = open_score(write_midi(tmp_path / "soon.mid", soon)).casts[0]
    assert min(voice.part.onset_s[0] for voice in cast.voices) == 0
    assert cast.voices[0].part.onset_beats[0] == 100
    pytest.importorskip("music21", reason="asked for before the archive is opened")
    monkeypatch.setattr(reading, "_MOST_UNPACKED_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "a.mxl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", bytes(2**21))
    with pytest.raises(ScoreError, match="unpacks"):
        read_score(tmp_path / "a.mxl")


def test_the_extra_is_named(tmp_path, monkeypatch, rows):
    path = write_midi(tmp_path / "a.mid", rows)
    (tmp_path / "a.krn").write_text(KRN)
    for package, file in (("mido", path), ("music21", tmp_path / "a.krn")):
        with monkeypatch.context() as without:
            without.setitem(__import__("sys").modules, package, None)
            with pytest.raises(UsageError, match=r"umss-jax\[scores\]"):
                read_score(file)
