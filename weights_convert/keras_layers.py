"""Rows of the two Keras layers that all tables of Keras files are made of.

A normalisation is named automatically and with an offset (``batch_normalization``,
``batch_normalization_1``, … from whatever number the process had reached), so tables name it by its
place among the normalisations of the file in the order of creation: ``norm 0``, ``norm 1``, …
"""

from __future__ import annotations

from weights_convert.table import Row


def conv(layer: str, path: str, kernel: tuple[int, int], inputs: int, outputs: int) -> list[Row]:
    """A convolution; Keras's kernels already are frequency × time × in × out."""
    return [
        Row(f"{layer}/kernel", f"params/{path}/kernel", (*kernel, inputs, outputs)),
        Row(f"{layer}/bias", f"params/{path}/bias", (outputs,)),
    ]


def norm(number: int, path: str, channels: int) -> list[Row]:
    """A batch normalisation with its stored statistics."""
    return [
        Row(f"norm {number}/gamma", f"params/{path}/scale", (channels,)),
        Row(f"norm {number}/beta", f"params/{path}/bias", (channels,)),
        Row(f"norm {number}/moving_mean", f"batch_stats/{path}/mean", (channels,)),
        Row(f"norm {number}/moving_variance", f"batch_stats/{path}/var", (channels,)),
    ]


def conv_lstm(layer: str, path: str, inputs: int) -> list[Row]:
    """A convolutional LSTM of 32 channels, kernel 3×7; gates i, f, c, o along the last axis."""
    return [
        Row(f"{layer}/kernel", f"params/{path}/input_kernel", (3, 7, inputs, 128)),
        Row(f"{layer}/recurrent_kernel", f"params/{path}/recurrent_kernel", (3, 7, 32, 128)),
        Row(f"{layer}/bias", f"params/{path}/bias", (128,)),
    ]
