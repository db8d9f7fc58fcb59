"""``.npy`` folders of the 2024 code: Late/Deep and VoasCNN as pickled lists of arrays.

github PierreChouteau/umss_icassp, folders ``pre-trained_models/multi-f0_estimator`` and
``multi-f0_assigner``. Each file holds a NumPy object array with one list per layer that has
weights, in the order of computation: [kernel, bias] of a convolution (frequency × time × in × out),
[scale, bias, mean, variance] of a normalisation. Rows name them ``file[layer][array]``. The last
convolution of each voice lies in two plain arrays with a leading axis of one.

One number differs from the Keras file of VoasCNN: ``voas_cnn_postprocess3_bias.npy`` is a copy of
``voas_cnn_postprocess4_bias.npy``, so the tenor's output has the bass's bias. The paper's models
were trained from these files; they are read as they are.
"""

from __future__ import annotations

from dataclasses import replace

from weights_convert import keras_multif0, keras_voas
from weights_convert.table import LIST_OF_ONE, Row, Table

VOICES = keras_voas.VOICES


def _conv(
    at: str, path: str, kernel: tuple[int, int], inputs: int, outputs: int
) -> tuple[Row, ...]:
    return (
        Row(f"{at}[0]", f"params/{path}/kernel", (*kernel, inputs, outputs)),
        Row(f"{at}[1]", f"params/{path}/bias", (outputs,)),
    )


def _norm(at: str, path: str, channels: int) -> tuple[Row, ...]:
    return (
        Row(f"{at}[0]", f"params/{path}/scale", (channels,)),
        Row(f"{at}[1]", f"params/{path}/bias", (channels,)),
        Row(f"{at}[2]", f"batch_stats/{path}/mean", (channels,)),
        Row(f"{at}[3]", f"batch_stats/{path}/var", (channels,)),
    )


def _branch(file: str, feature: str) -> tuple[Row, ...]:
    at = f"salience/{feature}"
    return (
        *_norm(f"{file}[0]", f"{at}/input_norm", 5),
        *_conv(f"{file}[1]", f"{at}/block_1/conv", (5, 5), 5, 16),
        *_norm(f"{file}[2]", f"{at}/block_1/norm", 16),
        *_conv(f"{file}[3]", f"{at}/block_2/conv", (5, 5), 16, 32),
        *_norm(f"{file}[4]", f"{at}/block_2/norm", 32),
        *_conv(f"{file}[5]", f"{at}/block_3/conv", (5, 5), 32, 32),
        *_norm(f"{file}[6]", f"{at}/block_3/norm", 32),
        *_conv(f"{file}[7]", f"{at}/block_4/conv", (5, 5), 32, 32),
        *_norm(f"{file}[8]", f"{at}/block_4/norm", 32),
        *_conv(f"{file}[9]", f"{at}/block_5/conv", (70, 3), 32, 32),
        *_norm(f"{file}[10]", f"{at}/block_5/norm", 32),
        *_conv(f"{file}[11]", f"{at}/block_6/conv", (70, 3), 32, 32),
        *_norm(f"{file}[12]", f"{at}/block_6/norm", 32),
    )


def _voice(number: int, voice: str) -> tuple[Row, ...]:
    branch, last = f"voas_cnn_branch{number}", f"voas_cnn_postprocess{number}"
    at = f"assignment/{voice}"
    return (
        *_conv(f"{branch}[0]", f"{at}/block_1/conv", (3, 3), 16, 16),
        *_norm(f"{branch}[1]", f"{at}/block_1/norm", 16),
        *_conv(f"{branch}[2]", f"{at}/conv_2", (3, 3), 16, 16),
        Row(f"{last}_weights", f"params/{at}/output/kernel", (1, 1, 1, 16, 1), LIST_OF_ONE),
        Row(f"{last}_bias", f"params/{at}/output/bias", (1, 1), LIST_OF_ONE),
    )


LATE_DEEP = Table(
    kind="npy-late-deep",
    origin="npy",
    architecture="late-deep",
    rows=(
        *_branch("base_model1", "magnitude"),
        *_branch("base_model2", "phase"),
        *_conv("cuesta[0]", "salience/merged/block_1/conv", (3, 3), 64, 64),
        *_norm("cuesta[1]", "salience/merged/block_1/norm", 64),
        *_conv("cuesta[2]", "salience/merged/block_2/conv", (3, 3), 64, 64),
        *_norm("cuesta[3]", "salience/merged/block_2/norm", 64),
        *_conv("cuesta[4]", "salience/merged/block_3/conv", (360, 1), 64, 8),
        *_norm("cuesta[5]", "salience/merged/block_3/norm", 8),
        *_conv("cuesta[6]", "salience/output", (1, 1), 8, 1),
    ),
    hyper_parameters=keras_multif0.LATE_DEEP.hyper_parameters,
    citation=f"{keras_multif0.CITATION}, as in github PierreChouteau/umss_icassp",
    licence="Apache-2.0 (originally MIT)",
)
VOAS_CNN = Table(
    kind="npy-voas-cnn",
    origin="npy",
    architecture="voas-cnn",
    rows=(
        *_norm("voas_cnn_f0_assigner[0]", "assignment/input_norm", 1),
        *_conv("voas_cnn_f0_assigner[1]", "assignment/block_1/conv", (3, 3), 1, 32),
        *_norm("voas_cnn_f0_assigner[2]", "assignment/block_1/norm", 32),
        *_conv("voas_cnn_f0_assigner[3]", "assignment/block_2/conv", (3, 3), 32, 32),
        *_norm("voas_cnn_f0_assigner[4]", "assignment/block_2/norm", 32),
        *_conv("voas_cnn_f0_assigner[5]", "assignment/block_3/conv", (70, 3), 32, 16),
        *_norm("voas_cnn_f0_assigner[6]", "assignment/block_3/norm", 16),
        *_conv("voas_cnn_f0_assigner[7]", "assignment/block_4/conv", (70, 3), 16, 16),
        *_norm("voas_cnn_f0_assigner[8]", "assignment/block_4/norm", 16),
        *(row for number, voice in enumerate(VOICES, 1) for row in _voice(number, voice)),
    ),
    hyper_parameters=keras_voas.VOAS_CNN.hyper_parameters,
    citation=f"{keras_voas.CITATION}, as in github PierreChouteau/umss_icassp",
    licence="Apache-2.0 (originally MIT)",
)


def _in_folder(folder: str, table: Table) -> tuple[Row, ...]:
    return tuple(replace(row, source=f"{folder}/{row.source}") for row in table.rows)


PUBLISHED = Table(
    kind="npy-published",
    origin="npy",
    architecture="late-deep+voas-cnn",
    rows=(
        *_in_folder("multi-f0_estimator", LATE_DEEP),
        *_in_folder("multi-f0_assigner", VOAS_CNN),
    ),
    hyper_parameters={**LATE_DEEP.hyper_parameters, **VOAS_CNN.hyper_parameters},
    citation=f"{keras_multif0.CITATION} and {keras_voas.CITATION}, "
    "as in github PierreChouteau/umss_icassp",
    licence="Apache-2.0 (originally MIT)",
)
"""Both folders, given by the folder above them (``pre-trained_models``)."""

TABLES = (LATE_DEEP, VOAS_CNN, PUBLISHED)
