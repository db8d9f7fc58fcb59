"""Small documents from files that may be anything: JSON and TOML within a size and a depth.

A path may lead to a pipe, a device or gigabytes, and a document of a few kilobytes can be nested
deeper than Python can follow. All of that is found out before anything is parsed.
"""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from pathlib import Path
from typing import Any

from umss_jax.files import open_regular

MOST_BYTES = 16 << 20
"""Of a document. What this package writes stays far below."""
MOST_BYTES_OF_SETTINGS = 64 << 10
"""Of settings, which people write by hand; tomllib's time grows with the square of their length."""
_MOST_LEVELS = 32
_JSON_TEXT = re.compile(r'"(?:\\.|[^"\\])*+"?', re.DOTALL)
_TOML_TEXT = re.compile(
    r'"""(?:\\.|(?!""")[^\\])*+(?:""")?'
    r"|'''(?:(?!''').)*+(?:''')?"
    r'|"(?:\\.|[^"\\\n])*+"?'
    r"|'[^'\n]*+'?"
    r"|\#[^\n]*+",
    re.DOTALL,
)
"""Texts and remarks, in which brackets and dots mean nothing; ended or not."""
_LONG_KEY = re.compile(rf"(?<![\w-])[\w-]++\s*+(?:\.\s*+[\w-]++\s*+){{{_MOST_LEVELS}}}")
_BRACKETS = re.compile(r"[\[\]{}]")


class NoDocumentError(ValueError):
    """What is wrong with a document, in a few words that stand in brackets behind its name."""


class NotUnicodeError(NoDocumentError):
    """It is in no encoding that is read; ``line`` is the first that shows it."""

    def __init__(self, line: int) -> None:
        super().__init__(f"it is not text in UTF-8, line {line}")
        self.line = line


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file, links followed.

    Raises:
        NoDocumentError: it is no regular file, or larger than ``most``.
        OSError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            content = file.read(most + 1)
    except ValueError as error:  # no regular file, or NUL in the name
        raise NoDocumentError(str(error)) from error
    if len(content) > most:
        raise NoDocumentError(f"it is larger than {_size(most)}")
    return content


def decoded(content: bytes) -> str:
    """UTF-8 as text, with or without byte-order mark, or UTF-16 with one.

    Raises:
        NotUnicodeError: it is in another encoding.
        NoDocumentError: it is no text.
    """
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not is_utf16 and b"\0" in content:
        raise NoDocumentError("it holds NUL characters")
    try:
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotUnicodeError(content[: error.start].count(b"\n") + 1) from error
    if "\0" in text:
        raise NoDocumentError("it holds NUL characters")
    return text


def parsed_json(text: str) -> Any:
    """A value from JSON; NaN and Infinity are numbers, as Python writes them.

    Raises:
        NoDocumentError: it is something else, or nested too deep.
    """
    _refuse_deep(_JSON_TEXT.sub("_", text))
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise NoDocumentError(f"it is not JSON: {error.msg}, line {error.lineno}") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise NoDocumentError("it is not JSON: a number is too long") from error


def parsed_toml(text: str) -> dict[str, Any]:
    """A tree from TOML.

    Raises:
        NoDocumentError: it is something else, larger than settings are, or nested too deep.
    """
    if len(text) > MOST_BYTES_OF_SETTINGS:
        raise NoDocumentError(f"it is larger than {_size(MOST_BYTES_OF_SETTINGS)}")
    bare = _TOML_TEXT.sub("_", text)
    _refuse_deep(bare)
    if _LONG_KEY.search(bare):
        raise NoDocumentError(f"a key has more than {_MOST_LEVELS} parts")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NoDocumentError(f"it is not TOML: {error}") from error
    except ValueError as error:
        raise NoDocumentError("it is not TOML: a number or a date is none") from error


def read_json(path: Path, most: int = MOST_BYTES) -> Any:
    """The value in a JSON file; errors as :func:`read_bytes` and :func:`parsed_json`."""
    return parsed_json(decoded(read_bytes(path, most)))


def _refuse_deep(bare: str) -> None:
    """By the brackets of a document without its texts."""
    level = 0
    for bracket in _BRACKETS.finditer(bare):
        level += 1 if bracket[0] in "[{" else -1
        if level > _MOST_LEVELS:
            raise NoDocumentError(f"it is nested more than {_MOST_LEVELS} levels deep")


def _size(count: int) -> str:
    return f"{count >> 20} MB" if count >= 1 << 20 else f"{count >> 10} kB"
