"""The score that lies beside the recordings of a piece."""

from __future__ import annotations

from pathlib import Path

from umss_jax.data.layouts import Piece
from umss_jax.errors import DatasetError
from umss_jax.scores.reading import SUFFIXES


def score_of(piece: Piece) -> Path | None:
    """The score of a piece; None where there is none.

    Of a piece with stems it is in their folder and called ``score``, or as the folder is; of a
    mixture it lies beside it and is called as it is.

    Raises:
        DatasetError: there are several.
    """
    file = piece.files[0]
    names = {file.stem} if piece.mixture is not None else {"score", file.parent.name}
    folded = {name.casefold() for name in names}
    found = sorted(
        one
        for one in file.parent.iterdir()
        if one.stem.casefold() in folded and one.suffix.lower() in SUFFIXES
    )
    if len(found) > 1:
        raise DatasetError(
            f"{piece.name} has several scores ({', '.join(one.name for one in found)})",
            "leave one of them there, or set data.scores=false",
        )
    return found[0] if found else None
