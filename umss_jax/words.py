"""Words for people: numbers with their nouns, and names that any terminal and file can hold."""

from __future__ import annotations

import functools
import logging
import os
import unicodedata
from collections.abc import Sequence

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""In words, by their value."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 piece``, ``2 pieces``; the plural where it is no mere *s*."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def some_of(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many there are besides."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def readable(name: str) -> str:
    """A file's name as text of one line in composed characters.

    Bytes that are not UTF-8, which Python keeps as surrogates, are read as Latin-1.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        name = os.fsencode(name).decode("latin-1")
    name = unicodedata.normalize("NFC", name)
    name = "".join(" " if one.isspace() else one for one in name)
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in name)


@functools.cache
def warn_once(line: str) -> None:
    """A line on stderr (as a warning of the logger ``umss_jax``), however often it comes up."""
    logging.getLogger("umss_jax").warning("%s", " ".join(line.split()))
