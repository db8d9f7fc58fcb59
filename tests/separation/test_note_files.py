"""Notes as a table and as a sound, against notes that are known."""

import csv

import mido
import numpy as np
import pytest
import soundfile
from stub_pitch_engine import StubPitchEngine

from umss_jax.cli import f0 as f0_command
from umss_jax.cli import run
from umss_jax.errors import UsageError
from umss_jax.separation.config import NoteConfig
from umss_jax.separation.midi import Note, notes
from umss_jax.separation.note_files import write_note_table, write_sonified
from umss_jax.separation.pitch_files import PitchOptions, track_file

FRAME_S = 0.016
SUNG = {
    "soprano": [Note(0.16, 0.8, 72), Note(0.96, 12.0, 74)],
    "bass": [Note(0.32, 11.2, 45)],
}


def test_the_table_is_in_the_order_of_the_onsets(tmp_path):
    f0_hz = np.zeros((2, 800))
    f0_hz[0, 10:50], f0_hz[0, 60:750], f0_hz[1, 20:700] = 520.0, 590.0, 110.5
    f0_hz[0, 15:20] = 0  # a consonant within the note
    write_note_table(tmp_path / "a.csv", SUNG, f0_hz, FRAME_S)
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["voice", "onset_s", "offset_s", "pitch_midi", "f0_hz"],
        ["soprano", "0.160", "0.800", "72", "520.00"],
        ["bass", "0.320", "11.200", "45", "110.50"],
        ["soprano", "0.960", "12.000", "74", "590.00"],
    ]


def test_the_sound_has_the_pitches_at_their_times(tmp_path):
    write_sonified(tmp_path / "a.wav", SUNG, 13.0, 16_000)
    sound, rate = soundfile.read(tmp_path / "a.wav")
    assert (len(sound), rate) == (13 * 16_000, 16_000)

    def strongest(start_s, end_s, low_hz, high_hz):
        part = sound[int(start_s * rate) : int(end_s * rate)]
        power = np.abs(np.fft.rfft(part * np.hanning(len(part)), 4 * len(part)))
        hz = np.fft.rfftfreq(4 * len(part), 1 / rate)
        power[(hz < low_hz) | (hz > high_hz)] = 0
        return hz[np.argmax(power)]

    assert strongest(0.2, 0.75, 400, 800) == pytest.approx(523.25, rel=2e-3)
    for start_s in (1.0, 9.5):  # the second is across two chunks
        assert strongest(start_s, start_s + 1, 400, 800) == pytest.approx(587.33, rel=2e-3)
        assert strongest(start_s, start_s + 1, 80, 160) == pytest.approx(110.0, rel=2e-3)
    assert not sound[: int(0.159 * rate)].any()
    assert not sound[int(12.001 * rate) :].any()
    assert 0.3 < np.abs(sound).max() <= 0.8
    assert np.abs(np.diff(sound)).max() < 0.4  # no click where chunks meet


def test_the_range_and_the_shortest_note():
    hz = 440 * 2 ** ((np.repeat([40, 60, 80], [50, 12, 50]) - 69) / 12)
    numbers = [note.number for note in notes(hz, FRAME_S)]
    assert numbers == [40, 60, 80]
    for settings, expected in (
        ({"lowest_note": 41}, [60, 80]),
        ({"highest_note": 79}, [40, 60]),
        ({"lowest_note": 60, "highest_note": 60}, [60]),
        ({"shortest_note_s": 0.3}, [40, 80]),
    ):
        assert [n.number for n in notes(hz, FRAME_S, NoteConfig(**settings))] == expected
    with pytest.raises(UsageError, match="above --highest"):
        NoteConfig(lowest_note=70, highest_note=60)


def test_bars_need_a_tempo(recording, tmp_path):
    pytest.importorskip("music21")
    options = PitchOptions(musicxml=True)
    said = []
    for bpm, stated in ((None, b"<per-minute>120"), (60.0, b"<per-minute>60")):
        asked = options._replace(bpm=bpm, overwrite=True)
        made = track_file(
            recording, tmp_path / "out", StubPitchEngine(), options=asked, tell=said.append
        )
        assert made[1].name == "choir.musicxml"
        content = made[1].read_bytes()
        assert b"<part-name>soprano" in content
        assert stated in content
    assert len(said) == 1
    assert "choir.wav has no steady tempo" in said[0]


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "choir.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.4, 0.4, 150_000), 22_050)
    return path


def test_files_of_a_recording(recording, tmp_path):
    options = PitchOptions(note_table=True, sonify=True)
    made = track_file(recording, tmp_path / "out", StubPitchEngine(), options=options)
    assert [path.name for path in made] == ["choir.f0.csv", "choir.notes.csv", "choir.notes.wav"]
    assert soundfile.info(made[2]).duration == pytest.approx(150_000 / 22_050, abs=1e-4)
    with pytest.raises(UsageError, match="--notes needs voices"):
        track_file(recording, tmp_path, StubPitchEngine(voices=()), options=options)


def test_the_command(recording, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(f0_command, "load_engine", lambda *options: StubPitchEngine())
    asked = ("--notes", "--sonify", "--midi", "--bpm", "90", "--highest", "50")
    assert run(["f0", str(recording), "-o", str(tmp_path / "out"), *asked, "-q"]) == 0
    file = mido.MidiFile(tmp_path / "out" / "choir.f0.mid")
    tempo = [message.tempo for message in file.tracks[0] if message.type == "set_tempo"]
    assert mido.tempo2bpm(tempo[0]) == pytest.approx(90, abs=1e-3)
    with (tmp_path / "out" / "choir.notes.csv").open() as table:
        rows = list(csv.DictReader(table))
    numbers = {m.note for track in file.tracks for m in track if m.type == "note_on"}
    assert numbers == {int(row["pitch_midi"]) for row in rows}
    assert numbers
    assert max(numbers) <= 50
    capfd.readouterr()
    for options, word in (
        (("--bpm", "0"), "--bpm"),
        (("--bpm", "nan"), "--bpm"),
        (("--musicxml", "--assigner", "none"), "--musicxml"),
        (("--lowest", "200"), "--lowest"),
        (("--lowest", "70", "--highest", "60"), "--highest"),
        (("--shortest-note", "-1"), "--shortest-note"),
        (("--sonify", "--assigner", "none"), "--sonify"),
    ):
        assert run(["f0", str(recording), "-o", str(tmp_path / "x"), *options]) == 2
        err = capfd.readouterr().err.splitlines()
        assert len(err) == 1
        assert word in err[0]
