"""Notes of synthetic tracks with known answers, and the file as `mido` reads it."""

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umss_jax.separation.config import NoteConfig
from umss_jax.separation.midi import Note, Tracks, notes, write_midi

FRAME_S = 0.016


def hz(number):
    return 440.0 * 2.0 ** ((np.asarray(number, float) - 69) / 12)


def sung(*parts):
    """Track of (number or None, frames)."""
    return np.concatenate(
        [np.full(n, 0.0 if number is None else hz(number)) for number, n in parts]
    )


def numbers(track):
    return [note.number for note in notes(track, FRAME_S)]


def test_steps_become_notes_with_their_times():
    found = notes(sung((None, 10), (60, 50), (64, 40), (None, 30), (57, 25), (None, 5)), FRAME_S)
    assert [note.number for note in found] == [60, 64, 57]
    times = np.array([(note.start_s, note.end_s) for note in found]) / FRAME_S
    np.testing.assert_allclose(times, [(10, 60), (60, 100), (130, 155)], atol=1e-9)


@pytest.mark.parametrize("rate_hz", [5.0, 6.0])
@pytest.mark.parametrize("depth", [0.3, 0.6])
def test_vibrato_is_one_note(rate_hz, depth):
    t = np.arange(200) * FRAME_S
    found = notes(hz(62 + depth * np.sin(2 * np.pi * rate_hz * t)), FRAME_S)
    assert [note.number for note in found] == [62]
    assert found[0].end_s - found[0].start_s == pytest.approx(200 * FRAME_S)


def test_a_voice_between_two_semitones_does_not_flicker():
    wander = 60.5 + 0.2 * np.sin(np.arange(300) / 30)
    assert len(notes(hz(wander), FRAME_S)) == 1


def test_gaps_and_blips():
    config = NoteConfig()
    gap = round(config.largest_gap_s / FRAME_S)
    assert numbers(sung((60, 30), (None, gap), (60, 30))) == [60]
    assert numbers(sung((60, 30), (None, gap + 1), (60, 30))) == [60, 60]
    blip = round(config.shortest_note_s / FRAME_S) - 1
    assert numbers(sung((None, 20), (60, blip), (None, 20))) == []
    assert numbers(sung((None, 20), (60, blip + 1), (None, 20))) == [60]
    assert numbers(sung((60, 30), (72, 3), (60, 30))) == [60]  # one octave error
    assert numbers(sung((10, 30), (140, 30))) == [10]  # 140 is beyond MIDI
    assert notes(np.zeros(0), FRAME_S) == notes(np.zeros(9), FRAME_S) == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(30, 90)), st.integers(1, 40)), max_size=9))
def test_notes_are_in_order_and_where_the_voice_sounds(parts):
    track = sung(*parts) if parts else np.zeros(0)
    end = 0.0
    for note in notes(track, FRAME_S):
        assert end <= note.start_s < note.end_s <= len(track) * FRAME_S + 1e-9
        end = note.end_s
        inside = track[round(note.start_s / FRAME_S) : round(note.end_s / FRAME_S)]
        assert (inside > 0).mean() > 0.5
        low, high = hz(note.number - 0.76), hz(note.number + 0.76)
        assert ((inside >= low) & (inside <= high)).any()


def test_a_track_per_voice(tmp_path):
    voices = {
        "soprano": [Note(0.5, 1.0, 72), Note(1.0, 2.25, 74)],
        "alto": [],
        "bass": [Note(3600.0, 3601.5, 41)],
    }
    write_midi(tmp_path / "notes.mid", voices)
    file = mido.MidiFile(tmp_path / "notes.mid")
    assert file.type == 1
    assert [track.name for track in file.tracks] == ["", *voices]
    assert file.length == pytest.approx(3601.5, abs=2e-3)
    (tempo,) = [message.tempo for message in file.tracks[0] if message.type == "set_tempo"]
    channels = set()
    for track in file.tracks[1:]:
        tick, read, started = 0, [], {}
        for message in track:
            tick += message.time
            time_s = mido.tick2second(tick, file.ticks_per_beat, tempo)
            if message.type == "note_on":
                started[message.note] = time_s
                assert message.velocity > 0
            elif message.type == "note_off":
                read.append((started.pop(message.note), time_s, message.note))
            elif message.type == "program_change":
                channels.add(message.channel)
        assert not started
        expected = [tuple(note) for note in voices[track.name]]
        assert len(read) == len(expected)
        for found, wanted in zip(read, expected, strict=True):
            assert found == pytest.approx(wanted, abs=1e-3)
    assert len(channels) == 3


def test_the_pitch_wheel_follows_what_is_sung(tmp_path):
    glide = np.concatenate([np.zeros(10), hz(np.linspace(60.0, 60.5, 50)), hz(np.full(20, 59.75))])
    other = np.concatenate([np.zeros(5), hz(np.full(75, 48.25))])
    tracks = Tracks(np.stack([glide, other]), FRAME_S)
    voices = {name: notes(track, FRAME_S) for name, track in zip("ab", tracks.f0_hz, strict=True)}
    write_midi(tmp_path / "a.mid", voices, bent_by=tracks)
    file = mido.MidiFile(tmp_path / "a.mid")
    for channel, track in enumerate(tracks.f0_hz):
        now_s, number, wheel, played = 0.0, None, 0, {}
        for message in file.tracks[1 + channel]:
            now_s += mido.tick2second(message.time, file.ticks_per_beat, 500_000)
            if message.type == "pitchwheel":
                assert message.channel == channel
                wheel = message.pitch
            elif message.type == "note_on":
                number = message.note
            elif message.type == "note_off":
                number = None
            if number is not None:
                played[round(now_s / FRAME_S)] = number + wheel * 2 / 8192
        heard = [frame for frame in played if track[frame] > 0]
        assert len(heard) > (40 if channel == 0 else 0)
        for frame in heard:
            assert abs(12 * np.log2(hz(played[frame]) / track[frame])) < 0.02
    write_midi(tmp_path / "b.mid", voices)
    assert not [
        m
        for track in mido.MidiFile(tmp_path / "b.mid").tracks
        for m in track
        if m.type == "pitchwheel"
    ]


def test_thresholds_of_salience():
    track = sung((60, 40), (62, 40), (64, 40))
    salience = np.concatenate([np.full(40, 0.9), np.full(40, 0.4), np.full(40, 0.6)])

    def found(**thresholds):
        return [n.number for n in notes(track, FRAME_S, NoteConfig(**thresholds), salience)]

    assert found() == [60, 62, 64]
    assert found(frame_salience=0.5) == [60, 64]
    assert found(onset_salience=0.7) == [60]
    soft = salience.copy()
    soft[:20] = 0.2
    late = notes(track, FRAME_S, NoteConfig(frame_salience=0.5), soft)
    assert late[0].start_s == pytest.approx(20 * FRAME_S)
