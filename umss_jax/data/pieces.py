"""Pieces to train and validate on: those that a configuration names, and their decoded audio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from umss_jax.audio.cache import DecodedAudio
from umss_jax.config import AudioConfig
from umss_jax.data.config import SetConfig
from umss_jax.data.layouts import Piece, choose_pieces, choose_singers, find_layout
from umss_jax.errors import DatasetError, UmssError


class OpenPiece(NamedTuple):
    """A piece with its decoded audio."""

    piece: Piece
    kind: str
    voices: tuple[tuple[np.ndarray, ...], ...]
    mixture: np.ndarray | None
    samples: int
    """Of the shortest recording."""


def find_pieces(chosen: SetConfig) -> list[tuple[Piece, str]]:
    """The pieces of a training or validation set with the kind of their layout.

    Raises:
        DatasetError: a folder, piece or singer is not there, or nothing is left.
    """
    if not chosen.folders:
        raise DatasetError(
            "no recordings are named", "set data.train.folders and data.validation.folders"
        )
    layouts = [find_layout(Path(folder).expanduser()) for folder in chosen.folders]
    kinds = {piece: layout.kind for layout in layouts for piece in layout.pieces}
    pieces = choose_pieces(kinds, chosen.pieces, chosen.exclude)
    if not pieces:
        raise DatasetError(
            f"no complete piece in {', '.join(chosen.folders)}",
            "name folders with all four voices, or of mixtures (umss-jax data check says more)",
        )
    return [(choose_singers(piece, chosen.singers), kinds[piece]) for piece in pieces]


def open_pieces(pieces: Sequence[tuple[Piece, str]], audio: AudioConfig) -> list[OpenPiece]:
    """Decodes the recordings of pieces, which come with the kind of their layout.

    Raises:
        DatasetError: a recording is broken or shorter than one example; it is named.
    """
    decoded = DecodedAudio()
    opened = []
    for piece, kind in pieces:
        try:
            arrays = {file: decoded.load(file) for file in piece.files}
        except UmssError as error:
            raise DatasetError(
                error.message, f"{error.remedy}, or leave {piece.name} out (exclude)"
            ) from error
        shortest = min(arrays, key=lambda file: len(arrays[file]))
        if len(arrays[shortest]) < audio.example_samples:
            raise DatasetError(
                f"{shortest} has {len(arrays[shortest])} samples at {audio.sample_rate_hz} Hz, "
                f"an example {audio.example_samples}",
                f"leave {piece.name} out (exclude)",
            )
        voices = tuple(tuple(arrays[file] for file in singers) for singers in piece.voices)
        mixture = arrays[piece.mixture] if piece.mixture else None
        opened.append(OpenPiece(piece, kind, voices, mixture, len(arrays[shortest])))
    return opened
