"""Scores of single excerpts, kept while an evaluation runs, so that a killed one resumes.

One file of JSON lines for each row of the table, named by the hash of all that its scores depend
on: weights, F0 source, settings, version. Its first line says what that is, each other line holds
the scores of one excerpt, which is told by its name and the hash of its samples and F0.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import umss_jax
from umss_jax.data.excerpts import Excerpt
from umss_jax.documents import NoDocumentError, parsed_json, read_bytes
from umss_jax.errors import OutputError
from umss_jax.evaluate.bss import BssScores
from umss_jax.evaluate.metrics import SeparationScores
from umss_jax.evaluate.pitch_metrics import MelodyScores, MultiPitchScores
from umss_jax.evaluate.protocol import F0Scores, StemScores
from umss_jax.files import arrays_sha256, write_text

_VERSION = 1
"""Of the scores: another one when a measure changes its value."""

_KEYS = {"excerpt", "content", "stems", "f0"}
_MOST_BYTES = 256 << 20
log = logging.getLogger("umss_jax")

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
        lines = _lines(self.path)
        if lines and _record(lines[0]) == json.loads(json.dumps(about)):
            records = map(_record, lines[1:])
            found = [record for record in records if record and record.keys() >= _KEYS]
            self._known = {str(record["excerpt"]): record for record in found}
            lost = len(lines) - 1 - len(found)
        else:
            lost = len(lines)
        if lost:
            log.warning("%s: %d kept scores are damaged and computed again", self.path, lost)
        if lost or not lines:
            # Without what is damaged, so that this is said once.
            whole = [about, *self._known.values()]
            write_text(self.path, "".join(json.dumps(record) + "\n" for record in whole))

    def get(self, excerpt: Excerpt) -> Scores | None:
        """The scores of an excerpt, if the same one was scored before."""
        record = self._known.get(excerpt.name)
        if record is None or record.get("content") != excerpt_digest(excerpt):
            return None
        try:
            return _scores(record, len(excerpt.sources))
        except (KeyError, TypeError, ValueError, OverflowError):
            log.warning("%s: the scores of %s are damaged: again", self.path, excerpt.name)
            return None

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
        self._append({**record, "check": _check(record)})

    def _append(self, record: Mapping[str, Any]) -> None:
        assert self.path is not None
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written ({error.strerror})", "choose another --out"
            ) from error


def _lines(path: Path) -> list[str]:
    """Lines of a file; one that a killed run left unfinished is cut off."""
    try:
        content = read_bytes(path, _MOST_BYTES)
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with open(path, "r+b") as file:
                file.truncate(len(whole))
    except FileNotFoundError:
        return []
    except (OSError, NoDocumentError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path} cannot be read ({reason})", "choose another --out") from error
    return whole.decode(errors="replace").split("\n")[:-1]


def _record(line: str) -> dict[str, Any] | None:
    """A record, None where it is damaged; older ones have no check."""
    try:
        record = parsed_json(line)
    except NoDocumentError:
        return None
    if not isinstance(record, dict):
        return None
    return record if record.get("check", _check(record)) == _check(record) else None


def _check(record: Mapping[str, Any]) -> str:
    """Hash of a record without it."""
    plain = {key: value for key, value in record.items() if key != "check"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _scores(record: Mapping[str, Any], voices: int) -> Scores:
    """The scores in a record; an error of Python where they have not their shapes."""
    stems, f0 = record["stems"], record["f0"]
    energy = _array(stems["energy"])
    if energy.ndim != 2 or len(energy) != voices:
        raise ValueError("shape")
    known = StemScores(
        SeparationScores(*_arrays(stems["scores"], energy.shape)),
        energy,
        BssScores(*_arrays(stems["bss"], energy.shape)) if stems["bss"] else None,
    )
    if not f0:
        return known, None
    kept = np.asarray(f0["kept"])
    if kept.dtype != bool or kept.ndim != 2 or len(kept) != voices:
        raise ValueError("shape")
    melody = MelodyScores(*_arrays(f0["scores"], kept.shape))
    return known, F0Scores(melody, kept, MultiPitchScores(*_arrays(f0["multi_pitch"], ())))


def _arrays(values: Any, shape: tuple[int, ...]) -> list[np.ndarray]:
    found = [_array(one) for one in values]
    if any(one.shape != shape for one in found):
        raise ValueError("shape")
    return found


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
