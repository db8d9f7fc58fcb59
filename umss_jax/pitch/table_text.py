"""Lines, cells and numbers of the texts that hold tables; what is no such text is named.

See :mod:`umss_jax.pitch.tables` for what is read.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import math
import re
from pathlib import Path

from umss_jax.errors import DatasetError

EXPECTED = "expected rows of time (s), F0 (Hz, 0 where unvoiced) and perhaps confidence (0 to 1)"

_MOST_BYTES = 1 << 26
_EXPORT = "export the pitches as CSV, rows of time and F0"
_LISTING = "save its listing, rows of time and F0"
_XML = "XML, such as a layer of Sonic Visualiser"
_SOUND = "audio, not a table"
_FOREIGN = (
    (r"[^\n]{0,24}oo(Text|Binary)File", "an object of Praat", _LISTING),
    (r"BZh|\x1f", "compressed or a session of Sonic Visualiser or Tony", _EXPORT),
    (r"\s*<", _XML, _EXPORT),
    (r"\s*[{\[]", "JSON", _EXPORT),
    (r"\s*@prefix", "RDF", _EXPORT),
    (r"EST_File", "a track of the Edinburgh tools", "take its header off and name the columns"),
    (r"MThd", "MIDI, notes instead of an F0 for every frame", EXPECTED),
    (r"(RIFF|fLaC|OggS|ID3|FORM)", _SOUND, "make a table of its pitches (umss-jax data f0)"),
    (r"PK\x03\x04", "an archive of NumPy or a spreadsheet", _EXPORT),
    (r".NUMPY", "an array of NumPy", "two belong together: x_frequency.npy and x_confidence.npy"),
    (r"%PDF|.HDF|[^\x00]*\x00", "no text", _EXPORT),
)
_MISSING = ("", "--undefined--", "undefined", "na", "n/a", "none", "null", "-", "--")
_WORDS = dict.fromkeys((*_MISSING, "1.#qnan", "-1.#qnan", "-1.#ind", "1.#ind"), math.nan)
_WORDS |= {"true": 1.0, "false": 0.0}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_UTF = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, whatever their ends.

    Raises:
        DatasetError: it is not there, cannot be read, or is of a known kind that is no table.
    """
    if not path.is_file():  # a pipe or device may have no end
        wrong = "is not a file" if path.exists() else "is not there"
        raise DatasetError(f"{path} {wrong}", EXPECTED)
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror})", EXPECTED) from error
    if len(content) > _MOST_BYTES:
        limit = f"larger than {_MOST_BYTES >> 20} MiB"
        raise DatasetError(f"{path} is not a table of pitches ({limit})", EXPECTED)
    text = content.decode(_encoding(content), errors="replace")
    for begins, kind, remedy in _FOREIGN:
        if re.match(begins, text):
            raise DatasetError(f"{path} is not a table of pitches (it is {kind})", remedy)
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _encoding(content: bytes) -> str:
    for mark, encoding in _UTF:
        if content.startswith(mark):
            return encoding
    head = content[:64]
    if len(head) >= 8 and not any(head[1::2]):  # without a mark: every second byte is 0
        return "utf-16-le"
    return "utf-16-be" if len(head) >= 8 and not any(head[::2]) else "utf-8-sig"


def comment_of(line: str) -> str | None:
    """What a line of a comment says; None for all others."""
    plain = line.strip()
    is_row = plain[:1] == ";" and any(map(is_number, split_cells(plain)))
    if is_row or not plain.startswith(("#", "%", ";", "//")):
        return None
    return plain.lstrip("#%;/ ")


def split_cells(line: str) -> list[str]:
    """The cells of a line; every line tells its separator, as a header may have another.

    A decimal comma becomes a point where cells are apart by something else.
    """
    words = line.split()
    commas = [bool(_DECIMAL_COMMA.fullmatch(word)) for word in words]
    if len(words) > 1 and any(commas) and all(map(is_number, _with_points(words))):
        return _with_points(words)
    for separator in "\t;,":
        if separator in line:
            cells = line.split(separator)
            if '"' in line:
                with contextlib.suppress(csv.Error):  # a cell of more than 128 KiB
                    cells = next(csv.reader([line], delimiter=separator))
            return _with_points([cell.strip() for cell in cells])
    return words


def _with_points(cells: list[str]) -> list[str]:
    return [c.replace(",", ".") if _DECIMAL_COMMA.fullmatch(c) else c for c in cells]


def number_of(cell: str) -> float:
    """The number in a cell, nan where none is meant; ValueError where it is something else."""
    word = _WORDS.get(cell.lower())
    if word is not None:
        return word
    if "_" in cell or not cell.isascii():  # Python would take them
        raise ValueError(cell)
    return float(cell)


def is_number(cell: str) -> bool:
    """Whether a cell holds a number."""
    try:
        return not math.isnan(number_of(cell))
    except ValueError:
        return False
