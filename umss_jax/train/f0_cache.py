"""What frozen F0 networks say of examples, computed once and kept on disk.

A batch may begin at the F0 or at the salience instead of the mixture (`objectives.Batch`). Both are
kept under ``$UMSS_JAX_HOME/analysis``, by the weights and settings that made them and the samples
of the mixture, so that another run over the same examples finds them. Damaged ones are made again
(:mod:`umss_jax.kept_arrays`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from umss_jax.config import Assigner, ModelConfig
from umss_jax.data.mixes import Examples
from umss_jax.files import arrays_sha256, home
from umss_jax.inference import ModelEngine
from umss_jax.interruption import checked
from umss_jax.kept_arrays import KeptArrays
from umss_jax.train.objectives import Batch
from umss_jax.train.strategies import Start
from umss_jax.trees import flatten

_VERSION = 2  # of the format


class AnalysisCache:
    """Batches that begin where a strategy wants them to; F0 that is known is taken as it is.

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
        folder = home() / "analysis" / _digest(variables, config, assigner)
        self._kept = KeptArrays(folder, "analyses of examples") if keep else None

    def batch(self, examples: Examples, start: Start, with_sources: bool = False) -> Batch:
        """The examples as a batch of NumPy arrays; with sources, to compare voices."""
        arrays: dict[str, Any] = {"mixture": examples.mixture}
        if with_sources:
            arrays["sources"] = examples.sources
        if start != "mixture":
            name = "salience" if start == "salience" else "f0_hz_synth"
            mixtures = checked(examples.mixture)
            known = examples.f0_hz_synth if start == "f0" else ()
            given = known or (None,) * len(examples.mixture)
            arrays[name] = np.stack(
                [
                    self._one(mixture, start) if f0_hz is None else f0_hz
                    for mixture, f0_hz in zip(mixtures, given, strict=True)
                ]
            )
        return Batch(**arrays)

    def _one(self, mixture: np.ndarray, start: Start) -> np.ndarray:
        content = hashlib.sha256(np.ascontiguousarray(mixture).tobytes()).hexdigest()
        name = f"{start}-{content[:32]}-v{_VERSION}"
        kept = self._kept.get(name) if self._kept else None
        if kept is not None:
            return kept.array
        engine = self._engine
        analyse = engine.salience if start == "salience" else engine.f0_hz_synth
        result = np.asarray(analyse(mixture[None])[0])
        return self._kept.put(name, result).array if self._kept else result


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
