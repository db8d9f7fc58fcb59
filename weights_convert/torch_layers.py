"""Rows of the PyTorch layers that the tables of PyTorch checkpoints are made of."""

from __future__ import annotations

from weights_convert.table import CONV_1D, CONV_2D, CONV_2D_TRANSPOSED, DENSE, Derived, Row

NOT_TRACKED = "statistics are never updated here, so their count of batches means nothing"


def dense(module: str, path: str, inputs: int, outputs: int) -> tuple[Row, ...]:
    """`torch.nn.Linear`."""
    return (
        Row(f"{module}.weight", f"params/{path}/kernel", (outputs, inputs), DENSE),
        Row(f"{module}.bias", f"params/{path}/bias", (outputs,)),
    )


def layer_norm(module: str, path: str, width: int) -> tuple[Row, ...]:
    """`torch.nn.LayerNorm`."""
    return (
        Row(f"{module}.weight", f"params/{path}/scale", (width,)),
        Row(f"{module}.bias", f"params/{path}/bias", (width,)),
    )


def gru(module: str, path: str, inputs: int, hidden: int) -> tuple[Row, ...]:
    """`torch.nn.GRU` of one layer in one direction; gates r, z, n."""
    gates = 3 * hidden
    return (
        Row(f"{module}.weight_ih_l0", f"params/{path}/input_kernel", (gates, inputs), DENSE),
        Row(f"{module}.weight_hh_l0", f"params/{path}/hidden_kernel", (gates, hidden), DENSE),
        Row(f"{module}.bias_ih_l0", f"params/{path}/input_bias", (gates,)),
        Row(f"{module}.bias_hh_l0", f"params/{path}/hidden_bias", (gates,)),
    )


def conv_2d(
    module: str, path: str, kernel: tuple[int, ...], inputs: int, outputs: int
) -> tuple[Row, ...]:
    """`torch.nn.Conv2d` on [batch, channels, frequency, time]."""
    return (
        Row(f"{module}.weight", f"params/{path}/kernel", (outputs, inputs, *kernel), CONV_2D),
        Row(f"{module}.bias", f"params/{path}/bias", (outputs,)),
    )


def conv_1d(module: str, path: str, kernel: int, inputs: int, outputs: int) -> tuple[Row, ...]:
    """`torch.nn.Conv1d` on [batch, channels, time]."""
    return (
        Row(f"{module}.weight", f"params/{path}/kernel", (outputs, inputs, kernel), CONV_1D),
        Row(f"{module}.bias", f"params/{path}/bias", (outputs,)),
    )


def conv_2d_transposed(
    module: str, path: str, kernel: tuple[int, ...], inputs: int, outputs: int
) -> tuple[Row, ...]:
    """`torch.nn.ConvTranspose2d` on [batch, channels, frequency, time]."""
    shape = (inputs, outputs, *kernel)
    return (
        Row(f"{module}.weight", f"params/{path}/kernel", shape, CONV_2D_TRANSPOSED),
        Row(f"{module}.bias", f"params/{path}/bias", (outputs,)),
    )


def batch_norm(module: str, path: str, channels: int) -> tuple[Row, ...]:
    """`torch.nn.BatchNorm2d`; its count of batches is derived (`batch_counts`)."""
    return (
        Row(f"{module}.weight", f"params/{path}/scale", (channels,)),
        Row(f"{module}.bias", f"params/{path}/bias", (channels,)),
        Row(f"{module}.running_mean", f"batch_stats/{path}/mean", (channels,)),
        Row(f"{module}.running_var", f"batch_stats/{path}/var", (channels,)),
    )


def batch_counts(rows: tuple[Row, ...]) -> tuple[Derived, ...]:
    """The ``num_batches_tracked`` that PyTorch keeps beside each ``running_var``."""
    modules = [row.source.rsplit(".", 1) for row in rows]
    return tuple(
        Derived(f"{module}.num_batches_tracked", 0, NOT_TRACKED)
        for module, name in modules
        if name == "running_var"
    )
