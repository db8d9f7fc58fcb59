"""PyTorch checkpoints of the complete 2024 model (``W-Up_bcbq.pth`` and its siblings).

Richard, Chouteau and Torres, ICASSP 2024; github PierreChouteau/umss_icassp, class
``SourceFilterMixtureAutoencoder2`` with the F0 models inside. Numbers in the names are positions in
``torch.nn.Sequential``; the gaps are activations and paddings, which hold nothing. Encoder and
decoder are those of 2023. Thresholds and the pitch grid are no part of a checkpoint.
"""

from __future__ import annotations

from weights_convert import keras_voas, torch_2023
from weights_convert.table import Row, Table
from weights_convert.torch_layers import batch_counts, batch_norm, conv_2d

CITATION = "Richard, Chouteau and Torres, ICASSP 2024 (github PierreChouteau/umss_icassp)"
LICENCE = "Apache-2.0"
VOICES = keras_voas.VOICES


def _branch(module: str, feature: str) -> tuple[Row, ...]:
    at = f"salience/{feature}"
    return (
        *batch_norm(f"{module}.0", f"{at}/input_norm", 5),
        *conv_2d(f"{module}.1", f"{at}/block_1/conv", (5, 5), 5, 16),
        *batch_norm(f"{module}.3", f"{at}/block_1/norm", 16),
        *conv_2d(f"{module}.4", f"{at}/block_2/conv", (5, 5), 16, 32),
        *batch_norm(f"{module}.6", f"{at}/block_2/norm", 32),
        *conv_2d(f"{module}.7", f"{at}/block_3/conv", (5, 5), 32, 32),
        *batch_norm(f"{module}.9", f"{at}/block_3/norm", 32),
        *conv_2d(f"{module}.10", f"{at}/block_4/conv", (5, 5), 32, 32),
        *batch_norm(f"{module}.12", f"{at}/block_4/norm", 32),
        *conv_2d(f"{module}.14", f"{at}/block_5/conv", (70, 3), 32, 32),
        *batch_norm(f"{module}.16", f"{at}/block_5/norm", 32),
        *conv_2d(f"{module}.18", f"{at}/block_6/conv", (70, 3), 32, 32),
        *batch_norm(f"{module}.20", f"{at}/block_6/norm", 32),
    )


def _voice(number: int, voice: str) -> tuple[Row, ...]:
    branch, at = f"F0Assigner.branch{number}", f"assignment/{voice}"
    return (
        *conv_2d(f"{branch}.0", f"{at}/block_1/conv", (3, 3), 16, 16),
        *batch_norm(f"{branch}.2", f"{at}/block_1/norm", 16),
        *conv_2d(f"{branch}.3", f"{at}/conv_2", (3, 3), 16, 16),
        *conv_2d(f"F0Assigner.post_process{number}.0", f"{at}/output", (1, 1), 16, 1),
    )


SALIENCE_ROWS = (
    *_branch("F0Extractor.base_model1", "magnitude"),
    *_branch("F0Extractor.base_model2", "phase"),
    *conv_2d("F0Extractor.cuesta.0", "salience/merged/block_1/conv", (3, 3), 64, 64),
    *batch_norm("F0Extractor.cuesta.2", "salience/merged/block_1/norm", 64),
    *conv_2d("F0Extractor.cuesta.3", "salience/merged/block_2/conv", (3, 3), 64, 64),
    *batch_norm("F0Extractor.cuesta.5", "salience/merged/block_2/norm", 64),
    *conv_2d("F0Extractor.cuesta.7", "salience/merged/block_3/conv", (360, 1), 64, 8),
    *batch_norm("F0Extractor.cuesta.9", "salience/merged/block_3/norm", 8),
    *conv_2d("F0Extractor.cuesta.10", "salience/output", (1, 1), 8, 1),
)
ASSIGNMENT_ROWS = (
    *batch_norm("F0Assigner.F0Assigner.0", "assignment/input_norm", 1),
    *conv_2d("F0Assigner.F0Assigner.1", "assignment/block_1/conv", (3, 3), 1, 32),
    *batch_norm("F0Assigner.F0Assigner.3", "assignment/block_1/norm", 32),
    *conv_2d("F0Assigner.F0Assigner.4", "assignment/block_2/conv", (3, 3), 32, 32),
    *batch_norm("F0Assigner.F0Assigner.6", "assignment/block_2/norm", 32),
    *conv_2d("F0Assigner.F0Assigner.8", "assignment/block_3/conv", (70, 3), 32, 16),
    *batch_norm("F0Assigner.F0Assigner.10", "assignment/block_3/norm", 16),
    *conv_2d("F0Assigner.F0Assigner.12", "assignment/block_4/conv", (70, 3), 16, 16),
    *batch_norm("F0Assigner.F0Assigner.14", "assignment/block_4/norm", 16),
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
