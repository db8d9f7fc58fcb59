"""Notes as a table, and as a sound to check them by ear."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from umss_jax.audio.writing import SoundWriter
from umss_jax.pitch.grid import midi_to_hz
from umss_jax.separation.midi import Note

_COLUMNS = ("voice", "onset_s", "offset_s", "pitch_midi", "f0_hz")
_PARTIALS = (1.0, 0.5, 0.25)
_FADE_S = 0.01
_LEVEL = 0.8
_CHUNK_S = 10


def write_note_table(
    path: Path,
    voices: Mapping[str, Sequence[Note]],
    f0_hz: np.ndarray,
    frame_s: float,
) -> None:
    """Writes the notes as a table, a line each, in the order of their onsets.

    ``f0_hz`` ``[J, frames]`` are the tracks that the notes are of: the last column is the median of
    what is sung, which the whole number of semitones does not tell.
    """
    rows = []
    for number, (voice, sung) in enumerate(voices.items()):
        for note in sung:
            start, end = (round(time_s / frame_s) for time_s in (note.start_s, note.end_s))
            inside = f0_hz[number, start:end]
            median = float(np.median(inside[inside > 0]))
            times = f"{note.start_s:.3f}", f"{note.end_s:.3f}"
            rows.append((note.start_s, number, [voice, *times, note.number, f"{median:.2f}"]))
    rows.sort(key=lambda row: row[:2])
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_COLUMNS)
        table.writerows(row for _, _, row in rows)


def write_sonified(
    path: Path, voices: Mapping[str, Sequence[Note]], duration_s: float, sample_rate_hz: int
) -> None:
    """Writes the notes as tones of three partials: mono WAV of 16 bits, as long as the recording.

    It is made in pieces, so that memory does not grow with the length.
    """
    samples = round(duration_s * sample_rate_hz)
    share = _LEVEL / len(voices)
    sung = [note for one in voices.values() for note in one]
    chunk = _CHUNK_S * sample_rate_hz
    with SoundWriter(path, sample_rate_hz, 1, "PCM_16", "WAV") as file:
        for start in range(0, samples, chunk):
            at = np.arange(start, min(start + chunk, samples))
            mixed = np.zeros(len(at))
            for note in sung:
                first, end = (round(s * sample_rate_hz) - start for s in (note.start_s, note.end_s))
                inside = slice(max(0, first), max(0, min(end, len(at))))
                mixed[inside] += share * _tone(note, at[inside] / sample_rate_hz)
            file.write(mixed[:, None])


def _tone(note: Note, times_s: np.ndarray) -> np.ndarray:
    """A note at moments within it, at most 1."""
    since, until = times_s - note.start_s, note.end_s - times_s
    envelope = np.clip(np.minimum(since, until) / _FADE_S, 0.0, 1.0)
    phase = 2 * np.pi * midi_to_hz(note.number) * since
    tone = sum(level * np.sin(n * phase) for n, level in enumerate(_PARTIALS, 1))
    return envelope * np.asarray(tone) / sum(_PARTIALS)
