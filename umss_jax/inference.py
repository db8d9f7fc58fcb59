"""The jitted chain on segments, which separation and training ask for stems and F0."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.audio.segments import SegmentPitches, SegmentStems
from umss_jax.config import RULES, Assigner, ModelConfig, TrackAssigner
from umss_jax.device import own_settings
from umss_jax.kept_programs import results
from umss_jax.pitch.config import WITH_NETWORK
from umss_jax.pitch.continuity import heuristic_tracks, multi_f0_peaks
from umss_jax.pitch.extractor import middle_frames, nearest_frames
from umss_jax.pitch.grid import bin_frequencies_hz
from umss_jax.pitch.ranges import ranges_f0, sang_last
from umss_jax.segment_programs import (
    analysis_program,
    remainders_program,
    salience_program,
    voices_program,
)

if TYPE_CHECKING:
    from umss_jax import model


class Heard(NamedTuple):
    """What is told of the pitches of segments; as in :class:`umss_jax.model.ModelOutput`."""

    salience: np.ndarray | None
    f0_hz_cqt: np.ndarray | None
    f0_hz_synth: np.ndarray


@dataclass(frozen=True, eq=False)
class ModelEngine:
    """A model with its weights, ready to find the pitches of segments and to separate them.

    Segments are independent of each other. ``mixture_16k`` is float32 ``[B, S]`` everywhere: mono
    at the model's 16 kHz, each segment scaled to peak 1.
    """

    name: str
    """Of the model: its stems are written to a folder of this name."""
    variables: Mapping[str, Any]
    """Salience network, and assignment network where one assigns; to separate, encoder and decoder
    or a U-Net as well. A U-Net among them separates."""
    assigner: Assigner | TrackAssigner = Assigner.VOAS_CNN
    """What gives the pitches to the voices: a network, one of the rules, or nothing."""
    provenance: Mapping[str, object] = field(default_factory=dict)
    """For the manifest: device, assigner, weights and their hashes (JSON values)."""
    config: ModelConfig = field(default_factory=ModelConfig)
    """Sizes, constants and which networks the weights are of."""
    batch_segments: int = 1
    """Maximum number of segments at once; memory grows with it (about 1 GiB each)."""
    continuity: Callable[..., list[np.ndarray]] = heuristic_tracks
    """The continuity rule on several saliences, here or in other processes
    (:class:`umss_jax.pitch.rule_workers.RuleWorkers`)."""

    @functools.cached_property
    def _on_device(self) -> Mapping[str, Any]:
        """The variables, brought to the device once instead of at every call."""
        placed: Mapping[str, Any] = jax.device_put(self.variables)
        return placed

    @property
    def voices(self) -> tuple[str, ...]:
        """Names of the rows of :meth:`pitches`; none where the pitches are given to nobody."""
        return () if self.assigner == TrackAssigner.NONE else self.config.voices.names

    @property
    def frequencies_hz(self) -> np.ndarray:
        """``[bins]``, of the rows of the salience."""
        return bin_frequencies_hz(self.config.hcqt)

    def with_variables(self, variables: Mapping[str, Any], **provenance: object) -> ModelEngine:
        """The same engine with other weights of the same shapes, as after an adaptation."""
        return replace(self, variables=variables, provenance={**self.provenance, **provenance})

    def separate(
        self,
        mixture_16k: np.ndarray,
        channels_16k: np.ndarray,
        seeds: np.ndarray,
        f0_hz_synth: np.ndarray | None = None,
        sang_before: np.ndarray | None = None,
    ) -> SegmentStems:
        """Stems and reported F0 of segments, which follow each other where that matters.

        ``channels_16k`` is float32 ``[B, C, S]``, the recording's channels at their own level;
        ``seeds`` is uint32 ``[B]``, the only source of randomness of each segment;
        ``f0_hz_synth`` as for :meth:`intermediates`; ``sang_before`` is bool ``[J]``, which voices
        sang just before the first segment, None where that is not known.
        """
        heard = self._known(mixture_16k, f0_hz_synth, sang_before)
        known = None if heard is None else heard.f0_hz_synth
        found = self._results(voices_program, mixture_16k, channels_16k, seeds, known)
        heard = heard or _heard(found, "output.")
        f0_hz = self.reported_f0(heard)
        pitches = self._pitches_of(heard.salience, f0_hz.shape[-1])
        return SegmentStems(np.asarray(found["stems"]), f0_hz, pitches)

    def intermediates(
        self, mixture_16k: np.ndarray, seeds: np.ndarray, f0_hz_synth: np.ndarray | None = None
    ) -> model.ModelOutput | model.UnetSeparation:
        """Everything that the model computes on the way, by name.

        ``f0_hz_synth`` is ``[B, J, S // 256]`` in Hz, 0 where unvoiced: F0 that is known instead of
        estimated.
        """
        return self.separated(mixture_16k, seeds, f0_hz_synth).output

    @own_settings
    def separated(
        self, mixture_16k: np.ndarray, seeds: np.ndarray, f0_hz_synth: np.ndarray | None = None
    ) -> model.Separated:
        """Stems ``[B, J, 1, S]`` of the mixture, and :meth:`intermediates`."""
        heard = self._known(mixture_16k, f0_hz_synth)
        known = None if heard is None else heard.f0_hz_synth
        voices: model.Separated = voices_program(
            self._on_device, mixture_16k, mixture_16k[:, None], seeds, known, self.config
        )
        if heard is None or heard.salience is None:
            return voices
        salience = jnp.asarray(heard.salience)
        return voices._replace(output=voices.output._replace(salience=salience))

    def salience(self, mixture_16k: np.ndarray) -> np.ndarray:
        """Multi-F0 salience ``[B, 360, frames]`` of segments."""
        return np.asarray(self._results(salience_program, mixture_16k)[""])

    @own_settings
    def analyse(self, mixture_16k: np.ndarray) -> model.Analysis:
        """Salience and F0 of segments; F0 at both rates where a network assigns."""
        from umss_jax import model

        if not self._is_found_on_host:
            analysis: model.Analysis = analysis_program(self._on_device, mixture_16k, self.config)
            return analysis
        salience, f0_hz_cqt, f0_hz_synth = self._found_on_host(mixture_16k)
        at_cqt = None if f0_hz_cqt is None else jnp.asarray(f0_hz_cqt)
        at_synth = jnp.asarray(f0_hz_synth)
        return model.Analysis(None, jnp.asarray(salience), None, None, at_cqt, at_synth)

    def _found_on_host(
        self, mixture_16k: np.ndarray, sang_before: np.ndarray | None = None
    ) -> Heard:
        """Salience, and F0 by a rule or by a joint path."""
        assigned = None
        if self.assigner in RULES:
            salience = self.salience(mixture_16k)
        else:
            found = self._results(analysis_program, mixture_16k)
            salience, assigned = (np.asarray(found[name]) for name in ("salience", "assigned"))
        frames = mixture_16k.shape[-1] // self.config.audio.hop_samples
        if self.assigner == Assigner.HEURISTIC:
            return Heard(salience, None, np.stack(self._by_continuity(salience, frames)))
        f0_hz = np.stack(self._by_ranges(salience, assigned, sang_before))
        if self.config.f0.again:
            salience = self._heard_again(mixture_16k, salience, f0_hz)
            f0_hz = np.stack(self._by_ranges(salience, assigned, sang_before))
        return Heard(salience, f0_hz, f0_hz[..., middle_frames(f0_hz.shape[-1], frames)])

    def _heard_again(
        self, mixture_16k: np.ndarray, salience: np.ndarray, f0_hz_cqt: np.ndarray
    ) -> np.ndarray:
        """The salience ``[B, bins, T]``, and what is more salient without one of the voices.

        The mean of the two mixtures in which it is most: what taking a voice out makes up is seldom
        in two of them.
        """
        frames = mixture_16k.shape[-1] // self.config.audio.hop_samples
        at_hops = f0_hz_cqt[..., nearest_frames(f0_hz_cqt.shape[-1], frames)]
        left = np.asarray(self._results(remainders_program, mixture_16k, at_hops)[""])
        heard = np.stack([self.salience(left[:, voice]) for voice in range(left.shape[1])])
        most = np.sort(heard, axis=0)[-2:].mean(axis=0)
        return np.maximum(salience, most)

    def _known(
        self,
        mixture_16k: np.ndarray,
        f0_hz_synth: np.ndarray | None,
        sang_before: np.ndarray | None = None,
    ) -> Heard | None:
        """What is known before voices are made: given, or found on the host."""
        if f0_hz_synth is not None:
            return Heard(None, None, f0_hz_synth)
        return self._heard_pitches(mixture_16k, sang_before) if self._is_found_on_host else None

    def _heard_pitches(
        self, mixture_16k: np.ndarray, sang_before: np.ndarray | None = None
    ) -> Heard:
        """What :meth:`analyse` says of pitches, by a program that is kept."""
        if self._is_found_on_host:
            return self._found_on_host(mixture_16k, sang_before)
        return _heard(self._results(analysis_program, mixture_16k))

    @own_settings
    def _results(self, jitted: Any, *arguments: Any) -> dict[str, Any]:
        return results(jitted, (self._on_device, *arguments), self.config)

    @property
    def _is_found_on_host(self) -> bool:
        """Whether F0 are no part of the network's program: found by a rule, or jointly."""
        if self.assigner == TrackAssigner.NONE:
            return False
        return self.assigner in RULES or self.config.f0.jointly

    def _by_continuity(self, salience: np.ndarray, frames: int) -> list[np.ndarray]:
        """F0 of every voice ``[J, frames]`` from each salience ``[bins, T]`` of several."""
        f0 = self.config.f0
        how = f0.multi_f0_threshold, self.config.hcqt, f0.mean_bins
        return self.continuity(list(salience), frames, *how, len(self.config.voices))

    def _by_ranges(
        self, salience: np.ndarray, assigned: np.ndarray | None, sang: np.ndarray | None
    ) -> list[np.ndarray]:
        """F0 of every voice ``[J, T]`` from each salience ``[bins, T]`` of several.

        With what a network assigns to them, ``[B, J, bins, T]``, where one does.
        """
        f0, voices = self.config.f0, self.config.voices
        how = f0.multi_f0_threshold, self.config.hcqt, f0.mean_bins
        if assigned is None:
            return [ranges_f0(one, voices, *how) for one in salience]
        tracks = []
        for one, given in zip(salience, assigned, strict=True):
            f0_hz = ranges_f0(one, voices, *how, WITH_NETWORK, given, sang)
            tracks.append(f0_hz)
            sang = sang_last([f0_hz], sang)
        return tracks

    def f0_hz_synth(self, mixture_16k: np.ndarray) -> np.ndarray:
        """F0 as the synthesiser gets it, ``[B, J, S // 256]`` in Hz, whoever assigns."""
        return np.asarray(self._heard_pitches(mixture_16k).f0_hz_synth)

    def pitches(
        self, mixture_16k: np.ndarray, sang_before: np.ndarray | None = None
    ) -> SegmentPitches:
        """Reported F0 and salience of segments, both every 16 ms.

        ``sang_before`` as for :meth:`separate`.
        """
        if self.voices:
            heard = self._heard_pitches(mixture_16k, sang_before)
            salience, f0_hz = np.asarray(heard.salience), list(self.reported_f0(heard))
        else:
            salience = self.salience(mixture_16k)
            if self.config.f0.again:
                by_ranges = np.stack(self._by_ranges(salience, None, None))
                salience = self._heard_again(mixture_16k, salience, by_ranges)
        frames = mixture_16k.shape[-1] // self.config.audio.hop_samples
        salience_synth = salience[..., nearest_frames(salience.shape[-1], frames)]
        if not self.voices:
            f0, grid = self.config.f0, self.config.hcqt
            f0_hz = [
                multi_f0_peaks(one, f0.least_salience, grid, f0.mean_bins).T
                for one in salience_synth
            ]
        return SegmentPitches(f0_hz, salience_synth)

    def reported_f0(
        self, output: model.ModelOutput | model.UnetSeparation | model.Analysis | Heard
    ) -> np.ndarray:
        """F0 for people to read: the nearest frame's, so that no note edge gets a pitch between.

        ``[B, J, S // 256]`` in Hz, 0 where unvoiced.

        The synthesiser's own F0 is interpolated across the borders of notes.
        """
        if output.f0_hz_cqt is None:
            f0_hz_synth = np.asarray(output.f0_hz_synth)
            return np.where(f0_hz_synth < self.config.hcqt.fmin_hz * 0.99, 0, f0_hz_synth)
        f0_hz_cqt, frames = np.asarray(output.f0_hz_cqt), output.f0_hz_synth.shape[-1]
        reported: np.ndarray = f0_hz_cqt[..., nearest_frames(f0_hz_cqt.shape[-1], frames)]
        return reported

    def _pitches_of(self, salience: np.ndarray | None, frames: int) -> np.ndarray | None:
        """How many pitches a salience ``[B, bins, …]`` shows in every frame, ``[B, frames]``."""
        if salience is None:
            return None
        nearest = np.asarray(salience)[..., nearest_frames(salience.shape[-1], frames)]
        threshold, grid = self.config.f0.multi_f0_threshold, self.config.hcqt
        peaks = [multi_f0_peaks(one, threshold, grid) for one in nearest]
        return np.stack([np.count_nonzero(one, axis=1) for one in peaks])


def _heard(found: Mapping[str, Any], before: str = "") -> Heard:
    """Of the results of a program; what is not among them is None."""
    salience, f0_hz_cqt = (found.get(before + name) for name in ("salience", "f0_hz_cqt"))
    return Heard(salience, f0_hz_cqt, found[f"{before}f0_hz_synth"])
