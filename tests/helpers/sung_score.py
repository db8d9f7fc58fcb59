"""A small piece in four voices: its notes, MIDI files of it, and the salience of a performance."""

from pathlib import Path

import numpy as np

from umss_jax.config import VOICES, HcqtConfig

GRID = HcqtConfig()
FRAME_S = 0.016
LOWEST = {"soprano": 65, "alto": 59, "tenor": 53, "bass": 43}


def piece(notes=40, seed=0, voices=VOICES):
    """Rows (onset, offset, pitch) of every voice in beats, which move by steps and leaps."""
    random = np.random.default_rng(seed)
    rows = {}
    for voice in voices:
        lengths = random.choice([0.5, 1.0, 1.0, 2.0], notes)
        onsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        pitch, sung = LOWEST[voice] + 4, []
        for onset, length in zip(onsets, lengths, strict=True):
            move = random.choice([-4, -2, -1, 1, 2, 3, 5])
            pitch = int(np.clip(pitch + move, LOWEST[voice], LOWEST[voice] + 12))
            sung.append((float(onset), float(onset + length), pitch))
        end = notes * 0.9
        rows[voice] = [one for one in sung if one[1] <= end]
    return rows


def write_midi(path, rows, names=None, per_minute=120, channel=0, drums=False):
    """A MIDI file with a track for each voice; `names` may rename or leave out."""
    from mido import Message, MetaMessage, MidiFile, MidiTrack, bpm2tempo

    file = MidiFile(type=1, ticks_per_beat=480)
    file.tracks.append(MidiTrack([MetaMessage("set_tempo", tempo=bpm2tempo(per_minute))]))
    for number, (voice, notes) in enumerate(rows.items()):
        track = MidiTrack()
        name = voice if names is None else names[number]
        if name:
            track.append(MetaMessage("track_name", name=name))
        events = [(round(a * 480), 1, p) for a, _, p in notes]
        events += [(round(b * 480), 0, p) for _, b, p in notes]
        now = 0
        for tick, is_on, pitch in sorted(events):
            kind = "note_on" if is_on else "note_off"
            of = 9 if drums else channel
            track.append(Message(kind, note=pitch, time=tick - now, channel=of))
            now = tick
        file.tracks.append(track)
    file.save(Path(path))
    return Path(path)


def performance(rows, at_s, seconds, semitones=0.0, level=0.9, silent=()):
    """The salience ``[360, frames]`` and true F0 ``[J, frames]`` of rows sung when `at_s` says.

    ``at_s`` maps beats to seconds. Voices in ``silent`` do not sing.
    """
    frames = round(seconds / FRAME_S)
    times = np.arange(frames) * FRAME_S
    bins = np.arange(GRID.bins)[:, None]
    salience = np.full((GRID.bins, frames), 1e-3, np.float32)
    f0_hz = np.zeros((len(rows), frames))
    for number, (voice, notes) in enumerate(rows.items()):
        if voice in silent:
            continue
        for onset, offset, pitch in notes:
            first, last = np.searchsorted(times, [at_s(onset), at_s(offset)])
            f0_hz[number, first:last] = 440 * 2 ** ((pitch + semitones - 69) / 12)
        with np.errstate(divide="ignore"):
            place = 60 * np.log2(f0_hz[number] / GRID.fmin_hz)
        blob = level * np.exp(-0.5 * np.square((bins - place) / 1.2))
        salience = np.maximum(salience, np.where(f0_hz[number] > 0, blob, 0))
    return salience.astype(np.float32), f0_hz
