"""The errors a user can cause: each says what is wrong and what to do about it.

Command and API raise the same types. The command prints ``message: remedy`` on one line and leaves
with ``exit_code``: 2 where the request itself was wrong (usage), 1 where one file failed and the
others may still be done.
"""

from __future__ import annotations

import re
import reprlib

_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Controls of terminals, line ends, turns of the writing direction, and bytes that are no text."""


def printable(text: str) -> str:
    """The text on one line, as a terminal shows it: what would steer it stands as its escape."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


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
        return " ".join(f"{self.message}: {self.remedy}".split())


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
