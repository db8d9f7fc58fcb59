"""PyTorch checkpoints of the two conditioned U-Net baselines.

Petermann et al., ISMIR 2020 (*original* conditioning) and Schulze-Forster et al. 2023 (*exact*
conditioning); class ``BaselineUnet`` of github schufo/umss and PierreChouteau/umss_icassp. Images
are frequency × time. Downward convolutions have stride 2 and padding 2; so have the upward ones,
transposed. The published settings keep PyTorch's ε of 1e-5 in the normalisations.
"""

from __future__ import annotations

from weights_convert.table import Derived, Row, Table
from weights_convert.torch_layers import (
    batch_counts,
    batch_norm,
    conv_1d,
    conv_2d,
    conv_2d_transposed,
    dense,
)

_DOWN = ((1, 16), (16, 32), (32, 64), (64, 128), (128, 256), (256, 512))
# From the second on, half of the inputs come from the skip connection.
_UP = ((512, 256), (512, 128), (256, 64), (128, 32), (64, 16), (32, 1))


def _down(number: int, inputs: int, outputs: int) -> tuple[Row, ...]:
    at = f"unet/down_{number}"
    return (
        *conv_2d(f"conv{number}.0", f"{at}/conv", (5, 5), inputs, outputs),
        *batch_norm(f"conv{number}.1", f"{at}/norm", outputs),
    )


def _up(number: int, inputs: int, outputs: int) -> tuple[Row, ...]:
    at = f"unet/up_{number}"
    conv = conv_2d_transposed(f"deconv{number}", f"{at}/conv", (5, 5), inputs, outputs)
    if number == len(_UP):  # the last makes the mask: no normalisation
        return conv
    return (*conv, *batch_norm(f"deconv{number}_BAD.0", f"{at}/norm", outputs))


_BODY = (
    *(row for number, sizes in enumerate(_DOWN, 1) for row in _down(number, *sizes)),
    *(row for number, sizes in enumerate(_UP, 1) for row in _up(number, *sizes)),
)
_ORIGINAL_CONDITION = (
    *conv_1d("condition_generator.conv1", "unet/condition/conv_1", 10, 361, 16),
    *conv_1d("condition_generator.conv2", "unet/condition/conv_2", 10, 16, 64),
    *conv_1d("condition_generator.conv3", "unet/condition/conv_3", 10, 64, 256),
    *dense("condition_generator.linear_gamma", "unet/condition/gamma", 256, 513),
    *dense("condition_generator.linear_beta", "unet/condition/beta", 256, 513),
)
_EXACT_CONDITION = (
    *dense("condition_generator.linear_gamma_1", "unet/condition/gamma_1", 513, 513),
    *dense("condition_generator.linear_gamma_2", "unet/condition/gamma_2", 513, 513),
    *dense("condition_generator.linear_beta_1", "unet/condition/beta_1", 513, 513),
    *dense("condition_generator.linear_beta_2", "unet/condition/beta_2", 513, 513),
)
_DERIVED = (
    Derived("sample_rate", 16_000, "rate of the audio in Hz, part of the model here", fixed=True),
    *batch_counts(_BODY),
)


def _table(condition: str, rows: tuple[Row, ...], citation: str) -> Table:
    return Table(
        kind=f"torch-unet-{condition}",
        origin="torch",
        architecture=f"unet-{condition}",
        rows=(*rows, *_BODY),
        derived=_DERIVED,
        hyper_parameters={"condition": condition},
        citation=citation,
        licence="Apache-2.0",
        # Half precision widens to single without loss.
        dtypes=("float32", "float16"),
    )


UNET_ORIGINAL = _table(
    "original", _ORIGINAL_CONDITION, "after Petermann et al., ISMIR 2020 (github schufo/umss)"
)
UNET_EXACT = _table(
    "exact", _EXACT_CONDITION, "Schulze-Forster et al., IEEE/ACM TASLP 2023 (github schufo/umss)"
)

TABLES = (UNET_ORIGINAL, UNET_EXACT)
