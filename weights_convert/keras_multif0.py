"""Keras HDF5 of the multi-F0 salience networks (``exp1multif0.pkl`` … ``exp7multif0.pkl``).

Cuesta, McFee and Gómez, ISMIR 2020; github helenacuesta/multif0-estimation-polyvocals, layer names
from its ``models.py``. HDF5 whatever the suffix says. Convolutions are named by hand and found by
name, normalisations by their order of creation (`keras_layers`).
"""

from __future__ import annotations

from umss_jax.config import MULTI_F0_THRESHOLDS
from weights_convert.f0_networks import (
    FIRST,
    LATE_MAGNITUDE,
    LATE_MERGED,
    LATE_PHASE,
    Layers,
    Sizes,
    branch,
    merged,
)
from weights_convert.keras_layers import rows
from weights_convert.table import Table

CITATION = "Cuesta, McFee and Gómez, ISMIR 2020 (github helenacuesta/multif0-estimation-polyvocals)"
LICENCE = "MIT"


def _early(*sizes: Sizes) -> Layers:
    """Both branches join after their first block; ``sizes`` of the blocks after ``harm2``."""
    magnitude, phase = branch("magnitude", *FIRST), branch("phase", *FIRST)
    middle = (*3 * ((5, 5, 32, 32),), *2 * ((70, 3, 32, 32),))
    # In the order of creation: both inputs are normalised before the first convolution.
    return (magnitude[0], phase[0], *magnitude[1:], *phase[1:], *merged(*middle, *sizes))


def _table(
    architecture: str, layers: Layers, convolutions: tuple[str, ...], order: tuple[str, ...]
) -> Table:
    return Table(
        kind=f"keras-{architecture}",
        origin="keras",
        architecture=architecture,
        rows=rows(layers, convolutions),
        hyper_parameters={"multi_f0_threshold": MULTI_F0_THRESHOLDS[architecture]},
        citation=CITATION,
        licence=LICENCE,
        layer_order=order,
        first_norm=1,
    )


_A, _B = (
    tuple(f"{name}{letter}" for name in ("conv1", "conv2", "conv3", "conv4", "harm1", "harm2"))
    for letter in "ab"
)
_EARLY = ("conv1a", "conv1b", "conv2", "conv3", "conv4", "harm1", "harm2")
_DEEP, _LAST = ("conv7", "conv8"), ("distribution", "squishy")
_EARLY_ORDER = (
    *("norm 0", "norm 1", "conv1a", "conv1b", "norm 2", "norm 3"),
    *("conv2", "norm 4", "conv3", "norm 5", "conv4", "norm 6"),
    *("harm1", "norm 7", "harm2", "norm 8"),
)

EARLY_DEEP = _table(
    "early-deep",
    _early((3, 3, 32, 64), (3, 3, 64, 64), (360, 1, 64, 8)),
    (*_EARLY, *_DEEP, *_LAST),
    (*_EARLY_ORDER, "conv7", "norm 9", "conv8", "norm 10", "distribution", "norm 11", "squishy"),
)
EARLY_SHALLOW = _table(
    "early-shallow",
    _early((360, 1, 32, 8)),
    (*_EARLY, *_LAST),
    (*_EARLY_ORDER, "distribution", "norm 9", "squishy"),
)
LATE_DEEP = _table(
    "late-deep",
    (*LATE_MAGNITUDE, *LATE_PHASE, *LATE_MERGED),
    (*_A, *_B, *_DEEP, *_LAST),
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
    (*LATE_MAGNITUDE, *merged((3, 3, 32, 64), (3, 3, 64, 64), (360, 1, 64, 8))),
    (*_A, *_DEEP, *_LAST),
    (
        *("norm 0", "conv1a", "norm 1", "conv2a", "norm 2", "conv3a", "norm 3"),
        *("conv4a", "norm 4", "harm1a", "norm 5", "harm2a", "norm 6"),
        *("conv7", "norm 7", "conv8", "norm 8", "distribution", "norm 9", "squishy"),
    ),
)

TABLES = (EARLY_DEEP, EARLY_SHALLOW, LATE_DEEP, LATE_DEEP_MAGNITUDE)
