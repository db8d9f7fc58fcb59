"""Pieces to train and validate on: those that a configuration names, and their decoded audio."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from umss_jax.audio.cache import DecodedAudio
from umss_jax.audio.sndfile import system_name
from umss_jax.config import AudioConfig, VoicesConfig
from umss_jax.data.config import SetConfig, StemLengthConfig
from umss_jax.data.layouts import Piece, choose_pieces, choose_singers, find_layout
from umss_jax.errors import DatasetError, UmssError
from umss_jax.words import NUMBERS, counted, readable, some_of, warn_once


class OpenPiece(NamedTuple):
    """A piece with its decoded audio."""

    piece: Piece
    kind: str
    voices: tuple[tuple[np.ndarray, ...], ...]
    mixture: np.ndarray | None
    samples: int
    """Of the shortest recording."""
    notes: tuple[str, ...] = ()
    """One line for each thing that is odd about the recordings together."""
    digests: tuple[tuple[Path, str], ...] = ()
    """Recordings with what is the same for those that sound the same."""
    f0_hz_synth: np.ndarray | None = None
    """float32 ``[J, frames]`` in Hz, a frame every hop, 0 = unvoiced, where it is known."""

    def warn(self) -> None:
        """Says the notes on stderr."""
        for note in self.notes:
            warn_once(note)


def find_pieces(
    chosen: SetConfig, voices: VoicesConfig = VoicesConfig()
) -> list[tuple[Piece, str]]:
    """The pieces of a training or validation set with the kind of their layout.

    What was guessed of the folders, or passed over in them, is said on stderr.

    Raises:
        DatasetError: a folder, piece or singer is not there, or nothing is left.
    """
    if not chosen.folders:
        raise DatasetError(
            "no recordings are named", "set data.train.folders and data.validation.folders"
        )
    layouts = [find_layout(Path(folder).expanduser(), voices) for folder in chosen.folders]
    for layout in layouts:
        layout.warn()
    kinds = {piece: layout.kind for layout in layouts for piece in layout.pieces}
    pieces = choose_pieces(kinds, chosen.pieces, chosen.exclude)
    if not pieces:
        raise DatasetError(
            f"no complete piece in {', '.join(chosen.folders)}",
            f"name folders with all {NUMBERS[len(voices)]} voices, or of mixtures "
            "(umss-jax data check says more)",
        )
    return [(choose_singers(piece, chosen.singers, voices.names), kinds[piece]) for piece in pieces]


def open_pieces(pieces: Sequence[tuple[Piece, str]], audio: AudioConfig) -> list[OpenPiece]:
    """Decodes the recordings of pieces, which come with the kind of their layout.

    Raises:
        DatasetError: a recording is broken or shorter than one example, or those of one piece are
            not equally long by far; it is named.
    """
    decoded = DecodedAudio()
    opened = []
    for piece, kind in pieces:
        try:
            known = {file: decoded.load_known(file) for file in piece.files}
        except UmssError as error:
            raise DatasetError(
                error.message, f"{error.remedy}, or leave {piece.name} out (exclude)"
            ) from error
        arrays = {file: one.array for file, one in known.items()}
        shortest = min(arrays, key=lambda file: len(arrays[file]))
        if len(arrays[shortest]) < audio.example_samples:
            raise DatasetError(
                f"{shortest} has {counted(len(arrays[shortest]), 'sample')} at "
                f"{audio.sample_rate_hz} Hz, an example {audio.example_samples}",
                f"leave {piece.name} out (exclude)",
            )
        digests = tuple((file, one.digest) for file, one in known.items())
        notes = (
            *length_notes(piece, {file: len(one) for file, one in arrays.items()}, audio),
            *_rate_notes(piece),
            *_twin_notes(piece, digests),
        )
        voices = tuple(tuple(arrays[file] for file in singers) for singers in piece.voices)
        mixture = arrays[piece.mixture] if piece.mixture else None
        samples = len(arrays[shortest])
        opened.append(OpenPiece(piece, kind, voices, mixture, samples, notes, digests))
    return opened


def length_notes(
    piece: Piece,
    samples: Mapping[Path, int],
    audio: AudioConfig,
    limits: StemLengthConfig = StemLengthConfig(),
) -> list[str]:
    """Whether the recordings of a piece differ in length by more than rounding, as a line.

    Raises:
        DatasetError: by so much that they are not of one performance.
    """
    short, long = min(samples, key=samples.__getitem__), max(samples, key=samples.__getitem__)
    short_s, long_s = (samples[file] / audio.sample_rate_hz for file in (short, long))
    if long_s - short_s <= limits.rounding_s:
        return []
    what = f"{short} is {short_s:.2f} s long and {readable(long.name)} {long_s:.2f} s"
    most_s = max(limits.refused_s, limits.refused_share * long_s)
    if long_s - short_s > min(most_s, limits.refused_short_share * long_s):
        raise DatasetError(
            f"{what}, so they are not of one performance",
            f"export them from the same start to the same end, or leave {piece.name} out (exclude)",
        )
    return [f"{what}: {piece.name} ends at {short_s:.2f} s"]


def shared_recordings(train: Iterable[OpenPiece], validation: Iterable[OpenPiece]) -> str:
    """Which recordings of a validation set sound the same as one to train on, as a line.

    Empty where there are none.
    """
    known = {digest: file for one in train for file, digest in one.digests}
    found = [
        f"{file} as {known[digest]}"
        for one in validation
        for file, digest in one.digests
        if digest in known
    ]
    if not found:
        return ""
    return (
        "validation hears recordings that are trained on, so that its loss says little of others: "
        + some_of([readable(line) for line in found], 1)
    )


def _rate_notes(piece: Piece) -> list[str]:
    """Whether the recordings of a piece have different rates, as a line."""
    rates: dict[int, Path] = {}
    for file in piece.files:
        try:
            rates.setdefault(soundfile.info(system_name(file)).samplerate, file)
        except (soundfile.SoundFileError, OSError):
            continue  # gone since it was decoded
    if len(rates) < 2:
        return []
    which = ", ".join(f"{readable(file.name)} {rate} Hz" for rate, file in rates.items())
    return [f"the recordings of {piece.name} have different sample rates ({which})"]


def _twin_notes(piece: Piece, digests: Iterable[tuple[Path, str]]) -> list[str]:
    """Whether recordings of one piece sound the same, as a line."""
    files = defaultdict(list)
    for file, digest in digests:
        files[digest].append(readable(file.name))
    twins = [" and ".join(names) for names in files.values() if len(names) > 1]
    return [f"{one} of {piece.name} are the same recording" for one in twins]
