"""What kind a weight file is, told from its contents and never from its name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from umss_jax.errors import WeightsError
from umss_jax.files import regular_bytes
from umss_jax.trees import MAX_BYTES
from weights_convert import npy
from weights_convert.limits import most_bytes
from weights_convert.table import Table
from weights_convert.tables import tables_of

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK\x03\x04"
NPY_SIGNATURE = b"\x93NUMPY"
_LEAST_LIKENESS = 0.2

_KNOWN = (
    "give a Keras HDF5 file (Early/Deep, Early/Shallow, Late/Deep, VoasCNN, VoasCLSTM), a folder "
    "of .npy files of the 2024 code, or a PyTorch checkpoint of UMSS 2023, UMSS 2024 or a U-Net"
)


def origin(path: Path) -> str:
    """``keras``, ``torch`` or ``npy``.

    Raises:
        WeightsError: neither, too large, or not there.
    """
    try:
        if path.is_dir():
            if npy.files_of(path):
                return "npy"
            raise WeightsError(f"{path} holds no .npy files", _KNOWN)
        size = regular_bytes(path)
        with open(path, "rb") as file:
            start = file.read(16)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise WeightsError(f"{path} cannot be read ({reason})", _KNOWN) from error
    if size > MAX_BYTES:
        raise WeightsError(f"{path} is larger than any weight file known here", _KNOWN)
    for signature, name in ((HDF5_SIGNATURE, "keras"), (ZIP_SIGNATURE, "torch")):
        if start.startswith(signature):
            if size > most_bytes(name):
                raise WeightsError(f"{path} is larger than any weight file known here", _KNOWN)
            return name
    if start.startswith(NPY_SIGNATURE):
        raise WeightsError(
            f"{path} is one of several .npy files", f"give the whole folder, {path.parent}"
        )
    if re.match(rb"\x80[\x02-\x05]", start):
        raise WeightsError(
            f"{path} is a bare pickle, which can run commands and is never read",
            "for a PyTorch checkpoint, save it anew with PyTorch 1.6 or later",
        )
    raise WeightsError(f"{path} is no weight file (it begins with {start[:8]!r})", _KNOWN)


def closest(names: Iterable[str], origin_name: str, path: Path) -> Table:
    """The table of this origin whose names are most like those of the file.

    A file that deviates by some names still finds its table, so that these can be listed.

    Raises:
        WeightsError: the file is like none of them.
    """
    found = set(names)

    def likeness(table: Table) -> float:
        known = {row.source for row in table.rows} | {entry.source for entry in table.derived}
        return len(found & known) / len(found | known)

    best = max(tables_of(origin_name), key=likeness)
    if likeness(best) < _LEAST_LIKENESS:
        some = ", ".join(name[:100] for name in sorted(found)[:6]) or "nothing"
        raise WeightsError(f"{path} is of no known kind (it holds {some}, …)", _KNOWN)
    return best
