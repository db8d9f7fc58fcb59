"""What a run learns from, by hash: a resumed run says which recordings have changed.

``inputs.json`` in the folder of a run holds the SHA-256 of every recording, of its F0 where that
is used, and of the initial weights. Batches are drawn from all recordings together, so that one
that is gone or changed changes every step to come: a run that has begun is not resumed then.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from umss_jax.config import VoicesConfig
from umss_jax.data.config import SetConfig
from umss_jax.data.piece_scores import score_of
from umss_jax.data.pieces import find_pieces
from umss_jax.data.references import f0_files
from umss_jax.data.sung_scores import score_files
from umss_jax.errors import DatasetError, WeightsError
from umss_jax.files import file_sha256, write_text
from umss_jax.train.resuming import Change, refuse
from umss_jax.train.run_folder import RunFolder
from umss_jax.weights.combine import names_of
from umss_jax.weights.store import read_metadata

INPUTS = "inputs.json"
_NAMED = 4  # files in a message

log = logging.getLogger("umss_jax")


class Inputs(NamedTuple):
    """What a run learns from."""

    sets: Mapping[str, SetConfig]
    """By name, for messages."""
    weights: str
    """Initial ones; empty for none."""
    with_f0: bool = False
    voices: VoicesConfig = VoicesConfig()
    with_scores: bool = False
    drawn: str = ""
    """Folder of scores that saliences are drawn from; empty for none."""


def check_inputs(run: RunFolder, inputs: Inputs) -> None:
    """Refuses to resume on other inputs than the run began with; keeps those of a new run.

    Raises:
        DatasetError: recordings changed, vanished or were added; or one cannot be read.
        WeightsError: the initial weights changed.
        UsageError: they are to be looked for elsewhere, and are others there.
    """
    path = run.path / INPUTS
    now = fingerprint(inputs)
    had = _read(path) if run.has_begun else None
    if had is None:
        refuse(run.path, run.moved)  # what lay there before is not known
    elif had != now:
        _refuse(run, had, now, inputs)
    if run.writes and had != now:
        text = json.dumps({"files": now, "sha256": _sha256(now)}, indent=1, sort_keys=True)
        write_text(path, text + "\n")


def fingerprint(inputs: Inputs) -> dict[str, str]:
    """SHA-256 by ``<set>[<folder>]/<path in the folder>`` and ``weights[<number>]``.

    Raises:
        DatasetError: recordings are missing, or one cannot be read.
        WeightsError: weights are missing or damaged.
    """
    files = {
        _key(name, chosen, file): file
        for name, chosen in inputs.sets.items()
        for file in _files(chosen, inputs)
    }
    scores = Path(inputs.drawn)
    for file in score_files(scores) if inputs.drawn else ():
        files[f"drawn/{file.relative_to(scores).as_posix()}"] = file
    found = {}
    for key, file in files.items():
        try:
            found[key] = file_sha256(file)
        except OSError as error:
            raise DatasetError(
                f"{file} cannot be read ({error.strerror or error})", "mend it or leave it out"
            ) from error
    names = names_of(inputs.weights) if inputs.weights else []
    for number, one in enumerate(names):
        found[f"weights[{number}]"] = read_metadata(one)["tensors_sha256"]
    return found


def _files(chosen: SetConfig, inputs: Inputs) -> list[Path]:
    """Recordings of a set, and the F0 or the scores that are read with them."""
    pieces = [piece for piece, _ in find_pieces(chosen, inputs.voices)]
    recordings = [file for piece in pieces for file in piece.files]
    if inputs.with_scores:
        recordings += [score for score in map(score_of, pieces) if score is not None]
    if not inputs.with_f0:
        return recordings
    table_or_arrays = [f0_files(file) for file in recordings]
    f0 = [(table,) if table.is_file() else arrays for table, arrays in table_or_arrays]
    return recordings + [file for files in f0 for file in files if file.is_file()]


def _key(name: str, chosen: SetConfig, file: Path) -> str:
    folders = [Path(folder).expanduser() for folder in chosen.folders]
    within = (n for n, folder in enumerate(folders) if file.is_relative_to(folder))
    number = next(within, 0)
    return f"{name}[{number}]/{Path(os.path.relpath(file, folders[number])).as_posix()}"


def _refuse(run: RunFolder, had: dict[str, str], now: dict[str, str], inputs: Inputs) -> None:
    refuse(run.path, [change for change in run.moved if _concerns(change, had, now)])
    groups = {
        "changed": [key for key in had if key in now and had[key] != now[key]],
        "gone": [key for key in had if key not in now],
        "new": [key for key in now if key not in had],
    }
    named = "; ".join(f"{word}: {_some(sorted(keys))}" for word, keys in groups.items() if keys)
    remedy = f"put back what was there, or delete {run.path / INPUTS} to go on with what is there"
    if all(key.startswith("weights[") for keys in groups.values() for key in keys):
        raise WeightsError(
            f"{run.path} began with other weights than {inputs.weights} are now", remedy
        )
    raise DatasetError(f"{run.path} has learnt from other recordings ({named})", remedy)


def _concerns(change: Change, had: dict[str, str], now: dict[str, str]) -> bool:
    """Whether what lies in the place of a setting is not what it was."""
    place = change.key.removeprefix("data.").removesuffix(".folders")
    keys = {key for key in {*had, *now} if key.startswith(f"{place}[")}
    return any(had.get(key) != now.get(key) for key in keys)


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - _NAMED} others" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more


def _read(path: Path) -> dict[str, str] | None:
    """What a run began with; None where it is not known."""
    try:
        kept: Any = json.loads(path.read_text(encoding="utf-8"))
        files = kept["files"]
        if kept["sha256"] == _sha256(files) and isinstance(files, dict):
            return dict(files)
    except FileNotFoundError:
        return None  # of an older version
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    log.warning("%s is damaged: whether the recordings are those of before is not known", path)
    return None


def _sha256(files: Any) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
