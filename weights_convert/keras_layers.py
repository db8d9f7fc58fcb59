"""Rows of the Keras layers that all tables of Keras files are made of.

A normalisation is named automatically and with an offset (``batch_normalization``,
``batch_normalization_1``, … from whatever number the process had reached), so tables name it by its
place among the normalisations of the file in the order of creation: ``norm 0``, ``norm 1``, …
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from weights_convert.f0_networks import Layer
from weights_convert.table import Row


def rows(layers: Iterable[Layer], convolutions: Iterable[str]) -> tuple[Row, ...]:
    """Rows of layers, given in the order of their creation.

    Args:
        layers: convolutions and normalisations.
        convolutions: the name of each convolution, in the same order.
    """
    names, norms = iter(convolutions), count()
    found: list[Row] = []
    for layer in layers:
        found += _norm(next(norms), layer) if layer.is_norm else _conv(next(names), layer)
    return tuple(found)


def _conv(name: str, layer: Layer) -> list[Row]:
    """A convolution; Keras's kernels already are frequency × time × in × out."""
    return [
        Row(f"{name}/kernel", f"params/{layer.path}/kernel", layer.sizes),
        Row(f"{name}/bias", f"params/{layer.path}/bias", layer.sizes[-1:]),
    ]


def _norm(number: int, layer: Layer) -> list[Row]:
    """A batch normalisation with its frozen statistics."""
    path, shape = layer
    return [
        Row(f"norm {number}/gamma", f"params/{path}/scale", shape),
        Row(f"norm {number}/beta", f"params/{path}/bias", shape),
        Row(f"norm {number}/moving_mean", f"batch_stats/{path}/mean", shape),
        Row(f"norm {number}/moving_variance", f"batch_stats/{path}/var", shape),
    ]


def conv_lstm(name: str, path: str, inputs: int) -> list[Row]:
    """A convolutional LSTM of 32 channels, kernel 3×7; gates i, f, c, o along the last axis."""
    return [
        Row(f"{name}/kernel", f"params/{path}/input_kernel", (3, 7, inputs, 128)),
        Row(f"{name}/recurrent_kernel", f"params/{path}/recurrent_kernel", (3, 7, 32, 128)),
        Row(f"{name}/bias", f"params/{path}/bias", (128,)),
    ]
