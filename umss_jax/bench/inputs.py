"""The input pipeline as the training loop waits for it: examples drawn, mixed, and analysed.

It runs on the host, beside the steps: where a batch of it takes longer than a step, the device
waits for it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from umss_jax.audio.writing import SoundWriter
from umss_jax.bench.rows import Measured, Row, row
from umss_jax.bench.timing import measure
from umss_jax.config import VOICES, Assigner, AudioConfig, ModelConfig
from umss_jax.data.config import SetConfig
from umss_jax.data.mixes import Examples, RandomMixes, stack
from umss_jax.data.pieces import find_pieces, open_pieces
from umss_jax.train.f0_cache import AnalysisCache
from umss_jax.weights.combine import load_weights
from umss_jax.weights.config import STARTER

INPUT = "input pipeline"
"""Name of the stage."""
_PIECES, _PIECE_S = 3, 20.0
_LOWEST_HZ = (330.0, 220.0, 150.0, 100.0)
"""Of the four voices, which glide over a fifth."""


def measure_input(
    batch: int, seconds: float, repeats: int, config: ModelConfig = ModelConfig()
) -> Iterator[Row]:
    """Two rows: a batch as it is mixed, and with its F0 by the continuity rule.

    Four voices of harmonics are written as recordings first; their decoding stands as ``compile_s``
    of the first row. The F0 come from the starter's salience network, and nothing is kept.
    """
    audio = replace(config.audio, example_samples=round(seconds * config.audio.sample_rate_hz))
    with _pieces(audio, seconds) as folder:
        started = time.perf_counter()
        pieces = open_pieces(find_pieces(SetConfig(folders=(str(folder),))), audio)
        mixes = RandomMixes(pieces, seed=0, audio=audio)
        opened_s = time.perf_counter() - started
        number = 0

        def drawn() -> Examples:
            nonlocal number
            number += batch
            return stack([mixes.example(index) for index in range(number - batch, number)])

        timing = measure(drawn, repeats)._replace(compile_s=opened_s)
        yield row("", INPUT, batch, seconds, Measured(timing))
        variables, settings, _ = load_weights(STARTER)
        analysis = AnalysisCache(variables, settings, Assigner.HEURISTIC, keep=False)
        timing = measure(lambda: analysis.batch(drawn(), "f0"), repeats)
        yield row("", f"{INPUT} + F0", batch, seconds, Measured(timing))


@contextlib.contextmanager
def _pieces(audio: AudioConfig, seconds: float) -> Iterator[Path]:
    """A folder of pieces with four stems, and a home of its own for what is decoded of them."""
    before = os.environ.get("UMSS_JAX_HOME")
    with tempfile.TemporaryDirectory(prefix="umss-jax-bench-") as name:
        folder = Path(name) / "pieces"
        for number in range(_PIECES):
            (folder / f"piece{number}").mkdir(parents=True)
            for voice, lowest_hz in zip(VOICES, _LOWEST_HZ, strict=True):
                sung = _voice(lowest_hz * 1.1**number, max(_PIECE_S, 2 * seconds), audio)
                path = folder / f"piece{number}" / f"{voice}.wav"
                with SoundWriter(path, audio.sample_rate_hz, 1, "PCM_16", "WAV") as file:
                    file.write(sung)
        os.environ["UMSS_JAX_HOME"] = str(Path(name) / "home")
        try:
            yield folder
        finally:
            del os.environ["UMSS_JAX_HOME"]
            if before is not None:
                os.environ["UMSS_JAX_HOME"] = before


def _voice(lowest_hz: float, seconds: float, audio: AudioConfig) -> np.ndarray:
    """Harmonics on a pitch that rises by a fifth, float32 ``[samples]``."""
    at_s = np.arange(round(seconds * audio.sample_rate_hz)) / audio.sample_rate_hz
    cycles = np.cumsum(lowest_hz * 1.5 ** (at_s / seconds)) / audio.sample_rate_hz
    harmonics = sum(np.sin(2 * np.pi * k * cycles) / k for k in range(1, 9))
    return np.asarray(harmonics / 8, np.float32)
