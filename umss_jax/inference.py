"""The jitted chain on segments: what :mod:`umss_jax.separate` and training ask for stems and F0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax import model
from umss_jax.config import Assigner, ModelConfig
from umss_jax.pitch.continuity import heuristic_f0_250
from umss_jax.pitch.extractor import nearest_frames
from umss_jax.separate.stream import SegmentResult


class ModelEngine:
    """F0 networks and synthesis, or F0 networks and a U-Net, ready to separate segments.

    Args:
        name: Name of the model.
        variables: All parts that the assigner needs. A U-Net among them separates.
        assigner: The assignment network, or the continuity rule.
        provenance: For the manifest.
        config: Sizes, constants and which networks the weights are of.
        batch_segments: Most segments at once; memory grows with it (about 1 GiB each).
    """

    def __init__(
        self,
        name: str,
        variables: Mapping[str, Any],
        assigner: Assigner = Assigner.VOAS_CNN,
        provenance: Mapping[str, object] | None = None,
        config: ModelConfig | None = None,
        batch_segments: int = 1,
    ) -> None:
        self.name = name
        self.variables = variables
        self.assigner = Assigner(assigner)
        self.provenance: Mapping[str, object] = dict(provenance or {})
        self.config = config or ModelConfig()
        self.batch_segments = batch_segments
        self._salience = jax.jit(self._salience_fn)
        self._f0 = jax.jit(self._f0_fn)
        self._voices = jax.jit(self._voices_fn)

    def with_variables(self, variables: Mapping[str, Any], **provenance: object) -> ModelEngine:
        """The same engine with other weights of the same shapes, as after an adaptation."""
        return type(self)(
            self.name,
            variables,
            self.assigner,
            {**self.provenance, **provenance},
            self.config,
            self.batch_segments,
        )

    def separate(
        self, mixture_16k: np.ndarray, channels_16k: np.ndarray, seeds: np.ndarray
    ) -> SegmentResult:
        """Stems and F0 of segments; see :class:`umss_jax.separate.stream.SegmentEngine`."""
        voices = self._run(mixture_16k, channels_16k, seeds)
        return SegmentResult(np.asarray(voices.stems), self.reported_f0(voices.output))

    def intermediates(
        self, mixture_16k: np.ndarray, seeds: np.ndarray, f0_hz_250: np.ndarray | None = None
    ) -> model.ModelOutput | model.UnetSeparation:
        """Everything that the model computes on the way, by name.

        Args:
            mixture_16k: float32 ``[B, S]``, each segment scaled to peak 1.
            seeds: uint32 ``[B]``.
            f0_hz_250: ``[B, J, S // 256]`` in Hz, 0 where unvoiced: F0 that is known instead of
                estimated.
        """
        return self._run(mixture_16k, mixture_16k[:, None], seeds, f0_hz_250).output

    def known_f0(self, mixture_16k: np.ndarray) -> np.ndarray | None:
        """F0 of the heuristic assigner, ``[B, J, S // 256]``; None where the network assigns."""
        if self.assigner is not Assigner.HEURISTIC:
            return None
        frames = mixture_16k.shape[-1] // self.config.audio.hop_samples
        salience = self.salience(mixture_16k)
        threshold = self.config.f0.multi_f0_threshold
        return np.stack([heuristic_f0_250(one, frames, threshold) for one in salience])

    def salience(self, mixture_16k: np.ndarray) -> np.ndarray:
        """Multi-F0 salience ``[B, 360, frames]`` of segments ``[B, S]`` of peak 1."""
        return np.asarray(self._salience(self.variables, mixture_16k))

    def f0_hz_250(self, mixture_16k: np.ndarray) -> np.ndarray:
        """F0 as the synthesiser gets it, ``[B, J, S // 256]`` in Hz, whoever assigns."""
        return np.asarray(self.pitches(mixture_16k).f0_hz_250)

    def pitches(self, mixture_16k: np.ndarray) -> model.Analysis:
        """F0 of segments alone, at both rates where the network assigns."""
        known = self.known_f0(mixture_16k)
        if known is not None:
            return model.Analysis(None, None, None, None, None, jnp.asarray(known))
        analysis: model.Analysis = self._f0(self.variables, mixture_16k)
        return analysis

    def _run(
        self,
        mixture: np.ndarray,
        channels: np.ndarray,
        seeds: np.ndarray,
        f0_hz_250: np.ndarray | None = None,
    ) -> model.Separated:
        known = self.known_f0(mixture) if f0_hz_250 is None else f0_hz_250
        voices: model.Separated = self._voices(self.variables, mixture, channels, seeds, known)
        return voices

    def _salience_fn(self, variables: Mapping[str, Any], mixture: jax.Array) -> jax.Array:
        return model.estimate_salience(variables, model.features(mixture, self.config), self.config)

    def _f0_fn(self, variables: Mapping[str, Any], mixture: jax.Array) -> model.Analysis:
        analysis = model.analyse(variables, mixture, self.config)
        return analysis._replace(features=None, salience=None, assigned=None, binary=None)

    def _voices_fn(
        self,
        variables: Mapping[str, Any],
        mixture: jax.Array,
        channels: jax.Array,
        seeds: jax.Array,
        f0_hz_250: jax.Array | None,
    ) -> model.Separated:
        analysis = (
            model.analyse(variables, mixture, self.config)
            if f0_hz_250 is None
            else model.given_f0(f0_hz_250, self.config)
        )
        return model.separate(variables, mixture, channels, analysis, seeds, self.config)

    def reported_f0(
        self, output: model.ModelOutput | model.UnetSeparation | model.Analysis
    ) -> np.ndarray:
        """F0 for people to read: the nearest frame's, so that no note edge gets a pitch between.

        ``[B, J, S // 256]`` in Hz, 0 where unvoiced.

        The synthesiser's own F0 is interpolated across the borders of notes.
        """
        if output.f0_hz_344 is None:
            f0_hz_250 = np.asarray(output.f0_hz_250)
            return np.where(f0_hz_250 < self.config.hcqt.fmin_hz * 0.99, 0, f0_hz_250)
        f0_hz_344, frames = np.asarray(output.f0_hz_344), output.f0_hz_250.shape[-1]
        reported: np.ndarray = f0_hz_344[..., nearest_frames(f0_hz_344.shape[-1], frames)]
        return reported
