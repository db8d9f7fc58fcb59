"""How much a weight file may hold, told from the largest network that is known.

A file is measured by these before any array is copied: sizes, counts and shared bytes are what a
few kilobytes can promise without end.
"""

from __future__ import annotations

import math

from umss_jax.trees import MAX_ARRAYS
from weights_convert.table import RefusedFileError
from weights_convert.tables import tables_of

_BESIDE_WEIGHTS = 8
"""A file may be so many times its weights: optimisers keep two numbers with each, or doubles."""
_OVERHEAD_BYTES = 4 << 20


def most_bytes(origin: str) -> int:
    """Bytes that a file of this origin may have, or all files of a folder together."""
    weights = max(sum(math.prod(row.shape) for row in table.rows) for table in tables_of(origin))
    return _BESIDE_WEIGHTS * 4 * weights + _OVERHEAD_BYTES


def check_total(arrays: int, total_bytes: int, file_bytes: int) -> None:
    """Refuses arrays that are more, or larger, than a file of this size can hold itself.

    Raises:
        RefusedFileError: some lie at the same place, or are not there.
    """
    if arrays > MAX_ARRAYS:
        raise RefusedFileError([f"it has {arrays} arrays, {MAX_ARRAYS} at most are read"])
    if total_bytes > file_bytes:
        raise RefusedFileError(
            [f"its arrays promise {total_bytes} bytes, but the file has {file_bytes}: some share"]
        )
