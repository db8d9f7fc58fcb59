"""An engine that needs no network: fixed shares of the channels, different in every segment."""

import time

import numpy as np

from umss_jax.audio.segments import SegmentStems
from umss_jax.config import VOICES, ModelConfig


class StubEngine:
    name = "stub"
    config = ModelConfig()
    provenance = {"device": "none", "weights": {"tensors_sha256": "0" * 64}}  # noqa: RUF012

    def __init__(self, batch_segments=1, delay_s=0.0):
        self.batch_segments = batch_segments
        self.delay_s = delay_s
        self.heard = []
        self.seeds = []

    def separate(self, mixture_16k, channels_16k, seeds, sang_before=None):
        assert mixture_16k.dtype == channels_16k.dtype == np.float32
        assert len(mixture_16k) == len(channels_16k) == len(seeds) <= self.batch_segments
        time.sleep(self.delay_s)
        self.heard.extend(np.abs(mixture_16k).max(axis=1))
        self.seeds.extend(int(seed) for seed in seeds)
        shares = np.stack(
            [np.random.default_rng(seed).dirichlet([5.0] * len(VOICES)) for seed in seeds]
        )
        stems = channels_16k[:, None] * shares[:, :, None, None].astype(np.float32)
        frames = mixture_16k.shape[-1] // 256
        f0_hz = np.broadcast_to(
            np.float32([400, 300, 200, 0])[None, :, None], (len(seeds), len(VOICES), frames)
        )
        return SegmentStems(stems, f0_hz + (np.asarray(seeds)[:, None, None] % 50) * (f0_hz > 0))
