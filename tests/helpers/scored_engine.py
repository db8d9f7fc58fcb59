"""An engine that hears a known performance, and separates by the pitches that it is given."""

import numpy as np
from stub_engine import StubEngine
from sung_score import FRAME_S, GRID

from umss_jax.audio.segments import SegmentPitches, SegmentStems
from umss_jax.config import VOICES, Chain, ModelConfig, with_chain
from umss_jax.pitch.grid import bin_frequencies_hz


class ScoredEngine(StubEngine):
    """Segments are told apart by a ramp: sample n of the recording is n / (total samples)."""

    config = with_chain(ModelConfig(), Chain.IMPROVED)
    voices = VOICES
    frequencies_hz = bin_frequencies_hz(GRID)

    def __init__(self, salience, own_f0_hz, step_frames=187):
        super().__init__()
        self.salience, self.own_f0_hz, self.step = salience, own_f0_hz, step_frames
        self.tracked = 0
        self.given = []

    def pitches(self, mixture_16k):
        frames = mixture_16k.shape[-1] // 256
        start = self.tracked * self.step
        self.tracked += 1
        padded = np.pad(self.salience, ((0, 0), (0, frames + start)))
        own = np.pad(self.own_f0_hz, ((0, 0), (0, frames + start)))
        cut = slice(start, start + frames)
        return SegmentPitches([own[:, cut]], padded[None, :, cut])

    def separate(self, mixture_16k, channels_16k, seeds, f0_hz_synth=None):
        stems = super().separate(mixture_16k, channels_16k, seeds)
        if f0_hz_synth is None:
            return stems
        assert f0_hz_synth.shape == (len(seeds), len(VOICES), mixture_16k.shape[-1] // 256)
        self.given.extend(f0_hz_synth)
        return SegmentStems(stems.stems_16k, f0_hz_synth, None)


def sound(seconds, rate=16_000):
    """Noise of so long, as many frames as the performance."""
    return 0.4 * np.random.default_rng(0).uniform(-1, 1, round(seconds / FRAME_S) * 256 * rate // 16_000)
