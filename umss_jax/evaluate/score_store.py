"""Scores of single excerpts, kept while an evaluation runs, so that a killed one resumes.

One file of JSON lines for each row of the table, named by the hash of all that its scores depend
on: weights, F0 source, settings, version. Its first line says what that is, each other line holds
the scores of one excerpt, which is told by its name and the hash of its samples and F0. Each line
has a hash of its own; what does not fit it is left out, and scored again. Where nothing can be
written, that is said once and the evaluation goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import umss_jax
from umss_jax.data.excerpts import Excerpt
from umss_jax.documents import decoded, parsed_json
from umss_jax.errors import OutputError
from umss_jax.evaluate.bss import BssScores
from umss_jax.evaluate.metrics import SeparationScores
from umss_jax.evaluate.pitch_metrics import MelodyScores, MultiPitchScores
from umss_jax.evaluate.protocol import F0Scores, StemScores
from umss_jax.files import arrays_sha256, open_regular, write_text
from umss_jax.kept_arrays import make_way
from umss_jax.words import counted, warn_once

_CHECK = "sha256"
_KEYS = {"excerpt", "content", "stems", "f0"}
_MOST_BYTES = 256 << 20
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
        self._writes = self.path is not None
        if self.path is None:
            return
        header, *lines = _lines(self.path) or [b""]
        records = [record for line in lines if (record := _record(line)) is not None]
        self._known = {str(record["excerpt"]): record for record in records}
        damaged = len(lines) - len(records)
        if header == _line(about) and not damaged:
            return
        if header or lines:
            again = f"{counted(damaged, 'excerpt')} scored again" if damaged else "it is mended"
            warn_once(f"{self.path} is damaged: {again}")
        content = b"".join(line + b"\n" for line in (_line(about), *map(_line, records)))
        try:
            make_way(self.path)
            write_text(self.path, content.decode())
        except OutputError as error:
            self._give_up(error.message)

    def get(self, excerpt: Excerpt) -> Scores | None:
        """The scores of an excerpt, if the same one was scored before."""
        record = self._known.get(excerpt.name)
        if record is None or record["content"] != excerpt_digest(excerpt):
            return None
        try:
            return _scores(record, len(excerpt.sources))
        except (KeyError, TypeError, ValueError, OverflowError):
            # With a hash that fits: not what this version wrote.
            warn_once(f"{self.path}: what is kept of {excerpt.name} are no scores: scored again")
            return None

    def put(self, excerpt: Excerpt, scores: Scores) -> None:
        """Keeps the scores of an excerpt, where that can be."""
        if self.path is None or not self._writes:
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
        try:
            # The file is one that was just written or read; a link would lead elsewhere. One call,
            # so that lines of two processes do not run into each other.
            flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
            with open(os.open(self.path, flags), "ab", buffering=0) as file:
                file.write(_line(record) + b"\n")
        except OSError as error:
            self._give_up(f"{self.path} cannot be written ({error.strerror})")

    def _give_up(self, reason: str) -> None:
        self._writes = False
        warn_once(f"{reason}: scores are not kept, so that a killed evaluation would begin anew")


def _line(record: Mapping[str, Any]) -> bytes:
    """A record with its hash."""
    content = {key: value for key, value in record.items() if key != _CHECK}
    text = json.dumps(content, sort_keys=True)
    return json.dumps({**content, _CHECK: hashlib.sha256(text.encode()).hexdigest()[:32]}).encode()


def _record(line: bytes) -> dict[str, Any] | None:
    """What a line holds; None if that is not what was written."""
    try:
        record = parsed_json(decoded(line))
        sound = isinstance(record, dict) and json.loads(_line(record))[_CHECK] == record[_CHECK]
        return record if sound and record.keys() >= _KEYS else None
    except (ValueError, KeyError):
        return None


def _lines(path: Path) -> list[bytes]:
    """Lines of a file; one that a killed run left unfinished counts as none."""
    try:
        with open_regular(path, _MOST_BYTES) as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError):
        return [b"something else"]
    if not content.endswith(b"\n"):
        content = content[: content.rfind(b"\n") + 1]
        with contextlib.suppress(OSError), open(path, "r+b") as file:
            file.truncate(len(content))
    return content.split(b"\n")[:-1]


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
