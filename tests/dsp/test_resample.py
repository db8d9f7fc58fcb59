"""Windowed-sinc resampling against the reference, its definition in float64, and physics."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparison import relative_error
from jax.test_util import check_grads

from umss_jax.dsp.resample import resample


def by_definition(audio, old_rate, new_rate, zero_crossings=6, roll_off=0.99):
    """The sum over all input samples, in float64."""
    divisor = math.gcd(old_rate, new_rate)
    old, new = old_rate // divisor, new_rate // divisor
    base = roll_off * min(old, new)
    output = np.arange(-(-len(audio) * new // old))
    u = base * (np.arange(len(audio))[None, :] / old - output[:, None] / new)
    kernel = np.where(
        np.abs(u) < zero_crossings,
        np.sinc(u) * np.cos(np.pi * u / 2 / zero_crossings) ** 2 * base / old,
        0,
    )
    return kernel @ audio.astype(np.float64)


def noise(samples, seed=0):
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def test_reference_16k_to_22k(golden):
    recorded = golden("resample_16k_to_22k")
    result = jax.jit(lambda x: resample(x, 16_000, 22_050))(recorded["x"])
    assert relative_error(result, recorded["y"]) < 1e-6


@pytest.mark.parametrize(
    ("old_rate", "new_rate"),
    [
        (16_000, 22_050),
        (22_050, 16_000),
        (44_100, 16_000),
        (48_000, 16_000),
        (8_000, 16_000),
        (3, 2),
        (16_000, 16_000),
        (4_001, 3_989),  # no common divisor: by table
    ],
)
@pytest.mark.parametrize("samples", [1, 7, 1000])
def test_equals_definition(old_rate, new_rate, samples):
    audio = noise(samples)
    result = resample(audio, old_rate, new_rate)
    reference = audio if old_rate == new_rate else by_definition(audio, old_rate, new_rate)
    assert relative_error(result, reference) < 1e-6


def test_equals_torch_convolution():
    """The strided convolution that torchaudio makes of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch")
    old, new, width = 320, 441, 7
    audio = noise(5000)
    time = np.arange(-width, width + old)[None, :] / old - np.arange(new)[:, None] / new
    u = np.clip(time * 0.99 * 320, -6, 6)
    kernel = torch.tensor(np.sinc(u) * np.cos(u * np.pi / 12) ** 2 * 0.99)[:, None]
    padded = torch.nn.functional.pad(torch.tensor(audio, dtype=torch.float64), (width, width + old))
    reference = torch.nn.functional.conv1d(padded[None, None], kernel, stride=old)[0].T.reshape(-1)
    result = resample(audio, 16_000, 22_050)
    assert relative_error(result, reference.numpy()[: len(result)]) < 1e-6


def test_tone_keeps_pitch_and_level():
    time_old, time_new = np.arange(16_000) / 16_000, np.arange(22_050) / 22_050
    tone = np.sin(2 * np.pi * 440 * time_old).astype(np.float32)
    result = np.asarray(resample(tone, 16_000, 22_050))
    expected = np.sin(2 * np.pi * 440 * time_new)
    assert np.abs(result - expected)[100:-100].max() < 5e-3


def test_batch_equals_singles():
    audio = noise(2 * 3 * 999).reshape(2, 3, 999)
    batch = resample(audio, 16_000, 22_050)
    assert batch.shape == (2, 3, -(-999 * 441 // 320))
    single = resample(audio[1, 2], 16_000, 22_050)
    np.testing.assert_allclose(batch[1, 2], single, atol=1e-6)


@pytest.mark.parametrize(("old_rate", "new_rate"), [(16_000, 22_050), (4_001, 3_989)])
def test_gradient_is_the_adjoint(old_rate, new_rate):
    audio = noise(500)
    check_grads(
        lambda x: resample(x, old_rate, new_rate), (audio,), order=1, modes=["fwd", "rev"], eps=1.0
    )
    output, pull_back = jax.vjp(lambda x: resample(x, old_rate, new_rate), jnp.asarray(audio))
    weights = noise(output.size, seed=1)
    inner = np.dot(np.asarray(output, np.float64), weights)
    (gradient,) = pull_back(jnp.asarray(weights))
    assert inner == pytest.approx(np.dot(np.asarray(gradient, np.float64), audio), abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ((0, 16_000), {}),
        ((16_000, -1), {}),
        ((16_000.5, 16_000), {}),
        ((16_000, 22_050), {"roll_off": 0.0}),
        ((16_000, 22_050), {"zero_crossings": 0}),
    ],
)
def test_impossible_settings_are_refused(arguments, settings):
    with pytest.raises(ValueError, match=r"rates|zero_crossings"):
        resample(noise(10), *arguments, **settings)
