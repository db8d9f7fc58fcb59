"""The errors a user can cause: each says what is wrong and what to do about it.

Command and API raise the same types. The command prints ``message: remedy`` on one line and leaves
with ``exit_code``: 2 where the request itself was wrong (usage), 1 where one file failed and the
others may still be done.
"""

from __future__ import annotations

import reprlib
import unicodedata

_OBEYED = {"Cc", "Cs", "Zl", "Zp"} | {
    *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
}
"""Control characters, line breaks, bytes that are not UTF-8, turns of the direction of writing."""


def printable(text: str) -> str:
    r"""A text, such as a file's name, as a terminal may get it: what it would obey is spelt out.

    Escape codes, line breaks and the like become ``\x1b``, ``\n`` …; blanks stay as they are.
    """
    return "".join(
        _spelt(character)
        if {unicodedata.category(character), unicodedata.bidirectional(character)} & _OBEYED
        else character
        for character in text
    )


def one_line(text: str) -> str:
    """A message from elsewhere on one line, as a terminal may get it."""
    return printable(" ".join(text.split()))


def brief(value: object, most: int = 60) -> str:
    """A value as Python writes it, on one line and cut, for messages."""
    if isinstance(value, str | bytes):
        value = value[: most + 1]
    shortened = reprlib.Repr()
    shortened.maxstring = shortened.maxlong = shortened.maxother = most
    try:
        text = printable(shortened.repr(value))
    except ValueError:  # a whole number of thousands of digits
        text = f"a {type(value).__name__} that is too long to show"
    return text if len(text) <= most + 2 else f"{text[:most]}…"


def _spelt(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python keeps a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


class UmssError(Exception):
    """Something a user can put right.

    Args:
        message: What is wrong, naming the file, model or option; no final full stop.
        remedy: What to do about it, as an instruction; no final full stop.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Both parts on one line."""
        return printable(f"{self.message}: {self.remedy}")


class UsageError(UmssError):
    """The request cannot be met as asked: options or arguments contradict or do not exist."""

    exit_code = 2


class UnknownModelError(UsageError):
    """No model, assigner or set of weights has this name."""


class DeviceError(UsageError):
    """The device asked for is not on this machine."""


class AudioError(UmssError):
    """An input recording cannot be read or holds nothing to separate."""


class OutputError(UmssError):
    """A result cannot be written."""


class WeightsError(UmssError):
    """Stored weights are missing, damaged or do not fit the model."""


class NotFiniteError(UmssError):
    """A loss or a gradient of training was NaN or infinite; the state before that step is kept."""


class DatasetError(UmssError):
    """A dataset on disk is not laid out as expected or misses a file."""


class ReportError(UmssError):
    """A folder or file does not hold what a report shows."""


class ScoreError(UmssError):
    """A score cannot be read, or its parts are not those of the voices."""
