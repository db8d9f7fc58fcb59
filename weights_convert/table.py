"""What a conversion table is: one row per array, its name there, its path here, its layout.

A table lists every array of a file. Reading a file is then "each row found once, with its shape,
and nothing left over", and writing it is the same rows backwards. Two kinds of entry hold no
weight: `Derived` ones, which the origin's loader demands but whose value follows from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Arrays = dict[str, np.ndarray]


class RefusedFileError(ValueError):
    """The file is no plain file of arrays.

    Attributes:
        problems: all that is wrong.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Layout:
    """How the axes of an array there become those of an array here, and back."""

    name: str
    to_flax: Callable[[np.ndarray], np.ndarray]
    to_source: Callable[[np.ndarray], np.ndarray]

    def flax_shape(self, source_shape: Shape) -> Shape:
        """Shape here of an array of this shape there."""
        # A broadcast view of one number: any shape at no cost.
        return self.to_flax(np.broadcast_to(np.float32(0.0), source_shape)).shape


SAME = Layout("unchanged", lambda x: x, lambda x: x)
DENSE = Layout("[out, in] → [in, out]", lambda x: x.T, lambda x: x.T)
"""Dense kernels, and GRU kernels whose gates r, z, n are stacked along `out`."""

CONV_2D = Layout(
    "[out, in, kf, kt] → [kf, kt, in, out]",
    lambda x: x.transpose(2, 3, 1, 0),
    lambda x: x.transpose(3, 2, 0, 1),
)
CONV_1D = Layout(
    "[out, in, k] → [k, in, out]",
    lambda x: x.transpose(2, 1, 0),
    lambda x: x.transpose(2, 1, 0),
)
CONV_2D_TRANSPOSED = Layout(
    "[in, out, kf, kt] → [kf, kt, in, out], both kernel axes reversed",
    lambda x: x.transpose(2, 3, 0, 1)[::-1, ::-1],
    lambda x: x[::-1, ::-1].transpose(2, 3, 0, 1),
)
"""PyTorch's transposed convolution is the gradient of a convolution, Flax's (and `lax`'s with
`lhs_dilation`) a convolution of the dilated input; the reversal makes them equal."""

PER_BIN = Layout(
    "[1, bins, 1, 1] → [bins]",
    lambda x: x.reshape(x.shape[1]),
    lambda x: x.reshape(1, -1, 1, 1),
)
LIST_OF_ONE = Layout("[1, …] → […]", lambda x: x[0], lambda x: x[None])


@dataclass(frozen=True)
class Row:
    """One array.

    Attributes:
        source: name in the file.
        path: path in the variables, collection first (``params/salience/output/bias``).
        shape: shape in the file.
        layout: what happens to the axes.
    """

    source: str
    path: str
    shape: Shape
    layout: Layout = SAME

    @property
    def flax_shape(self) -> Shape:
        """Shape in the variables."""
        return self.layout.flax_shape(self.shape)


@dataclass(frozen=True)
class Derived:
    """An entry without information: checked where given, written anew on export.

    Attributes:
        source: name in the file.
        value: what export writes.
        why: where the value comes from.
        fixed: whether another value in the file is an error.
    """

    source: str
    value: int
    why: str
    fixed: bool = False


@dataclass(frozen=True)
class Table:
    """All arrays of one kind of file.

    Attributes:
        kind: ``<origin>-<architecture>``, what ``--kind`` takes.
        origin: ``keras``, ``npy`` or ``torch``, what ``export --to`` takes.
        architecture: the model; files of one architecture give the same tree.
        rows: the arrays.
        derived: entries without information.
        hyper_parameters: of the architecture, for the metadata.
        citation: who published such files.
        licence: under which such files were published.
        layer_order: Keras only: layers in the order in which Keras lists and loads them.
        first_norm: Keras only: number of the first automatically named normalisation.
        dtypes: element types that such files may have.
    """

    kind: str
    origin: str
    architecture: str
    rows: tuple[Row, ...]
    derived: tuple[Derived, ...] = ()
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)
    citation: str = ""
    licence: str = ""
    layer_order: tuple[str, ...] = ()
    first_norm: int = 0
    dtypes: tuple[str, ...] = ("float32",)

    def flax_shapes(self) -> dict[str, Shape]:
        """Path → shape of the variables."""
        return {row.path: row.flax_shape for row in self.rows}

    def to_flax(self, arrays: Arrays) -> Arrays:
        """Arrays by source name → float32 arrays by path; the names must be those of the rows."""
        return {
            row.path: np.ascontiguousarray(row.layout.to_flax(arrays[row.source]), np.float32)
            for row in self.rows
        }

    def to_source(self, flat: Arrays) -> Arrays:
        """Arrays by path → float32 arrays by source name."""
        return {
            row.source: np.ascontiguousarray(row.layout.to_source(flat[row.path]), np.float32)
            for row in self.rows
        }
