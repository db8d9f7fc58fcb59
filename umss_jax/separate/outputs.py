"""Files that other commands put beside the stems of a recording, and how they are told."""

from __future__ import annotations

from pathlib import Path

TRACKS, MIDI, SALIENCE, PICTURE = ".f0.csv", ".f0.mid", ".salience.npz", ".f0.png"
"""What `umss-jax f0` adds to the name of a recording."""
_PAGE_MARK = '<meta name="generator" content="umss-jax report'


def is_page(path: Path) -> bool:
    """Whether `umss-jax report` wrote the file: it may be replaced or removed unasked."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return _PAGE_MARK in file.read(2000)
    except OSError:
        return False


def is_of_pitches(path: Path, track: str) -> bool:
    """Whether the file is called as `umss-jax f0` calls those of a track."""
    return path.name in {track + suffix for suffix in (TRACKS, MIDI, SALIENCE, PICTURE)}
