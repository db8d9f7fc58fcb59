"""Files of settings as text: what cannot be read is refused in the words of whoever wrote it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from umss_jax.errors import UsageError
from umss_jax.words import readable

_MAX_BYTES = 1 << 20  # a hundred times what all settings take
_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")


def settings_text(path: Path) -> str:
    """The text of a file of settings, in UTF-8 with or without a mark of byte order.

    Raises:
        UsageError: it is not there, cannot be read, or is no text.
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
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{path} cannot be read ({reason})", "check its name and rights"
        ) from error
    if len(content) > _MAX_BYTES or (b"\0" in content and not content.startswith(_UTF_16)):
        raise UsageError(f"{path} is no file of settings", "name a text file")
    try:
        return content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(
            f"{path} is not text in UTF-8 (line {line})", "save it in UTF-8 by a text editor"
        ) from error


_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def settings_tree(path: Path) -> dict[str, Any]:
    """The values of a TOML file.

    Raises:
        UsageError: as :func:`settings_text`, or it is no TOML; says where.
    """
    text = settings_text(path).replace("\r\n", "\n")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply", "write plain tables") from error
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        reason = _PLACE.sub("", str(error))
        if place is None:
            raise UsageError(f"{path} is no valid TOML ({reason})", "complete it") from error
        line = text.split("\n")[int(place[1]) - 1]
        shown = readable(line.strip())[:80]
        raise UsageError(
            f"{path}, line {place[1]}, column {place[2]}: {shown!r} is no valid TOML ({reason})",
            'write key = value, with texts in quotation marks (folders = ["a/b"])',
        ) from error
