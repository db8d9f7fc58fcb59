"""Keras HDF5 of the voice assignment networks (``voas_cnn.h5``, ``voas_clstm.h5``).

Cuesta and Gómez, TISMIR 2022; github helenacuesta/voas-vocal-quartets, layer names from its
``voas/models.py``. Convolutions are found by name, normalisations by their order of creation
(`keras_layers`). The published files hold the whole model; optimiser state in them is left aside.
"""

from __future__ import annotations

from umss_jax.config import VOICE_THRESHOLDS
from weights_convert.keras_layers import conv, conv_lstm, norm
from weights_convert.table import Row, Table

CITATION = "Cuesta and Gómez, TISMIR 2022 (github helenacuesta/voas-vocal-quartets)"
LICENCE = "MIT"
VOICES = ("soprano", "alto", "tenor", "bass")

_COMMON = [
    *norm(0, "assignment/input_norm", 1),
    *conv("conv1", "assignment/block_1/conv", (3, 3), 1, 32),
    *norm(1, "assignment/block_1/norm", 32),
    *conv("conv2", "assignment/block_2/conv", (3, 3), 32, 32),
    *norm(2, "assignment/block_2/norm", 32),
    *conv("conv_harm_1", "assignment/block_3/conv", (70, 3), 32, 16),
    *norm(3, "assignment/block_3/norm", 16),
    *conv("conv_harm_2", "assignment/block_4/conv", (70, 3), 16, 16),
    # In VoasCLSTM this one follows the exchange of axes; it works per channel all the same.
    *norm(4, "assignment/block_4/norm", 16),
]
_COMMON_ORDER = (
    *("norm 0", "conv1", "norm 1", "conv2", "norm 2", "conv_harm_1", "norm 3", "conv_harm_2"),
    "norm 4",
)


def _cnn_voice(number: int, voice: str) -> list[Row]:
    at = f"assignment/{voice}"
    return [
        *conv(f"conv{number}a", f"{at}/block_1/conv", (3, 3), 16, 16),
        *norm(4 + number, f"{at}/block_1/norm", 16),
        *conv(f"conv{number}b", f"{at}/conv_2", (3, 3), 16, 16),
        *conv(f"conv_{voice}", f"{at}/output", (1, 1), 16, 1),
    ]


def _clstm_voice(number: int, voice: str) -> list[Row]:
    at = f"assignment/{voice}"
    return [
        *conv_lstm(f"convlstm_{number}_1", f"{at}/lstm_1", 16),
        *conv_lstm(f"convlstm_{number}_2", f"{at}/lstm_2", 32),
        *conv(f"conv_{voice}", f"{at}/output", (1, 1), 32, 1),
    ]


VOAS_CNN = Table(
    kind="keras-voas-cnn",
    origin="keras",
    architecture="voas-cnn",
    rows=(*_COMMON, *(row for n, v in enumerate(VOICES, 1) for row in _cnn_voice(n, v))),
    hyper_parameters={"thresholds": list(VOICE_THRESHOLDS["voas-cnn"]), "voices": list(VOICES)},
    citation=CITATION,
    licence=LICENCE,
    layer_order=(
        *_COMMON_ORDER,
        *("conv1a", "conv2a", "conv3a", "conv4a", "norm 5", "norm 6", "norm 7", "norm 8"),
        *("conv1b", "conv2b", "conv3b", "conv4b"),
        *(f"conv_{voice}" for voice in VOICES),
    ),
)
VOAS_CLSTM = Table(
    kind="keras-voas-clstm",
    origin="keras",
    architecture="voas-clstm",
    rows=(*_COMMON, *(row for n, v in enumerate(VOICES, 1) for row in _clstm_voice(n, v))),
    hyper_parameters={"thresholds": list(VOICE_THRESHOLDS["voas-clstm"]), "voices": list(VOICES)},
    citation=CITATION,
    licence=LICENCE,
    layer_order=(
        *_COMMON_ORDER,
        *(f"convlstm_{number}_1" for number in (1, 2, 3, 4)),
        *(f"convlstm_{number}_2" for number in (1, 2, 3, 4)),
        *(f"conv_{voice}" for voice in VOICES),
    ),
)

TABLES = (VOAS_CNN, VOAS_CLSTM)
