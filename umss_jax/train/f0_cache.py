"""What frozen F0 networks say of examples, computed once and kept on disk.

A batch may begin at the F0 or at the salience instead of the mixture (`objectives.Batch`). Both are
kept under ``$UMSS_JAX_HOME/analysis``, by the weights and settings that made them and the samples
of the mixture, so that another run over the same examples finds them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from umss_jax.config import Assigner, ModelConfig
from umss_jax.data.mixes import Examples
from umss_jax.errors import OutputError
from umss_jax.files import arrays_sha256, home, write_array
from umss_jax.inference import ModelEngine
from umss_jax.interruption import checked
from umss_jax.train.objectives import Batch
from umss_jax.train.strategies import Start
from umss_jax.trees import flatten


class AnalysisCache:
    """Batches that begin where a strategy wants them to.

    Every example is analysed by itself, so that its values do not depend on its neighbours. Unless
    ``keep`` is set nothing is written to disk, and everything is computed anew.
    """

    def __init__(
        self,
        variables: Mapping[str, Any],
        config: ModelConfig,
        assigner: Assigner,
        keep: bool,
    ) -> None:
        self._engine = ModelEngine("analysis", variables, assigner, config=config)
        self._keep = keep
        self._folder = home() / "analysis" / _digest(variables, config, assigner)

    def batch(self, examples: Examples, start: Start, with_sources: bool = False) -> Batch:
        """The examples as a batch of NumPy arrays; with sources, to compare voices."""
        arrays: dict[str, Any] = {"mixture": examples.mixture}
        if with_sources:
            arrays["sources"] = examples.sources
        if start != "mixture":
            name = "salience" if start == "salience" else "f0_hz_synth"
            mixtures = checked(examples.mixture)
            arrays[name] = np.stack([self._one(mixture, start) for mixture in mixtures])
        return Batch(**arrays)

    def _one(self, mixture: np.ndarray, start: Start) -> np.ndarray:
        content = hashlib.sha256(np.ascontiguousarray(mixture).tobytes()).hexdigest()
        path = self._folder / f"{start}-{content[:32]}.npy"
        if self._keep and path.is_file():
            kept: np.ndarray = np.load(path, allow_pickle=False)
            return kept
        engine = self._engine
        analyse = engine.salience if start == "salience" else engine.f0_hz_synth
        result = np.asarray(analyse(mixture[None])[0])
        if self._keep:
            try:
                write_array(path, result)
            except OutputError:
                self._keep = False  # no room: only slower
        return result


def _digest(variables: Mapping[str, Any], config: ModelConfig, assigner: Assigner) -> str:
    """Of everything that salience and F0 depend on."""
    tensors = {
        name: leaf
        for name, leaf in flatten(variables).items()
        if name.split("/")[1] in ("salience", "assignment")
    }
    settings = (config.salience_network, config.assignment_network, config.audio, config.hcqt)
    about = repr((arrays_sha256(tensors), settings, config.f0, str(assigner)))
    return hashlib.sha256(about.encode()).hexdigest()[:32]
