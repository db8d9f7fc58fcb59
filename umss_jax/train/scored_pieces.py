"""F0 of pieces by their scores, for strategies that take F0 as known.

A whole piece is heard once and its score aligned with it (:mod:`umss_jax.separation.scored`); its
examples are cut from the F0 that the score gives.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

import numpy as np

from umss_jax.audio.arrays import sound_of
from umss_jax.audio.resampling import array_16k
from umss_jax.data.piece_scores import score_of
from umss_jax.data.pieces import OpenPiece
from umss_jax.errors import DatasetError, UmssError
from umss_jax.files import file_sha256, home
from umss_jax.inference import ModelEngine
from umss_jax.kept_arrays import KeptArrays
from umss_jax.scores.fit import open_score
from umss_jax.separation.config import SeparationConfig
from umss_jax.separation.scored import fit_sound
from umss_jax.train.f0_cache import f0_digest
from umss_jax.words import warn_once

log = logging.getLogger("umss_jax")

_VERSION = 1  # of what is kept


def scored_pieces(
    pieces: Sequence[OpenPiece], engine: ModelEngine, keep: bool = False
) -> list[OpenPiece]:
    """The pieces, with the F0 of those that have a score; it is said of how many.

    Pieces in which several singers share a voice are left without: which of them an example takes
    is sampled, and they are not in one tune.

    Args:
        pieces: decoded.
        engine: whose salience is aligned with the scores.
        keep: whether what was found is kept on disk for other runs.

    Raises:
        DatasetError: a score is damaged, of another piece or of other voices.
    """
    kept = None
    if keep:
        digest = f0_digest(engine.variables, engine.config, engine.assigner)
        kept = KeptArrays(home() / "scored" / digest, "F0 by scores")
    found = [_scored(one, engine, kept) for one in pieces]
    by_score = sum(one.f0_hz_synth is not None for one in found)
    log.info("%d of %d pieces have their F0 from a score", by_score, len(found))
    return found


def _scored(one: OpenPiece, engine: ModelEngine, kept: KeptArrays | None) -> OpenPiece:
    path = score_of(one.piece)
    if path is None:
        return one
    if any(len(singers) > 1 for singers in one.voices):
        warn_once(f"{one.piece.name} has several singers of a voice: its score is not used")
        return one
    if one.mixture is not None:
        mixture = np.asarray(one.mixture[: one.samples])
    else:
        mixture = np.sum([voice[: one.samples] for (voice,) in one.voices], axis=0)
    content = hashlib.sha256(np.ascontiguousarray(mixture, np.float32).tobytes()).hexdigest()
    name = f"{content[:32]}-{file_sha256(path)[:32]}-v{_VERSION}"
    known = kept.get(name) if kept else None
    if known is not None:
        return one._replace(f0_hz_synth=known.array)
    try:
        score = open_score(path, engine.config.voices.names)
        sound = array_16k(
            sound_of(mixture, engine.config.audio.sample_rate_hz), engine.config.audio
        )
        scored = fit_sound(sound, engine, SeparationConfig(), score, one.piece.name)
    except UmssError as error:
        raise DatasetError(
            error.message, f"{error.remedy}, or leave {one.piece.name} out (exclude)"
        ) from error
    if warning := scored.fit.warning(one.piece.name):
        warn_once(warning)
    f0_hz = np.asarray(scored.known.f0_hz_synth, np.float32)
    return one._replace(f0_hz_synth=kept.put(name, f0_hz).array if kept else f0_hz)
