"""What recordings are called: endings of names, where a folder is to be looked through."""

from __future__ import annotations

import os

SOUNDS = (
    *(".wav", ".w64", ".aiff", ".aif", ".caf", ".flac", ".wv", ".ape", ".tta"),
    *(".ogg", ".oga", ".opus", ".m4a", ".mka", ".weba", ".aac", ".wma", ".mp3", ".amr"),
)
"""From the least loss to the most."""
FILMS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".wmv", ".3gp", ".3g2", ".mpg", ".mts")
"""Which may have sound."""


def has_suffix(name: str, suffixes: tuple[str, ...] = SOUNDS + FILMS) -> bool:
    """Whether a file is called as a recording is, in capitals or not."""
    return os.path.splitext(name)[1].lower() in suffixes
