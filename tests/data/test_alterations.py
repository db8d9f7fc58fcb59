"""Altered training mixes: voices and what nobody sings, apart and reproducible."""

import numpy as np
import pytest

from umss_jax.config import AudioConfig
from umss_jax.data.alterations import _DISTURBANCES, altered
from umss_jax.data.config import AugmentationConfig, DisturbanceConfig

AUDIO = AudioConfig()


def voices():
    rng = np.random.default_rng(1)
    return rng.standard_normal((4, 16_000)).astype(np.float32)


def alter(seed, **disturbance):
    return altered(
        voices(),
        np.random.default_rng(seed),
        AugmentationConfig(),
        DisturbanceConfig(**disturbance),
        AUDIO,
    )


def test_without_a_disturbance_the_voices_sum_to_the_mixture():
    sources, mixture = alter(0, probability=0.0)
    np.testing.assert_allclose(sources.sum(axis=0), mixture, atol=1e-4)


@pytest.mark.parametrize("kind", range(len(_DISTURBANCES)))
def test_the_rest_has_its_level(kind):
    weights = tuple(float(kind == number) for number in range(len(_DISTURBANCES)))
    sources, mixture = alter(3, probability=1.0, weights=weights, level_db=(-20.0, -20.0))
    sung, rest = sources.sum(axis=0), mixture - sources.sum(axis=0)
    level_db = 10 * np.log10(np.mean(rest**2) / np.mean(sung**2))
    assert level_db == pytest.approx(-20, abs=0.1)


def test_hum_is_harmonic_and_a_constant_constant():
    rng = np.random.default_rng(0)
    hum = _DISTURBANCES[1](16_000, rng, 16_000)
    spectrum = np.abs(np.fft.rfft(hum))
    assert np.sum(spectrum[:1000] ** 2) > 0.99 * np.sum(spectrum**2)
    assert np.ptp(_DISTURBANCES[2](100, rng, 16_000)) == 0


def test_some_voices_are_silent_at_times_and_the_seed_decides():
    counts = [int(np.sum(np.abs(alter(seed)[0]).max(axis=1) > 0)) for seed in range(40)]
    assert set(counts) == {1, 2, 3, 4}
    for one, other in zip(alter(5), alter(5), strict=True):
        np.testing.assert_array_equal(one, other)
