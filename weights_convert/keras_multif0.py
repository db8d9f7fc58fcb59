"""Keras HDF5 of the multi-F0 salience networks (``exp1multif0.pkl`` … ``exp7multif0.pkl``).

Cuesta, McFee and Gómez, ISMIR 2020; github helenacuesta/multif0-estimation-polyvocals, layer names
from its ``models.py``. HDF5 whatever the suffix says. Convolutions are named by hand and found by
name, normalisations by their order of creation (`keras_layers`).
"""

from __future__ import annotations

from umss_jax.config import MULTI_F0_THRESHOLDS
from weights_convert.keras_layers import conv, norm
from weights_convert.table import Row, Table

CITATION = "Cuesta, McFee and Gómez, ISMIR 2020 (github helenacuesta/multif0-estimation-polyvocals)"
LICENCE = "MIT"


def _branch(feature: str, letter: str, first: int) -> list[Row]:
    """One branch of Late/Deep; ``first`` is the number of its first normalisation."""
    at = f"salience/{feature}"
    return [
        *norm(first, f"{at}/input_norm", 5),
        *conv(f"conv1{letter}", f"{at}/block_1/conv", (5, 5), 5, 16),
        *norm(first + 1, f"{at}/block_1/norm", 16),
        *conv(f"conv2{letter}", f"{at}/block_2/conv", (5, 5), 16, 32),
        *norm(first + 2, f"{at}/block_2/norm", 32),
        *conv(f"conv3{letter}", f"{at}/block_3/conv", (5, 5), 32, 32),
        *norm(first + 3, f"{at}/block_3/norm", 32),
        *conv(f"conv4{letter}", f"{at}/block_4/conv", (5, 5), 32, 32),
        *norm(first + 4, f"{at}/block_4/norm", 32),
        *conv(f"harm1{letter}", f"{at}/block_5/conv", (70, 3), 32, 32),
        *norm(first + 5, f"{at}/block_5/norm", 32),
        *conv(f"harm2{letter}", f"{at}/block_6/conv", (70, 3), 32, 32),
        *norm(first + 6, f"{at}/block_6/norm", 32),
    ]


def _merged_deep(inputs: int, block: int, first: int) -> list[Row]:
    """``conv7`` and ``conv8``, from this block and this normalisation on."""
    return [
        *conv("conv7", f"salience/merged/block_{block}/conv", (3, 3), inputs, 64),
        *norm(first, f"salience/merged/block_{block}/norm", 64),
        *conv("conv8", f"salience/merged/block_{block + 1}/conv", (3, 3), 64, 64),
        *norm(first + 1, f"salience/merged/block_{block + 1}/norm", 64),
    ]


def _head(inputs: int, block: int, last: int) -> list[Row]:
    """``distribution`` over all 360 bins, its normalisation, ``squishy``."""
    return [
        *conv("distribution", f"salience/merged/block_{block}/conv", (360, 1), inputs, 8),
        *norm(last, f"salience/merged/block_{block}/norm", 8),
        *conv("squishy", "salience/output", (1, 1), 8, 1),
    ]


_EARLY = [
    *norm(0, "salience/magnitude/input_norm", 5),
    *norm(1, "salience/phase/input_norm", 5),
    *conv("conv1a", "salience/magnitude/block_1/conv", (5, 5), 5, 16),
    *norm(2, "salience/magnitude/block_1/norm", 16),
    *conv("conv1b", "salience/phase/block_1/conv", (5, 5), 5, 16),
    *norm(3, "salience/phase/block_1/norm", 16),
    *conv("conv2", "salience/merged/block_1/conv", (5, 5), 32, 32),
    *norm(4, "salience/merged/block_1/norm", 32),
    *conv("conv3", "salience/merged/block_2/conv", (5, 5), 32, 32),
    *norm(5, "salience/merged/block_2/norm", 32),
    *conv("conv4", "salience/merged/block_3/conv", (5, 5), 32, 32),
    *norm(6, "salience/merged/block_3/norm", 32),
    *conv("harm1", "salience/merged/block_4/conv", (70, 3), 32, 32),
    *norm(7, "salience/merged/block_4/norm", 32),
    *conv("harm2", "salience/merged/block_5/conv", (70, 3), 32, 32),
    *norm(8, "salience/merged/block_5/norm", 32),
]

EARLY_DEEP_ROWS = (*_EARLY, *_merged_deep(32, 6, 9), *_head(64, 8, 11))
EARLY_SHALLOW_ROWS = (*_EARLY, *_head(32, 6, 9))
LATE_DEEP_ROWS = (
    *_branch("magnitude", "a", 0),
    *_branch("phase", "b", 7),
    *_merged_deep(64, 1, 14),
    *_head(64, 3, 16),
)
LATE_DEEP_MAGNITUDE_ROWS = (
    *_branch("magnitude", "a", 0),
    *_merged_deep(32, 1, 7),
    *_head(64, 3, 9),
)

_EARLY_ORDER = (
    *("norm 0", "norm 1", "conv1a", "conv1b", "norm 2", "norm 3"),
    *("conv2", "norm 4", "conv3", "norm 5", "conv4", "norm 6"),
    *("harm1", "norm 7", "harm2", "norm 8"),
)


def _table(architecture: str, rows: tuple[Row, ...], order: tuple[str, ...]) -> Table:
    return Table(
        kind=f"keras-{architecture}",
        origin="keras",
        architecture=architecture,
        rows=rows,
        hyper_parameters={"multi_f0_threshold": MULTI_F0_THRESHOLDS[architecture]},
        citation=CITATION,
        licence=LICENCE,
        layer_order=order,
        first_norm=1,
    )


EARLY_DEEP = _table(
    "early-deep",
    EARLY_DEEP_ROWS,
    (*_EARLY_ORDER, "conv7", "norm 9", "conv8", "norm 10", "distribution", "norm 11", "squishy"),
)
EARLY_SHALLOW = _table(
    "early-shallow",
    EARLY_SHALLOW_ROWS,
    (*_EARLY_ORDER, "distribution", "norm 9", "squishy"),
)
LATE_DEEP = _table(
    "late-deep",
    LATE_DEEP_ROWS,
    (
        *("norm 0", "norm 7", "conv1a", "conv1b", "norm 1", "norm 8"),
        *("conv2a", "conv2b", "norm 2", "norm 9", "conv3a", "conv3b", "norm 3", "norm 10"),
        *("conv4a", "conv4b", "norm 4", "norm 11", "harm1a", "harm1b", "norm 5", "norm 12"),
        *("harm2a", "harm2b", "norm 6", "norm 13"),
        *("conv7", "norm 14", "conv8", "norm 15", "distribution", "norm 16", "squishy"),
    ),
)
LATE_DEEP_MAGNITUDE = _table(
    "late-deep-magnitude",
    LATE_DEEP_MAGNITUDE_ROWS,
    (
        *("norm 0", "conv1a", "norm 1", "conv2a", "norm 2", "conv3a", "norm 3"),
        *("conv4a", "norm 4", "harm1a", "norm 5", "harm2a", "norm 6"),
        *("conv7", "norm 7", "conv8", "norm 8", "distribution", "norm 9", "squishy"),
    ),
)

TABLES = (EARLY_DEEP, EARLY_SHALLOW, LATE_DEEP, LATE_DEEP_MAGNITUDE)
