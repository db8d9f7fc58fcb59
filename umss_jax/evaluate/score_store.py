"""Scores of single excerpts, kept while an evaluation runs, so that a killed one resumes.

One file of JSON lines for each row of the table, named by the hash of all that its scores depend
on: weights, F0 source, settings, version. Its first line says what that is, each other line holds
the scores of one excerpt, which is told by its name and the hash of its samples and F0.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import umss_jax
from umss_jax.data.excerpts import Excerpt
from umss_jax.errors import OutputError
from umss_jax.evaluate.bss import BssScores
from umss_jax.evaluate.metrics import SeparationScores
from umss_jax.evaluate.pitch_metrics import MelodyScores, MultiPitchScores
from umss_jax.evaluate.protocol import F0Scores, StemScores
from umss_jax.files import arrays_sha256, write_text

_VERSION = 1
"""Of the scores: another one when a measure changes its value."""

Scores = tuple[StemScores, F0Scores | None]


class ExcerptScores:
    """The kept scores of one row.

    Args:
        folder: where files are; ``None`` keeps nothing.
        identity: what the scores depend on besides the excerpt, as JSON holds it.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, Any]) -> None:
        about = {"scores": _VERSION, "umss_jax": umss_jax.__version__, **identity}
        name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
        self.path = folder / f"{name}.jsonl" if folder else None
        self._known: dict[str, dict[str, Any]] = {}
        if self.path is None:
            return
        records = _records(self.path)
        for record in records[1:]:
            self._known[record["excerpt"]] = record
        if not records:
            self._append(about, new=True)

    def get(self, excerpt: Excerpt) -> Scores | None:
        """The scores of an excerpt, if the same one was scored before."""
        record = self._known.get(excerpt.name)
        if record is None or record["content"] != excerpt_digest(excerpt):
            return None
        stems, f0 = record["stems"], record["f0"]
        known = StemScores(
            SeparationScores(*map(_array, stems["scores"])),
            _array(stems["energy"]),
            BssScores(*map(_array, stems["bss"])) if stems["bss"] else None,
        )
        if not f0:
            return known, None
        scores, multi_pitch = map(_array, f0["scores"]), map(_array, f0["multi_pitch"])
        kept = np.asarray(f0["kept"], bool)
        return known, F0Scores(MelodyScores(*scores), kept, MultiPitchScores(*multi_pitch))

    def put(self, excerpt: Excerpt, scores: Scores) -> None:
        """Keeps the scores of an excerpt.

        Raises:
            OutputError: they cannot be written.
        """
        if self.path is None:
            return
        stems, f0 = scores
        record = {
            "excerpt": excerpt.name,
            "content": excerpt_digest(excerpt),
            "stems": {
                "scores": list(map(_plain, stems.scores)),
                "energy": _plain(stems.energy),
                "bss": list(map(_plain, stems.bss)) if stems.bss else None,
            },
            "f0": f0
            and {
                "scores": list(map(_plain, f0.scores)),
                "kept": np.asarray(f0.kept).tolist(),
                "multi_pitch": list(map(_plain, f0.multi_pitch)),
            },
        }
        self._append(record)

    def _append(self, record: Mapping[str, Any], new: bool = False) -> None:
        assert self.path is not None
        line = json.dumps(record) + "\n"
        try:
            if new:
                write_text(self.path, line)
                return
            # The file is one that was just written or read; a link would lead elsewhere.
            flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
            with open(os.open(self.path, flags), "a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written ({error.strerror})", "choose another --out"
            ) from error


def _records(path: Path) -> list[dict[str, Any]]:
    """Records of a file; one that a killed run left unfinished is cut off."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(
            f"{path} cannot be read ({error.strerror})", "choose another --out"
        ) from error
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with open(path, "r+b") as file:
            file.truncate(len(whole))
    try:
        return [json.loads(line) for line in whole.decode(errors="replace").splitlines()]
    except ValueError as error:
        raise OutputError(f"{path} is damaged ({error})", "delete it") from error


def excerpt_digest(excerpt: Excerpt) -> str:
    """Hash of the samples and F0 of an excerpt."""
    arrays = {"mixture": excerpt.mixture, "sources": excerpt.sources, "f0": excerpt.f0_hz_synth}
    return arrays_sha256({name: one for name, one in arrays.items() if one is not None})[:32]


def _plain(values: np.ndarray) -> Any:
    """Nested lists, null where undefined."""
    values = np.asarray(values, np.float64)
    return np.where(np.isnan(values), np.array(None), values).tolist()


def _array(values: Any) -> np.ndarray:
    return np.asarray(values, np.float64)
