"""What frozen F0 networks say of examples, computed once and kept on disk.

A batch may begin at the F0 or at the salience instead of the mixture (`objectives.Batch`). Both are
kept under ``$UMSS_JAX_HOME/analysis``, by the weights and settings that made them and the samples
of the mixture, so that another run over the same examples finds them. Damaged ones are made again
(:mod:`umss_jax.kept_arrays`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from umss_jax.config import Assigner, ModelConfig, TrackAssigner
from umss_jax.files import arrays_sha256, home
from umss_jax.inference import ModelEngine
from umss_jax.interruption import checked
from umss_jax.kept_arrays import KeptArrays
from umss_jax.pitch.continuity import heuristic_tracks
from umss_jax.pitch.rule_workers import RuleWorkers, worker_count
from umss_jax.train.objectives import Batch
from umss_jax.train.strategies import Start
from umss_jax.trees import flatten

if TYPE_CHECKING:
    from umss_jax.data.mixes import Examples

_VERSION = 2  # of the format


class AnalysisCache:
    """Batches that begin where a strategy wants them to; F0 that is known is taken as it is.

    With ``at_once`` 1 every example is analysed by itself, so that its values do not depend on its
    neighbours; more keep an accelerator busy, and are one program for any number of examples. The
    continuity rule then runs in other processes. Unless ``keep`` is set nothing is written to disk,
    and everything is computed anew.
    """

    def __init__(
        self,
        variables: Mapping[str, Any],
        config: ModelConfig,
        assigner: Assigner,
        keep: bool,
        at_once: int = 1,
    ) -> None:
        self._at_once = at_once
        workers = worker_count(at_once) if assigner == Assigner.HEURISTIC else 0
        rule = RuleWorkers(workers).tracks if workers else heuristic_tracks
        self._engine = ModelEngine("analysis", variables, assigner, config=config, continuity=rule)
        folder = home() / "analysis" / f0_digest(variables, config, assigner)
        self._kept = KeptArrays(folder, "analyses of examples") if keep else None

    def batch(self, examples: Examples, start: Start, with_sources: bool = False) -> Batch:
        """The examples as a batch of NumPy arrays; with sources, to compare voices."""
        arrays: dict[str, Any] = {"mixture": examples.mixture}
        if with_sources:
            arrays["sources"] = examples.sources
        if start != "mixture":
            name = "salience" if start == "salience" else "f0_hz_synth"
            known = examples.f0_hz_synth if start == "f0" else ()
            arrays[name] = np.stack(self._all(examples.mixture, start, known))
        return Batch(**arrays)

    def _all(
        self, mixtures: np.ndarray, start: Start, known: Sequence[np.ndarray | None]
    ) -> list[np.ndarray]:
        """What is known or kept of each mixture, and what is not, computed and kept."""
        keys = [_key(mixture, start) for mixture in mixtures] if self._kept else []
        kept = {n: self._kept.get(key) for n, key in enumerate(keys)} if self._kept else {}
        found = {n: one.array for n, one in kept.items() if one is not None}
        found |= {n: f0_hz for n, f0_hz in enumerate(known) if f0_hz is not None}
        missing = [n for n in range(len(mixtures)) if n not in found]
        engine = self._engine
        analyse = engine.salience if start == "salience" else engine.f0_hz_synth
        for first in checked(range(0, len(missing), self._at_once)):
            chosen = missing[first : first + self._at_once]
            filled = [*chosen, *[chosen[-1]] * (self._at_once - len(chosen))]
            for n, result in zip(chosen, np.asarray(analyse(mixtures[filled])), strict=False):
                found[n] = self._kept.put(keys[n], result).array if self._kept else result
        return [found[n] for n in range(len(mixtures))]


def _key(mixture: np.ndarray, start: Start) -> str:
    content = hashlib.sha256(np.ascontiguousarray(mixture).tobytes()).hexdigest()
    return f"{start}-{content[:32]}-v{_VERSION}"


def f0_digest(
    variables: Mapping[str, Any], config: ModelConfig, assigner: Assigner | TrackAssigner
) -> str:
    """Of everything that salience and F0 of a mixture depend on, in 32 digits."""
    tensors = {
        name: leaf
        for name, leaf in flatten(variables).items()
        if name.split("/")[1] in ("salience", "assignment")
    }
    networks = (config.salience_network, config.assignment_network)
    settings = (*networks, config.audio, config.hcqt, config.f0, config.voices)
    about = repr((arrays_sha256(tensors), settings, str(assigner)))
    return hashlib.sha256(about.encode()).hexdigest()[:32]
