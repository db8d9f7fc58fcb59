"""The F0 networks as an engine of :mod:`umss_jax.separate.pitch_tracks`, without any synthesis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from umss_jax import model
from umss_jax.config import VOICES, ModelConfig, TrackAssigner
from umss_jax.pitch.continuity import heuristic_f0_250, multi_f0_peaks
from umss_jax.pitch.extractor import nearest_frames
from umss_jax.pitch.grid import bin_frequencies_hz
from umss_jax.separate.pitch_tracks import SegmentPitches


class F0Engine:
    """Salience network and assigner with their weights.

    Args:
        name: Name of the model.
        variables: The part ``salience``, and ``assignment`` where a network assigns.
        assigner: Network, continuity rule, or none.
        provenance: Device, weights and their hashes.
        config: Sizes, constants and which networks the weights are of.
        batch_segments: Most segments at once.
    """

    def __init__(
        self,
        name: str,
        variables: Mapping[str, Any],
        assigner: TrackAssigner = TrackAssigner.VOAS_CNN,
        provenance: Mapping[str, object] | None = None,
        config: ModelConfig | None = None,
        batch_segments: int = 1,
    ) -> None:
        self.name = name
        self.variables = variables
        self.assigner = TrackAssigner(assigner)
        self.provenance: Mapping[str, object] = dict(provenance or {})
        self.config = config or ModelConfig()
        self.batch_segments = batch_segments
        self.voices = () if self.assigner is TrackAssigner.NONE else VOICES
        self.frequencies_hz = bin_frequencies_hz(self.config.hcqt)
        self._salience = jax.jit(self._salience_fn)
        self._tracks = jax.jit(self._tracks_fn)

    def pitches(self, mixture_16k: np.ndarray) -> SegmentPitches:
        """Pitches and salience of segments, for :mod:`umss_jax.separate.pitch_tracks`.

        The networks' frames are brought to 16 ms by taking the nearest one, so that no pitch lies
        between two notes; only the continuity rule interpolates, as in separation.
        """
        frames = mixture_16k.shape[-1] // self.config.audio.hop_samples
        threshold = self.config.f0.multi_f0_threshold
        if self.assigner not in (TrackAssigner.HEURISTIC, TrackAssigner.NONE):
            salience, f0_hz_344 = map(np.asarray, self._tracks(self.variables, mixture_16k))
        else:
            salience = np.asarray(self._salience(self.variables, mixture_16k))
        nearest = nearest_frames(salience.shape[-1], frames)
        salience_250 = salience[..., nearest]
        if self.assigner is TrackAssigner.NONE:
            grid = self.config.hcqt
            peaks = [multi_f0_peaks(one, threshold, grid).T for one in salience_250]
            return SegmentPitches(peaks, salience_250)
        if self.assigner is TrackAssigner.HEURISTIC:
            tracks = [heuristic_f0_250(one, frames, threshold) for one in salience]
            lowest_hz = self.config.hcqt.fmin_hz * 0.99
            return SegmentPitches([np.where(f < lowest_hz, 0, f) for f in tracks], salience_250)
        return SegmentPitches(list(f0_hz_344[..., nearest]), salience_250)

    def _salience_fn(self, variables: Mapping[str, Any], mixture: jax.Array) -> jax.Array:
        return model.estimate_salience(variables, model.features(mixture, self.config), self.config)

    def _tracks_fn(
        self, variables: Mapping[str, Any], mixture: jax.Array
    ) -> tuple[jax.Array | None, jax.Array | None]:
        analysis = model.analyse(variables, mixture, self.config)
        return analysis.salience, analysis.f0_hz_344
