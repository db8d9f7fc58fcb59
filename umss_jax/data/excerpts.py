"""Test excerpts: always the same, in the same order, with sources and F0 where it is known.

Here is how excerpts are cut, and the Choral Singing Dataset; :mod:`umss_jax.data.test_sets` finds
those of the other datasets. Layout, as in the reference: ``ROOT/<Song>/audio_16kHz/*.wav`` (one
file per singer, 16 kHz mono), with F0 as :mod:`umss_jax.data.references` looks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from umss_jax.audio.cache import DecodedAudio
from umss_jax.audio.sndfile import system_name
from umss_jax.config import AudioConfig
from umss_jax.data.layouts import STEM_FOLDER
from umss_jax.data.references import read_f0
from umss_jax.errors import DatasetError
from umss_jax.pitch.config import CONFIDENCE
from umss_jax.words import counted

_PART_OFFSET_S = 0.04  # of the first excerpt of a part of BC or BSQ (reference)


class Song(NamedTuple):
    """One song of the dataset and the singers that the test takes."""

    title: str
    folder: str
    duration_s: int
    singer: int
    voice_ids: tuple[str, ...] = ("Soprano", "ContraAlt", "tenor", "Bajos")


NINO_DIOS = Song("Nino Dios", "Nino_Dios", 103, 4)
CSD_TEST_SONGS = (
    Song("El Rossinyol", "El_Rossinyol", 134, 2, ("Soprano", "ContraAlt", "Tenor", "Bajos")),
    Song("Locus Iste", "Locus_Iste", 190, 3),
    NINO_DIOS,
)
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
    f0_hz_synth: np.ndarray | None
    """float32 [J, S / 256], Hz, 0 where unvoiced; ``None`` where there is no reference."""


class Quartet(NamedTuple):
    """A piece of a test set: one recording of each voice, and where its excerpts start."""

    name: str
    """Of its excerpts, up to their start in seconds."""
    song: str
    files: tuple[Path, ...]
    """Soprano to bass."""
    start_frames: tuple[int, ...]
    """In units of the hop (16 ms)."""
    any_rate: bool = False
    """Recordings of any rate and format, brought to 16 kHz; else another rate is an error."""


def excerpt_start_frames(duration_s: int, audio: AudioConfig) -> list[int]:
    """Where the non-overlapping excerpts of a song of some nominal length begin.

    Returns:
        Frames of the hop (16 ms), one for every excerpt from the second on. Seconds are floored to
        the grid in float arithmetic as the reference does: 4 // 0.016 is 249, so that every start
        lies one frame before the whole second.
    """
    count = duration_s * audio.sample_rate_hz // audio.example_samples
    length_s = audio.example_samples / audio.sample_rate_hz
    return [int((index * length_s) // audio.hop_s) for index in range(1, count)]


def start_frames(kind: str, samples: int, audio: AudioConfig) -> list[int]:
    """Where the excerpts of a piece in a layout of some kind begin, in frames of the hop (16 ms).

    In 10-second parts of the Bach or barbershop collection (``bcbsq``) the first excerpt counts
    too, and all lie 0.04 s later than elsewhere (reference).
    """
    if kind != "bcbsq":
        return excerpt_start_frames(samples // audio.sample_rate_hz, audio) or [0]
    length_s = audio.example_samples / audio.sample_rate_hz
    count = samples // audio.example_samples
    return [int((index * length_s + _PART_OFFSET_S) // audio.hop_s) for index in range(count)]


def peak_scale(mixture: np.ndarray) -> np.float32:
    """What scales a mixture to peak 1; 1 for silence."""
    peak = np.abs(mixture).max()
    return np.float32(1 / peak if peak > 0 else 1)


def csd_excerpts(
    root: str | Path,
    songs: Sequence[Song] = CSD_TEST_SONGS,
    with_f0: bool = True,
    *,
    audio: AudioConfig,
) -> Iterator[Excerpt]:
    """Test excerpts of the Choral Singing Dataset, song by song.

    They come in the reference's order and under its names, with the CREPE tracks if asked for;
    ``root`` holds the songs' folders.

    Raises:
        DatasetError: a folder or file is missing, too short, or of another rate; all files of a
            song are looked for before its first excerpt.
    """
    for song in songs:
        yield from cut_excerpts([csd_quartet(Path(root), song, audio)], with_f0, audio=audio)


def csd_quartet(root: Path, song: Song, audio: AudioConfig) -> Quartet:
    """The test quartet of a song of the Choral Singing Dataset.

    Raises:
        DatasetError: a folder or file is missing.
    """
    files = tuple(singer_files(root, song))
    singers = "".join(
        f"_{voice[0].replace('C', 'A')}{file.stem[-6:]}"
        for voice, file in zip(song.voice_ids, files, strict=True)
    )
    starts = tuple(excerpt_start_frames(song.duration_s, audio))
    return Quartet(f"{song.folder.lower()}{singers}", song.title, files, starts)


def cut_excerpts(
    quartets: Sequence[Quartet],
    with_f0: bool = True,
    *,
    audio: AudioConfig,
    minimum_confidence: float = CONFIDENCE,
) -> Iterator[Excerpt]:
    """The excerpts of quartets, one after another, with F0 if asked for.

    Raises:
        DatasetError: a file is missing, too short, or of another rate.
    """
    for quartet in quartets:
        tracks = None
        if with_f0:
            tracks = [read_f0(file, audio, minimum_confidence) for file in quartet.files]
        for start in quartet.start_frames:
            yield _cut(quartet, tracks, start, audio)


def excerpt_name(quartet: Quartet, start: int, audio: AudioConfig) -> str:
    """What the excerpt that starts at a frame of the hop is called (reference)."""
    return f"{quartet.name}_{np.round(start * audio.hop_samples / audio.sample_rate_hz, 3)}"


def _cut(
    quartet: Quartet, tracks: list[np.ndarray] | None, start: int, audio: AudioConfig
) -> Excerpt:
    """One excerpt, scaled to a mixture peak of 1."""
    first = start * audio.hop_samples
    sources = np.stack([_read(file, first, audio, quartet.any_rate) for file in quartet.files])
    mixture = sources.sum(axis=0)
    scale = peak_scale(mixture)
    f0_hz = None
    if tracks is not None:
        # The reference turns seconds back into frames by division, which puts the excerpt at 96 s
        # (and no other of quartet 4) one frame early; the frame itself is exact.
        rows = [track[start : start + audio.synth_frames] for track in tracks]
        for file, row in zip(quartet.files, rows, strict=True):
            if len(row) < audio.synth_frames:
                raise DatasetError(
                    f"the F0 track of {file} ends before frame {start + audio.synth_frames}",
                    "give a track as long as the recording",
                )
        f0_hz = np.stack(rows).astype(np.float32)
    start_s = first / audio.sample_rate_hz
    name = excerpt_name(quartet, start, audio)
    return Excerpt(name, quartet.song, start_s, mixture * scale, sources * scale, f0_hz)


def singer_files(root: Path, song: Song) -> list[Path]:
    """The file of the chosen singer of every section."""
    folder = song_folder(root, song.folder)
    recordings = sorted(folder.glob("*.wav"))
    files = []
    for voice in song.voice_ids:
        section = [file for file in recordings if voice in file.stem]
        if len(section) < song.singer:
            raise DatasetError(
                f"{folder} holds {counted(len(section), 'recording')} named *{voice}*.wav",
                f"add those up to singer {song.singer}",
            )
        files.append(section[song.singer - 1])
    return files


def song_folder(root: Path, name: str) -> Path:
    """``ROOT/<name>/audio_16kHz``; where it is not there, the error says if ROOT is a level off."""
    folder = root / name / STEM_FOLDER
    if folder.is_dir():
        return folder
    below = sorted(path.parent.parent for path in root.glob(f"*/{name}/{STEM_FOLDER}"))
    above = [path for path in root.absolute().parents[:2] if (path / name / STEM_FOLDER).is_dir()]
    if below:
        remedy = f"point one level deeper, at {below[0]}"
    elif above:
        remedy = f"point higher, at {above[0]}"
    else:
        remedy = f"point at the folder that holds {name}/{STEM_FOLDER}"
    raise DatasetError(f"{folder} is not a folder", remedy)


def _read(file: Path, start: int, audio: AudioConfig, any_rate: bool) -> np.ndarray:
    """One example of a recording, float32 mono at 16 kHz."""
    if any_rate:
        samples = np.array(DecodedAudio().load(file)[start : start + audio.example_samples])
    else:
        samples = _read_part(file, start, audio)
    if len(samples) < audio.example_samples:
        raise DatasetError(
            f"{file} ends at sample {start + len(samples)}",
            f"replace it by a recording of at least {start + audio.example_samples} samples",
        )
    return samples


def _read_part(file: Path, start: int, audio: AudioConfig) -> np.ndarray:
    try:
        with soundfile.SoundFile(system_name(file)) as recording:
            if recording.samplerate != audio.sample_rate_hz or recording.channels != 1:
                raise DatasetError(
                    f"{file} has {recording.samplerate} Hz, "
                    f"{counted(recording.channels, 'channel')}",
                    f"convert it to {audio.sample_rate_hz} Hz mono",
                )
            recording.seek(min(start, recording.frames))
            samples: np.ndarray = recording.read(audio.example_samples, dtype="float32")
            return samples
    except (soundfile.SoundFileError, OSError) as error:
        raise DatasetError(f"{file} is not readable audio ({error})", "replace it") from error
