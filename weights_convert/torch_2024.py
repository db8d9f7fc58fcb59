"""PyTorch checkpoints of the complete 2024 model (``W-Up_bcbq.pth`` and its siblings).

Richard, Chouteau and Torres, ICASSP 2024; github PierreChouteau/umss_icassp, class
``SourceFilterMixtureAutoencoder2`` with the F0 models inside. Numbers in the names are positions in
``torch.nn.Sequential``; the gaps are activations and paddings, which hold nothing. Encoder and
decoder are those of 2023. Thresholds and the pitch grid are no part of a checkpoint.
"""

from __future__ import annotations

from umss_jax.config import VOICES
from weights_convert import f0_networks, keras_voas, torch_2023
from weights_convert.f0_networks import Layers, voas_cnn_voice
from weights_convert.table import Row, Table
from weights_convert.torch_layers import batch_counts, batch_norm, conv_2d

CITATION = "Richard, Chouteau and Torres, ICASSP 2024 (github PierreChouteau/umss_icassp)"
LICENCE = "Apache-2.0"
_BRANCH = (0, 1, 3, 4, 6, 7, 9, 10, 12, 14, 16, 18, 20)


def _sequential(module: str, positions: tuple[int, ...], layers: Layers) -> tuple[Row, ...]:
    """Rows of a ``torch.nn.Sequential`` that holds these layers at these positions."""
    rows: list[Row] = []
    for position, layer in zip(positions, layers, strict=True):
        name, sizes = f"{module}.{position}", layer.sizes
        if layer.is_norm:
            rows += batch_norm(name, layer.path, *sizes)
        else:
            rows += conv_2d(name, layer.path, sizes[:2], *sizes[2:])
    return tuple(rows)


def _voice(number: int, voice: str) -> tuple[Row, ...]:
    layers = voas_cnn_voice(voice)
    return (
        *_sequential(f"F0Assigner.branch{number}", (0, 2, 3), layers[:3]),
        *_sequential(f"F0Assigner.post_process{number}", (0,), layers[3:]),
    )


SALIENCE_ROWS = (
    *_sequential("F0Extractor.base_model1", _BRANCH, f0_networks.LATE_MAGNITUDE),
    *_sequential("F0Extractor.base_model2", _BRANCH, f0_networks.LATE_PHASE),
    *_sequential("F0Extractor.cuesta", (0, 2, 3, 5, 7, 9, 10), f0_networks.LATE_MERGED),
)
ASSIGNMENT_ROWS = (
    *_sequential("F0Assigner.F0Assigner", (0, 1, 3, 4, 6, 8, 10, 12, 14), f0_networks.VOAS_COMMON),
    *(row for number, voice in enumerate(VOICES, 1) for row in _voice(number, voice)),
)
F0_ROWS = (*SALIENCE_ROWS, *ASSIGNMENT_ROWS)

UMSS_2024 = Table(
    kind="torch-umss-2024",
    origin="torch",
    architecture="umss-2024",
    rows=(*torch_2023.ENCODER_ROWS, *torch_2023.DECODER_ROWS, *F0_ROWS),
    derived=batch_counts(F0_ROWS),
    hyper_parameters={**keras_voas.VOAS_CNN.hyper_parameters},
    citation=CITATION,
    licence=LICENCE,
)

TABLES = (UMSS_2024,)
