"""All tables, by kind and by architecture."""

from __future__ import annotations

from umss_jax.errors import UnknownModelError
from weights_convert import (
    keras_multif0,
    keras_voas,
    npy_2024,
    torch_2023,
    torch_2024,
    torch_unet,
)
from weights_convert.table import Table

TABLES: tuple[Table, ...] = (
    *keras_multif0.TABLES,
    *keras_voas.TABLES,
    *npy_2024.TABLES,
    *torch_2024.TABLES,
    *torch_2023.TABLES,
    *torch_unet.TABLES,
)


def tables_of(origin: str) -> tuple[Table, ...]:
    """Tables of ``keras``, ``npy`` or ``torch`` files."""
    return tuple(table for table in TABLES if table.origin == origin)


def table_of_kind(kind: str) -> Table:
    """The table of a kind.

    Raises:
        UnknownModelError: there is none, with those that are.
    """
    for table in TABLES:
        if table.kind == kind:
            return table
    raise UnknownModelError(
        f"no kind of weight file is called {kind!r}",
        f"choose one of {', '.join(table.kind for table in TABLES)}",
    )
