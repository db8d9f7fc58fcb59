"""Files of settings as text: what cannot be read is refused in the words of whoever wrote it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from umss_jax.documents import (
    MOST_BYTES_OF_SETTINGS,
    NoDocumentError,
    NotUnicodeError,
    decoded,
    parsed_toml,
    read_bytes,
)
from umss_jax.errors import UsageError
from umss_jax.words import readable

_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")


def settings_text(path: Path) -> str:
    """The text of a file of settings, in UTF-8 with or without a mark of byte order, or UTF-16.

    Raises:
        UsageError: it is not there, cannot be read, is larger than settings are, or is no text.
    """
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder", "name a file of settings")
        if not path.exists():
            raise UsageError(
                f"{path} does not exist", "check the path, or set single values by key=value"
            )
        if not path.is_file():
            raise UsageError(f"{path} is no regular file", "write the settings to a file first")
        return decoded(read_bytes(path, MOST_BYTES_OF_SETTINGS))
    except NotUnicodeError as error:
        raise UsageError(
            f"{path} is not text in UTF-8 (line {error.line})", "save it in UTF-8 by a text editor"
        ) from error
    except NoDocumentError as error:
        raise UsageError(f"{path} is no file of settings ({error})", "name a text file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{path} cannot be read ({reason})", "check its name and rights"
        ) from error


def settings_tree(path: Path) -> dict[str, Any]:
    """The values of a TOML file.

    Raises:
        UsageError: as :func:`settings_text`, or it is no TOML; says where.
    """
    text = settings_text(path).replace("\r\n", "\n")
    try:
        return parsed_toml(text)
    except NoDocumentError as error:
        said = str(error).removeprefix("it is not TOML: ")
        place, reason = _PLACE.search(said), _PLACE.sub("", said)
        if place is None:
            remedy = "complete it, or write plain tables"
            raise UsageError(f"{path} is no valid TOML ({reason})", remedy) from error
        line = text.split("\n")[int(place[1]) - 1]
        shown = readable(line.strip()[:80])
        raise UsageError(
            f"{path}, line {place[1]}, column {place[2]}: {shown!r} is no valid TOML ({reason})",
            'write key = value, with texts in quotation marks (folders = ["a/b"])',
        ) from error
