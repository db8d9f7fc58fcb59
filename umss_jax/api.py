"""The package in a few lines: load a model by name, separate an array or a file.

>>> from umss_jax.api import load
>>> separator = load("my-choir")
>>> result = separator.separate(audio, 44_100)
>>> result.voices["tenor"], result.time_s, result.f0_hz_250
>>> separator.separate_file("choir.wav", "separated").folder
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from umss_jax.config import DEFAULT_MODEL, Assigner, SeparationConfig
from umss_jax.errors import UsageError
from umss_jax.separation import Separation, segments_of_array, separate_array
from umss_jax.stem_files import Progress, StemOptions, Track, separate_file

if TYPE_CHECKING:
    from umss_jax.engine import ModelEngine
    from umss_jax.model import ModelOutput


class Separator:
    """A loaded model.

    Args:
        engine: Networks with their weights; :func:`load` makes one.
        config: Segments, overlap and seed.
    """

    def __init__(self, engine: ModelEngine, config: SeparationConfig | None = None) -> None:
        self.engine = engine
        self.config = config or SeparationConfig()

    def separate(self, audio: np.ndarray, sample_rate_hz: int) -> Separation:
        """Separates ``[N]`` or ``[C, N]``; see :func:`umss_jax.separation.separate_array`."""
        return separate_array(audio, sample_rate_hz, self.engine, self.config)

    def separate_file(
        self,
        path: str | os.PathLike[str],
        out: str | os.PathLike[str],
        options: StemOptions | None = None,
        progress: Progress | None = None,
    ) -> Track:
        """Separates a file into a folder; see :func:`umss_jax.stem_files.separate_file`."""
        return separate_file(path, out, self.engine, self.config, options, progress)

    def intermediates(
        self, audio: np.ndarray, sample_rate_hz: int
    ) -> Iterator[tuple[float, ModelOutput]]:
        """Everything the model computes on the way, segment by segment.

        Args:
            audio: ``[N]`` or ``[C, N]``.
            sample_rate_hz: Its rate.

        Yields:
            Start of the segment in seconds, and its intermediates (batch of 1): features,
            salience, assigned salience, F0, latent, controls, harmonic and noise parts, voices.
        """
        for start_s, mixture, seed in segments_of_array(audio, sample_rate_hz, self.config):
            seeds = np.asarray([seed], np.uint32)
            yield start_s, self.engine.intermediates(mixture[None], seeds)


def load(
    name: str = DEFAULT_MODEL,
    *,
    assigner: str = Assigner.VOAS_CNN,
    device: str = "auto",
    config: SeparationConfig | None = None,
    draw_missing: bool = False,
) -> Separator:
    """Loads a model.

    Args:
        name: Name in the store of weights, or a ``.safetensors`` file.
        assigner: ``voas-cnn`` or ``heuristic``.
        device: ``auto``, ``cpu``, ``gpu`` or ``tpu``.
        config: Segments, overlap and seed.
        draw_missing: Draw encoder and decoder at random where the model has none: they must be
            trained, on the recording itself for instance, before their stems mean anything.

    Raises:
        UnknownModelError: There is no such model.
        WeightsError: Its weights are damaged or do not fit.
        DeviceError: There is no such device.
        UsageError: There is no such assigner, or the model lacks a network and ``draw_missing``
            was not asked for.
    """
    from umss_jax import weights
    from umss_jax.device import select_device
    from umss_jax.engine import ModelEngine

    config = config or SeparationConfig()
    if assigner not in list(Assigner):
        raise UsageError(
            f"no assigner is called {assigner!r}", f"choose from {', '.join(Assigner)}"
        )
    device_name = select_device(device)
    variables, side_car = weights.load(name)
    variables = _complete(name, variables, Assigner(assigner), draw_missing, config.seed)
    provenance: dict[str, object] = {
        "device": device_name,
        "assigner": str(assigner),
        "weights": {
            key: side_car[key]
            for key in ("tensors_sha256", "source_sha256", "architecture", "origin", "licence")
            if key in side_car
        },
    }
    return Separator(
        ModelEngine(model_name(name), variables, Assigner(assigner), provenance), config
    )


def model_name(name: str) -> str:
    """The folder name of a model that may be given as a file."""
    path = Path(name)
    return path.stem if path.suffix == ".safetensors" else path.name


def _complete(
    name: str, variables: dict[str, Any], assigner: Assigner, draw_missing: bool, seed: int
) -> dict[str, Any]:
    """All parts that are needed, drawn where allowed; refuses what is missing otherwise."""
    import jax

    from umss_jax.config import ModelConfig
    from umss_jax.model import init_variables

    needed = {"salience", "encoder", "decoder"}
    if assigner is Assigner.VOAS_CNN:
        needed.add("assignment")
    missing = sorted(needed - set(variables["params"]))
    if not missing:
        return variables
    trainable = [part for part in missing if part in ("encoder", "decoder")]
    if trainable != missing:
        raise UsageError(
            f"model {name} has no {' and no '.join(missing)}", "choose a model with F0 networks"
        )
    if not draw_missing:
        raise UsageError(
            f"model {name} has no {' and no '.join(missing)}",
            "train them on the recording itself with --adapt 200, or choose another model",
        )
    drawn = init_variables(jax.random.key(seed), ModelConfig(), tuple(trainable))
    return {
        collection: {**variables.get(collection, {}), **drawn.get(collection, {})}
        for collection in ("params", "batch_stats")
    }
