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

from collections.abc import Iterable
from dataclasses import replace

from umss_jax.config import VOICES
from weights_convert import f0_networks, keras_multif0, keras_voas
from weights_convert.f0_networks import Layer, voas_cnn_voice
from weights_convert.table import LIST_OF_ONE, Row, Table

_CONV = ("params/{}/kernel", "params/{}/bias")
_NORM = ("params/{}/scale", "params/{}/bias", "batch_stats/{}/mean", "batch_stats/{}/var")


def _file(file: str, layers: Iterable[Layer]) -> tuple[Row, ...]:
    """Rows of one file that holds these layers."""
    rows: list[Row] = []
    for number, layer in enumerate(layers):
        names = _NORM if layer.is_norm else _CONV
        shapes = [layer.sizes if name == "params/{}/kernel" else layer.sizes[-1:] for name in names]
        rows += [
            Row(f"{file}[{number}][{place}]", name.format(layer.path), shape)
            for place, (name, shape) in enumerate(zip(names, shapes, strict=True))
        ]
    return tuple(rows)


def _voice(number: int, voice: str) -> tuple[Row, ...]:
    *branch, output = voas_cnn_voice(voice)
    last = f"voas_cnn_postprocess{number}"
    return (
        *_file(f"voas_cnn_branch{number}", branch),
        Row(f"{last}_weights", f"params/{output.path}/kernel", (1, *output.sizes), LIST_OF_ONE),
        Row(f"{last}_bias", f"params/{output.path}/bias", (1, 1), LIST_OF_ONE),
    )


def _table(architecture: str, rows: tuple[Row, ...], original: Table) -> Table:
    return Table(
        kind=f"npy-{architecture}",
        origin="npy",
        architecture=architecture,
        rows=rows,
        hyper_parameters=original.hyper_parameters,
        citation=f"{original.citation}, as in github PierreChouteau/umss_icassp",
        licence="Apache-2.0 (originally MIT)",
    )


LATE_DEEP = _table(
    "late-deep",
    (
        *_file("base_model1", f0_networks.LATE_MAGNITUDE),
        *_file("base_model2", f0_networks.LATE_PHASE),
        *_file("cuesta", f0_networks.LATE_MERGED),
    ),
    keras_multif0.LATE_DEEP,
)
VOAS_CNN = _table(
    "voas-cnn",
    (
        *_file("voas_cnn_f0_assigner", f0_networks.VOAS_COMMON),
        *(row for number, voice in enumerate(VOICES, 1) for row in _voice(number, voice)),
    ),
    keras_voas.VOAS_CNN,
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
