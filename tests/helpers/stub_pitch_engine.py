"""An engine without networks: pitches tell the segment's number and the frame within it."""

import time

import numpy as np

from umss_jax.audio.segments import SegmentPitches
from umss_jax.config import VOICES, ModelConfig

BINS = 12


class StubPitchEngine:
    name = "stub"
    config = ModelConfig()
    provenance = {"device": "none"}  # noqa: RUF012
    frequencies_hz = 32.7 * 2.0 ** (np.arange(BINS) / 2)

    def __init__(self, batch_segments=1, voices=VOICES, delay_s=0.0):
        self.batch_segments = batch_segments
        self.voices = voices
        self.delay_s = delay_s
        self.heard = []

    def pitches(self, mixture_16k, sang_before=None):
        assert mixture_16k.dtype == np.float32
        assert len(mixture_16k) <= self.batch_segments
        time.sleep(self.delay_s)
        frames = mixture_16k.shape[-1] // 256
        f0_hz, salience = [], np.zeros((len(mixture_16k), BINS, frames), np.float32)
        for index, one in enumerate(mixture_16k):
            rows = len(self.voices) or 1 + len(self.heard) % 3
            track = (
                np.full((rows, frames), 100.0 + len(self.heard)) + 100 * np.arange(rows)[:, None]
            )
            if self.voices:
                track[-2] += np.arange(frames)
                track[-1] = 0
            f0_hz.append(track)
            salience[index] = np.arange(frames) / 1000 + np.arange(BINS)[:, None] / 100
            self.heard.append(float(np.abs(one).max()))
        return SegmentPitches(f0_hz, salience)
