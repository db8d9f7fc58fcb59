"""An engine that hears a known performance, and separates by the pitches that it is given."""

import numpy as np
from stub_engine import StubEngine
from sung_score import GRID, performance, piece

from umss_jax.audio.segments import SegmentPitches, SegmentStems, plan_segments
from umss_jax.config import VOICES, Chain, ModelConfig, with_chain
from umss_jax.pitch.grid import bin_frequencies_hz
from umss_jax.separation.config import SeparationConfig

ROWS = piece(24)
SECONDS = 14.0


class ScoredEngine(StubEngine):
    """Its F0 networks find the pitches and mistake the voices; asked for segments in order."""

    config = with_chain(ModelConfig(), Chain.IMPROVED)
    voices = VOICES
    frequencies_hz = bin_frequencies_hz(GRID)

    def __init__(self, rows=ROWS, separation=SeparationConfig()):
        super().__init__()
        self.salience, self.true_f0_hz = performance(rows, lambda beat: 1 + beat / 2, SECONDS)
        plan = plan_segments(separation.segment_s, separation.overlap, self.config.audio)
        self.step = plan.step // 256
        self.tracked = 0
        self.given = []

    def pitches(self, mixture_16k, sang_before=None):
        frames = mixture_16k.shape[-1] // 256
        start = self.tracked * self.step
        self.tracked += 1
        padded = np.pad(self.salience, ((0, 0), (0, frames)))[:, start : start + frames]
        own = np.pad(self.true_f0_hz[::-1], ((0, 0), (0, frames)))[:, start : start + frames]
        return SegmentPitches([own], padded[None])

    def separate(self, mixture_16k, channels_16k, seeds, f0_hz_synth=None, sang_before=None):
        stems = super().separate(mixture_16k, channels_16k, seeds)
        if f0_hz_synth is None:
            return stems
        assert f0_hz_synth.shape == (len(seeds), len(VOICES), mixture_16k.shape[-1] // 256)
        self.given.extend(f0_hz_synth)
        return SegmentStems(stems.stems_16k, f0_hz_synth, None)


def noise():
    """As long as the performance, at 16 kHz."""
    samples = round(SECONDS * 16_000)
    return (0.4 * np.random.default_rng(0).uniform(-1, 1, samples)).astype(np.float32)
