"""Keras HDF5 of the voice assignment networks (``voas_cnn.h5``, ``voas_clstm.h5``).

Cuesta and Gómez, TISMIR 2022; github helenacuesta/voas-vocal-quartets, layer names from its
``voas/models.py``. Convolutions are found by name, normalisations by their order of creation
(`keras_layers`). The published files hold the whole model; optimiser state in them is left aside.
"""

from __future__ import annotations

from umss_jax.config import VOICE_THRESHOLDS, VOICES
from weights_convert.f0_networks import VOAS_CNN as VOAS_CNN_LAYERS
from weights_convert.f0_networks import VOAS_COMMON, Layer
from weights_convert.keras_layers import conv_lstm, rows
from weights_convert.table import Row, Table

CITATION = "Cuesta and Gómez, TISMIR 2022 (github helenacuesta/voas-vocal-quartets)"
LICENCE = "MIT"

_COMMON = ("conv1", "conv2", "conv_harm_1", "conv_harm_2")
_COMMON_ORDER = (
    *("norm 0", "conv1", "norm 1", "conv2", "norm 2", "conv_harm_1", "norm 3", "conv_harm_2"),
    # In VoasCLSTM this one follows the exchange of axes; it works per channel all the same.
    "norm 4",
)
_LAST = tuple(f"conv_{voice}" for voice in VOICES)


def _clstm_voice(number: int, voice: str) -> list[Row]:
    at = f"assignment/{voice}"
    return [
        *conv_lstm(f"convlstm_{number}_1", f"{at}/lstm_1", 16),
        *conv_lstm(f"convlstm_{number}_2", f"{at}/lstm_2", 32),
        *rows([Layer(f"{at}/output", (1, 1, 32, 1))], [f"conv_{voice}"]),
    ]


def _table(architecture: str, all_rows: tuple[Row, ...], order: tuple[str, ...]) -> Table:
    thresholds = list(VOICE_THRESHOLDS[architecture])
    return Table(
        kind=f"keras-{architecture}",
        origin="keras",
        architecture=architecture,
        rows=all_rows,
        hyper_parameters={"thresholds": thresholds, "voices": list(VOICES)},
        citation=CITATION,
        licence=LICENCE,
        layer_order=(*_COMMON_ORDER, *order, *_LAST),
    )


VOAS_CNN = _table(
    "voas-cnn",
    rows(
        VOAS_CNN_LAYERS,
        (
            *_COMMON,
            *(name for n, last in enumerate(_LAST, 1) for name in (f"conv{n}a", f"conv{n}b", last)),
        ),
    ),
    (
        *("conv1a", "conv2a", "conv3a", "conv4a", "norm 5", "norm 6", "norm 7", "norm 8"),
        *("conv1b", "conv2b", "conv3b", "conv4b"),
    ),
)
VOAS_CLSTM = _table(
    "voas-clstm",
    (
        *rows(VOAS_COMMON, _COMMON),
        *(row for number, voice in enumerate(VOICES, 1) for row in _clstm_voice(number, voice)),
    ),
    tuple(f"convlstm_{number}_{layer}" for layer in (1, 2) for number in (1, 2, 3, 4)),
)

TABLES = (VOAS_CNN, VOAS_CLSTM)
