"""PyTorch checkpoints of the 2023 UMSS models: encoder and decoder, F0 given from outside.

Schulze-Forster, Richard, Kelley, Doire and Badeau, TASLP 2023; github schufo/umss, folder
``trained_models`` (two or four voices; every voice shares the weights, so the checkpoint does not
tell how many). Published settings: unidirectional GRUs, 20 line spectral frequencies, one spectral
shape of the noise.
"""

from __future__ import annotations

from weights_convert.table import PER_BIN, Row, Table
from weights_convert.torch_layers import dense, gru, layer_norm

CITATION = "Schulze-Forster et al., IEEE/ACM TASLP 2023 (github schufo/umss)"
LICENCE = "Apache-2.0"


def _mlp(module: str, path: str, inputs: int) -> tuple[Row, ...]:
    """Three times dense 512, layer normalisation."""
    rows: list[Row] = []
    for number, width in enumerate((inputs, 512, 512)):
        rows += dense(f"{module}.{number}.0", f"{path}/dense_{number + 1}", width, 512)
        rows += layer_norm(f"{module}.{number}.1", f"{path}/norm_{number + 1}", 512)
    return tuple(rows)


ENCODER_ROWS = (
    Row("encoder.layer_norm.scale", "params/encoder/input_norm/scale", (1, 257, 1, 1), PER_BIN),
    Row("encoder.layer_norm.shift", "params/encoder/input_norm/shift", (1, 257, 1, 1), PER_BIN),
    *gru("encoder.gru1", "encoder/gru_1", 257, 256),
    *gru("encoder.gru2", "encoder/gru_2", 256, 256),
    *gru("encoder.gru3", "encoder/gru_3", 256, 256),
    *dense("encoder.dense", "encoder/dense", 256, 128),
)
DECODER_ROWS = (
    *_mlp("decoder.f0_mlp", "decoder/f0_mlp", 1),
    *_mlp("decoder.z_mlp", "decoder/latent_mlp", 128),
    *gru("decoder.gru", "decoder/gru", 1024, 512),
    *_mlp("decoder.mlp", "decoder/mlp", 512),
    *dense("dense_outs.0", "decoder/harmonic_amplitude", 512, 1),
    *dense("dense_outs.1", "decoder/noise_gain", 512, 1),
    *dense("dense_outs.2", "decoder/line_spectral_frequencies", 512, 21),
    *gru("gru_noise_mag", "decoder/noise_gru", 512, 40),
)

UMSS_2023 = Table(
    kind="torch-umss-2023",
    origin="torch",
    architecture="umss-2023",
    rows=(*ENCODER_ROWS, *DECODER_ROWS),
    citation=CITATION,
    licence=LICENCE,
)

TABLES = (UMSS_2023,)
