"""Scores of single excerpts, kept while an evaluation runs, so that a killed one resumes.

One file of JSON lines for each row of the table, named by the hash of all that its scores depend
on: weights, F0 source, settings, version. Its first line says what that is, each other line holds
the scores of one excerpt, which is told by its name and the hash of its samples and F0.
"""

from __future__ import annotations

import hashlib
import json
import math
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
from umss_jax.files import arrays_sha256

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
        about = {
            "scores": _VERSION,
            "umss_jax": umss_jax.__version__,
            **json.loads(json.dumps(identity)),
        }
        name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
        self.path = folder / f"{name}.jsonl" if folder else None
        self._known: dict[str, dict[str, Any]] = {}
        if self.path is None:
            return
        lines = _whole_lines(self.path)
        for line in lines[1:]:
            record = json.loads(line)
            self._known[record["excerpt"]] = record
        if not lines:
            self._append(about, new=True)

    def get(self, excerpt: Excerpt) -> Scores | None:
        """The scores of an excerpt, if the same one was scored before."""
        record = self._known.get(excerpt.name)
        if record is None or record["content"] != excerpt_digest(excerpt):
            return None
        stems, f0 = record["stems"], record["f0"]
        return (
            StemScores(
                SeparationScores(*map(_array, stems["scores"])),
                _array(stems["energy"]),
                BssScores(*map(_array, stems["bss"])) if stems["bss"] else None,
            ),
            F0Scores(
                MelodyScores(*map(_array, f0["scores"])),
                np.asarray(f0["kept"], bool),
                MultiPitchScores(*map(_array, f0["multi_pitch"])),
            )
            if f0
            else None,
        )

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
                "scores": [_plain(one) for one in stems.scores],
                "energy": _plain(stems.energy),
                "bss": [_plain(one) for one in stems.bss] if stems.bss else None,
            },
            "f0": {
                "scores": [_plain(one) for one in f0.scores],
                "kept": np.asarray(f0.kept).tolist(),
                "multi_pitch": [_plain(one) for one in f0.multi_pitch],
            }
            if f0
            else None,
        }
        self._append(record)

    def _append(self, record: Mapping[str, Any], new: bool = False) -> None:
        assert self.path is not None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "w" if new else "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written ({error.strerror})", "choose another --out"
            ) from error


def _whole_lines(path: Path) -> list[str]:
    """Lines of a file; one that a killed run left unfinished is cut off."""
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
    lines = whole.decode(errors="replace").splitlines()
    try:
        for line in lines:
            json.loads(line)
    except ValueError as error:
        raise OutputError(f"{path} is damaged ({error})", "delete it") from error
    return lines


def excerpt_digest(excerpt: Excerpt) -> str:
    """Hash of the samples and F0 of an excerpt."""
    arrays = {"mixture": excerpt.mixture, "sources": excerpt.sources, "f0": excerpt.f0_hz_synth}
    return arrays_sha256({name: one for name, one in arrays.items() if one is not None})[:32]


def _plain(values: np.ndarray) -> Any:
    """Nested lists, null where undefined."""

    def convert(value: Any) -> Any:
        if isinstance(value, list):
            return [convert(one) for one in value]
        return None if math.isnan(value) else value

    return convert(np.asarray(values, np.float64).tolist())


def _array(values: Any) -> np.ndarray:
    return np.asarray(values, np.float64)
