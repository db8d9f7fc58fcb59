"""Analyses of a batch: each example once, in one shape, kept where it comes again."""

import numpy as np
import pytest

from umss_jax.config import Assigner, ModelConfig
from umss_jax.data.mixes import Examples
from umss_jax.train import f0_cache


class Ear:
    """Stands for the F0 networks: says the peak of every example."""

    def __init__(self, *_, **__):
        self.shapes = []

    def f0_hz_synth(self, mixture):
        self.shapes.append(mixture.shape)
        return np.abs(mixture).max(axis=1)[:, None, None] * np.ones((1, 4, 3), np.float32)


def examples(*peaks):
    mixture = np.float32(peaks)[:, None] * np.ones((1, 256), np.float32)
    return Examples(tuple(map(str, peaks)), mixture, None)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(("at_once", "calls"), [(1, 5), (2, 3), (8, 1)])
def test_every_example_gets_its_own_f0_in_calls_of_one_shape(
    tmp_path, monkeypatch, at_once, calls, keep
):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path))
    monkeypatch.setattr(f0_cache, "ModelEngine", Ear)
    peaks = (0.1, 0.5, 0.2, 0.9, 0.4)
    asked = {"params": {}}, ModelConfig(), Assigner.VOAS_CNN
    cache = f0_cache.AnalysisCache(*asked, keep, at_once)
    for _ in range(2):
        batch = cache.batch(examples(*peaks), "f0")
        np.testing.assert_array_equal(batch.f0_hz_synth[:, 0, 0], np.float32(peaks))
    assert cache._engine.shapes == [(at_once, 256)] * calls * (1 if keep else 2)
    other = f0_cache.AnalysisCache(*asked, keep, at_once)
    batch = other.batch(examples(0.7, *peaks[:2]), "f0")
    np.testing.assert_array_equal(batch.f0_hz_synth[:, 0, 0], np.float32((0.7, 0.1, 0.5)))
    heard = 1 if keep else -(-3 // at_once)
    assert other._engine.shapes == [(at_once, 256)] * heard
