"""Which quartets of a dataset are evaluated: those of the paper, or of any folder with stems.

- ``csd``: Choral Singing Dataset, El Rossinyol singers 2, Locus Iste 3, Nino Dios 4.
- ``cantoria``: Cantoría, songs EJB1, EJB2 and CEA.
- ``bcbsq``: the validation parts of the Bach chorales and barbershop quartets, 8 and 9 of each.
- ``folder``: everything that has four stems in a layout of :mod:`umss_jax.data.layouts`.

Source: the reference's ``data.py`` and ``eval.py``. Recordings of the first three are 16 kHz mono.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import soundfile

from umss_jax.audio.cache import DecodedAudio
from umss_jax.audio.sndfile import system_name
from umss_jax.config import VOICES, AudioConfig, VoicesConfig
from umss_jax.data.config import Dataset
from umss_jax.data.excerpts import (
    CSD_TEST_SONGS,
    Quartet,
    csd_quartet,
    excerpt_start_frames,
    song_folder,
    start_frames,
)
from umss_jax.data.layouts import STEM_FOLDER, Piece, choose_pieces, choose_singers, find_layout
from umss_jax.data.references import has_f0
from umss_jax.errors import DatasetError, UsageError

CANTORIA_TEST_SONGS = ("EJB1", "EJB2", "CEA")
"""The test set of the paper."""
_CANTORIA: tuple[str, ...] = ("EJB1", "EJB2", "CEA", "HCB", "LBM1", "LBM2", "LJT1")
_CANTORIA += ("LJT2", "LNG", "RRC", "SSS", "THM", "VBP", "YSM")
_SECONDS = (300, 57, 118, 36, 300, 271, 300, 205, 183, 56, 118, 126, 69, 33)
CANTORIA_DURATIONS_S = dict(zip(_CANTORIA, _SECONDS, strict=True))
"""Nominal lengths, by which the reference counts excerpts."""
BCBSQ_TEST_PIECES = ("BC/8_BC*", "BC/9_BC*", "BQ/8_BQ*", "BQ/9_BQ*")
"""The validation set of the reference, which the paper's test on BCBSQ quartets."""


def quartets_of(
    dataset: Dataset,
    root: Path,
    songs: Sequence[str] = (),
    *,
    audio: AudioConfig,
    length_tolerance_s: float,
    voices: VoicesConfig = VoicesConfig(),
) -> list[Quartet]:
    """The quartets of a test set; of a ``folder`` ensembles of any voices.

    ``songs`` names others than the test set's: by folder (``csd``, ``cantoria``) or by shell
    patterns of pieces (``bcbsq``, ``folder``). In the latter two, stems of one piece may differ in
    length by ``length_tolerance_s``.

    Raises:
        UsageError: no song is called so, or a test set of quartets was asked for other voices.
        DatasetError: the folder is not laid out as expected, or a recording is missing or of
            another length.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder", f"expected the folder of {dataset}")
    if dataset != Dataset.FOLDER and voices.names != VOICES:
        raise UsageError(
            f"--dataset {dataset} is of {', '.join(VOICES)}",
            "use --dataset folder for other voices",
        )
    if dataset == Dataset.CSD:
        return _csd(root, songs, audio)
    if dataset == Dataset.CANTORIA:
        return _cantoria(root, songs, audio)
    return _of_layout(dataset, root, songs, audio, length_tolerance_s, voices)


def f0_is_there(quartets: Sequence[Quartet]) -> bool:
    """Whether the quartets have F0 references: all of them, or none.

    Raises:
        DatasetError: some have and others have not.
    """
    files = [file for quartet in quartets for file in quartet.files]
    without = [file for file in files if not has_f0(file)]
    if without and len(without) < len(files):
        raise DatasetError(
            f"{without[0]} has no F0 track, others have",
            "make those that are missing by `umss-jax data f0`",
        )
    return not without


def _csd(root: Path, songs: Sequence[str], audio: AudioConfig) -> list[Quartet]:
    known = {song.folder: song for song in CSD_TEST_SONGS}
    folders = [name.replace(" ", "_") for name in songs] or list(known)
    _refuse_unknown(folders, known)
    return [csd_quartet(root, known[name], audio) for name in folders]


def _cantoria(root: Path, songs: Sequence[str], audio: AudioConfig) -> list[Quartet]:
    names = list(songs) or list(CANTORIA_TEST_SONGS)
    _refuse_unknown(names, CANTORIA_DURATIONS_S)
    quartets = []
    for name in names:
        folder = song_folder(root, name)
        layout = find_layout(folder.parent)
        if layout.kind != "cantoria" or len(layout.pieces) + len(layout.missing) != 1:
            raise DatasetError(
                f"{folder} holds no song of Cantoría",
                f"expected one file each named *{name}_s.wav, *_a.wav, *_t.wav and *_b.wav",
            )
        if layout.missing:
            raise DatasetError(
                f"{folder}: {layout.missing[0]}",
                "expected one file each named *_s.wav, *_a.wav, *_t.wav and *_b.wav",
            )
        files = _one_singer(layout.pieces[0], 1)
        starts = excerpt_start_frames(CANTORIA_DURATIONS_S[name], audio)
        quartets.append(Quartet(f"{name}_satb", name, files, tuple(starts)))
    return quartets


def _of_layout(
    dataset: Dataset,
    root: Path,
    songs: Sequence[str],
    audio: AudioConfig,
    tolerance_s: float,
    voices: VoicesConfig,
) -> list[Quartet]:
    """Quartets of ``bcbsq``, one a piece at 16 kHz, or of ``folder``, all singers at any rate."""
    is_bcbsq = dataset == Dataset.BCBSQ
    if is_bcbsq:
        folders = {name.split("/")[0] for name in songs} or {"BC", "BQ"}
        for name in sorted(folders & {"BC", "BQ"}):
            song_folder(root, name)
    layout = find_layout(root, voices)
    if not is_bcbsq:
        layout.warn()
    if is_bcbsq and layout.kind != "bcbsq":
        raise DatasetError(
            f"{root} is laid out as {layout.kind}",
            f"expected BC/{STEM_FOLDER}/*_s_1ch.wav and BQ/{STEM_FOLDER}/*_s_1ch.wav",
        )
    if layout.kind == "mixtures":
        raise DatasetError(
            f"{root} holds recordings without stems",
            f"expected <piece>/{voices.names[0]}.* to {voices.names[-1]}.*, or "
            f"<song>/{STEM_FOLDER}/*.wav",
        )
    wanted = tuple(songs) or (BCBSQ_TEST_PIECES if is_bcbsq else ("*",))
    _refuse_missing(root, layout.missing, wanted)
    quartets = []
    for piece in choose_pieces(layout.pieces, wanted, ()):
        singers = 1 if is_bcbsq else min(len(files) for files in piece.voices)
        for singer in range(1, singers + 1):
            files = _one_singer(piece, singer, voices.names)
            samples = _shortest(files, not is_bcbsq, audio, tolerance_s)
            starts = tuple(start_frames(layout.kind, samples, audio))
            name = piece.name if singers == 1 else f"{piece.name}_singers_{singer}"
            if is_bcbsq:
                name = f"{piece.name.split('/')[-1]}_satb"
            quartets.append(Quartet(name, piece.name, files, starts, any_rate=not is_bcbsq))
    return quartets


def _one_singer(piece: Piece, singer: int, voices: Sequence[str] = VOICES) -> tuple[Path, ...]:
    return tuple(files[0] for files in choose_singers(piece, [singer], voices).voices)


def _shortest(
    files: tuple[Path, ...], any_rate: bool, audio: AudioConfig, tolerance_s: float
) -> int:
    """Samples at 16 kHz of the shortest stem; those of one performance differ little."""
    rate_hz, lengths = audio.sample_rate_hz, {}
    for file in files:
        try:
            if any_rate:
                lengths[file] = len(DecodedAudio().load(file))
            else:
                lengths[file] = soundfile.info(system_name(file)).frames
        except (soundfile.SoundFileError, OSError) as error:
            raise DatasetError(f"{file} is not readable audio ({error})", "replace it") from error
    short, long = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
    if lengths[long] - lengths[short] > tolerance_s * rate_hz:
        raise DatasetError(
            f"{short} is {lengths[short] / rate_hz:.2f} s long and {long.name} "
            f"{lengths[long] / rate_hz:.2f} s",
            f"expected stems of one piece to be equally long (within {tolerance_s:g} s)",
        )
    return lengths[short]


def _refuse_missing(root: Path, missing: Sequence[str], wanted: Sequence[str]) -> None:
    """Of incomplete pieces, those asked for are an error."""
    lines = [
        line
        for line in missing
        if any(fnmatchcase(line.split(" has no ")[0], pattern) for pattern in wanted)
    ]
    if lines:
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        raise DatasetError(
            f"{root}: {lines[0]}{more}", "add the stem, or name the complete pieces by --song"
        )


def _refuse_unknown(names: Sequence[str], known: Collection[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            f"no test song is called {', '.join(unknown)}", f"choose from {', '.join(known)}"
        )
