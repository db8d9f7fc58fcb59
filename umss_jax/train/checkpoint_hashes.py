"""The hashes of a checkpoint's files, kept in it: what tells a sound one from a damaged one."""

from __future__ import annotations

import json
import os
from pathlib import Path

from umss_jax.files import file_sha256, write_text

MANIFEST = "sha256.json"
JSON_FILES = ("metrics/metrics", "progress/metadata", "state/_METADATA", "_CHECKPOINT_METADATA")


def seal(checkpoint: Path) -> None:
    """Flushes a checkpoint to the disk, and its hashes after it."""
    files = [file for file in sorted(checkpoint.rglob("*")) if file.is_file()]
    hashes = {file.relative_to(checkpoint).as_posix(): file_sha256(file) for file in files}
    for path in (*files, *(one for one in checkpoint.rglob("*") if one.is_dir())):
        _flush(path)
    write_text(checkpoint / MANIFEST, json.dumps(hashes, indent=1) + "\n")
    _flush(checkpoint)
    _flush(checkpoint.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def problem_of(checkpoint: Path, is_old: bool) -> str:
    """What is wrong with a checkpoint, empty for nothing; of an old one its JSON at least."""
    manifest = checkpoint / MANIFEST
    try:
        if not manifest.is_file():
            if not is_old:
                return "was not finished"
            trees = [json.loads((checkpoint / name).read_bytes()) for name in JSON_FILES]
            float(trees[0]["loss"])
            is_damaged = not all(isinstance(tree, dict) for tree in trees)
            return "is damaged" if is_damaged else ""
        hashes = json.loads(manifest.read_bytes())
        for name, expected in hashes.items():
            if not (checkpoint / name).is_file():
                return f"{name} is gone"
            if file_sha256(checkpoint / name) != expected:
                return f"{name} is damaged"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"cannot be read ({error})"
    return "" if hashes else f"{MANIFEST} is damaged"
