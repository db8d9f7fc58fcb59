"""Test excerpts of the Choral Singing Dataset: always the same, in the same order.

Layout, as in the reference: ``ROOT/<Song>/audio_16kHz/*.wav`` (one file per singer, 16 kHz mono)
and ``ROOT/<Song>/crepe_f0_center/`` with either ``<singer>.f0.csv`` (time, frequency, confidence;
a row every 16 ms) or ``<singer>_frequency.npy`` and ``<singer>_confidence.npy``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from umss_jax.config import AudioConfig, EvaluationConfig
from umss_jax.errors import DatasetError

_AUDIO = AudioConfig()
_EVALUATION = EvaluationConfig()


class Song(NamedTuple):
    """One song of the dataset and the singers that the test takes."""

    title: str
    folder: str
    duration_s: int
    singer: int
    voice_ids: tuple[str, ...] = ("Soprano", "ContraAlt", "tenor", "Bajos")


EL_ROSSINYOL = Song(
    "El Rossinyol", "El_Rossinyol", 134, 2, ("Soprano", "ContraAlt", "Tenor", "Bajos")
)
LOCUS_ISTE = Song("Locus Iste", "Locus_Iste", 190, 3)
NINO_DIOS = Song("Nino Dios", "Nino_Dios", 103, 4)
CSD_TEST_SONGS = (EL_ROSSINYOL, LOCUS_ISTE, NINO_DIOS)
"""The test set of the paper."""


class Excerpt(NamedTuple):
    """One example of a test set."""

    name: str
    song: str
    start_s: float
    mixture: np.ndarray
    """float32 [S], 16 kHz, peak 1."""
    sources: np.ndarray
    """float32 [J, S], soprano to bass, scaled with the mixture; they sum to it."""
    f0_hz_250: np.ndarray | None
    """float32 [J, S / 256], Hz, 0 where unvoiced; ``None`` where there is no reference."""


def excerpt_start_frames(duration_s: int, audio: AudioConfig = _AUDIO) -> list[int]:
    """Where the non-overlapping excerpts of a song begin.

    Args:
        duration_s: nominal length of the song.
        audio: rate, length of an excerpt, hop.

    Returns:
        Frames of the hop (16 ms), one for every excerpt from the second on. Seconds are floored to
        the grid in float arithmetic as the reference does: 4 // 0.016 is 249, so that every start
        lies one frame before the whole second.
    """
    count = duration_s * audio.sample_rate_hz // audio.example_samples
    length_s = audio.example_samples / audio.sample_rate_hz
    hop_s = audio.hop_samples / audio.sample_rate_hz
    return [int((index * length_s) // hop_s) for index in range(1, count)]


def csd_excerpts(
    root: str | Path,
    songs: Sequence[Song] = CSD_TEST_SONGS,
    with_f0: bool = True,
    audio: AudioConfig = _AUDIO,
    evaluation: EvaluationConfig = _EVALUATION,
) -> Iterator[Excerpt]:
    """Test excerpts of the Choral Singing Dataset, song by song.

    Args:
        root: folder that holds the songs' folders.
        songs: which songs, and which singer of each section.
        with_f0: read the CREPE tracks too.
        audio: rate, length of an excerpt, hop.
        evaluation: CREPE's confidence from which on a frame counts as voiced.

    Yields:
        Excerpts in the reference's order and under its names.

    Raises:
        DatasetError: a folder or file is missing, too short, or of another rate; all files of a
            song are looked for before its first excerpt.
    """
    for song in songs:
        files = singer_files(Path(root), song)
        tracks = [_read_crepe(file, evaluation) for file in files] if with_f0 else None
        for start in excerpt_start_frames(song.duration_s, audio):
            yield _cut(song, files, tracks, start, audio)


def _cut(
    song: Song,
    files: list[Path],
    tracks: list[np.ndarray] | None,
    start: int,
    audio: AudioConfig,
) -> Excerpt:
    """One excerpt, scaled to a mixture peak of 1."""
    sources = np.stack([_read_audio(file, start * audio.hop_samples, audio) for file in files])
    mixture = sources.sum(axis=0)
    peak = np.abs(mixture).max()
    scale = np.float32(1 / peak if peak > 0 else 1)
    f0_hz = None
    if tracks is not None:
        # The reference turns seconds back into frames by division, which puts the excerpt at 96 s
        # (and no other of this song) one frame early; the frame itself is exact.
        rows = [track[start : start + audio.frames_250] for track in tracks]
        short = [file for file, row in zip(files, rows, strict=True) if len(row) < audio.frames_250]
        if short:
            raise DatasetError(
                f"the F0 track of {short[0]} ends before frame {start + audio.frames_250}",
                "give a track as long as the recording",
            )
        f0_hz = np.stack(rows).astype(np.float32)
    start_s = start * audio.hop_samples / audio.sample_rate_hz
    singers = "".join(
        f"_{voice[0].replace('C', 'A')}{file.stem[-6:]}"
        for voice, file in zip(song.voice_ids, files, strict=True)
    )
    name = f"{song.folder.lower()}{singers}_{np.round(start_s, 3)}"
    return Excerpt(name, song.title, start_s, mixture * scale, sources * scale, f0_hz)


def singer_files(root: Path, song: Song) -> list[Path]:
    """The file of the chosen singer of every section."""
    folder = root / song.folder / "audio_16kHz"
    if not folder.is_dir():
        below = sorted(root.glob(f"*/{song.folder}"))
        remedy = (
            f"point one level deeper, at {below[0].parent}"
            if below
            else (f"point at the folder that holds {song.folder}")
        )
        raise DatasetError(f"{folder} is not a folder", remedy)
    recordings = sorted(folder.glob("*.wav"))
    files = []
    for voice in song.voice_ids:
        section = [file for file in recordings if voice in file.stem]
        if len(section) < song.singer:
            raise DatasetError(
                f"{folder} holds {len(section)} recordings named *{voice}*.wav",
                f"add those up to singer {song.singer}",
            )
        files.append(section[song.singer - 1])
    return files


def _read_audio(file: Path, start: int, audio: AudioConfig) -> np.ndarray:
    """One example of a recording, float32 mono."""
    try:
        with soundfile.SoundFile(file) as recording:
            if recording.samplerate != audio.sample_rate_hz or recording.channels != 1:
                raise DatasetError(
                    f"{file} has {recording.samplerate} Hz, {recording.channels} channels",
                    f"convert it to {audio.sample_rate_hz} Hz mono",
                )
            recording.seek(min(start, recording.frames))
            samples = recording.read(audio.example_samples, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise DatasetError(f"{file} is not readable audio ({error})", "replace it") from error
    if len(samples) < audio.example_samples:
        raise DatasetError(
            f"{file} ends at sample {start + len(samples)}",
            f"replace it by a recording of at least {start + audio.example_samples} samples",
        )
    return samples


def _read_crepe(recording: Path, evaluation: EvaluationConfig) -> np.ndarray:
    """F0 of a whole recording, [frames], Hz, 0 where CREPE's confidence is too low."""
    folder = recording.parent.parent / "crepe_f0_center"
    table = folder / f"{recording.stem}.f0.csv"
    arrays = [folder / f"{recording.stem}_{part}.npy" for part in ("frequency", "confidence")]
    try:
        if table.is_file():
            columns = np.loadtxt(table, delimiter=",", skiprows=1, ndmin=2)
            frequency, confidence = columns[:, 1], columns[:, 2]
        elif all(file.is_file() for file in arrays):
            frequency, confidence = (np.load(file, allow_pickle=False) for file in arrays)
        else:
            raise DatasetError(
                f"{folder} has no F0 of {recording.stem}",
                f"expected {table.name}, or {arrays[0].name} and {arrays[1].name}",
            )
        return np.where(confidence < evaluation.crepe_confidence, 0.0, frequency)
    except (ValueError, IndexError) as error:
        raise DatasetError(
            f"the F0 of {recording.stem} in {folder} is damaged ({error})", "replace it"
        ) from error
