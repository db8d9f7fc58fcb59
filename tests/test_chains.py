"""What is done with what the networks say: the paper's chain, and those that go beyond it."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparison import relative_error

from umss_jax import model
from umss_jax.config import Assigner, Chain, ModelConfig, TrackAssigner, with_chain
from umss_jax.config_tree import leaves
from umss_jax.dsp.masks import soft_mask_stems
from umss_jax.inference import ModelEngine
from umss_jax.weights.configuration import _OF_THE_RUN

CONFIG = ModelConfig()
FRAMES = 60


@pytest.mark.parametrize("chain", [Chain.IMPROVED, Chain.THOROUGH])
def test_the_chain_is_no_part_of_weights(chain):
    improved = with_chain(CONFIG, chain)
    assert with_chain(improved, Chain.PAPER) == CONFIG
    before, after = leaves(CONFIG), leaves(improved)
    assert {name for name in before if before[name] != after[name]} <= _OF_THE_RUN


@pytest.fixture(scope="module")
def separated():
    """The mixture of two tones, and what a configuration makes of it with untrained weights."""
    samples = FRAMES * CONFIG.audio.hop_samples
    time_s = np.arange(samples) / CONFIG.audio.sample_rate_hz
    f0_hz = np.zeros((1, 4, FRAMES), np.float32)
    f0_hz[0, 0], f0_hz[0, 3] = 440.0, 150.0
    mixture = sum(
        np.sin(2 * np.pi * k * hz * time_s) / k for hz in (442.0, 149.5) for k in range(1, 9)
    )
    mixture = np.float32(mixture / np.abs(mixture).max())[None]
    parts = "encoder", "decoder"
    variables = jax.jit(partial(model.init_variables, config=CONFIG, parts=parts))(
        jax.random.key(0)
    )
    seeds = np.zeros(1, np.uint32)

    @partial(jax.jit, static_argnames="config")
    def run(config, channels=mixture[:, None]):
        analysis = model.given_f0(jnp.asarray(f0_hz), config)
        return model.separate(variables, mixture, channels, analysis, seeds, config)

    return mixture, run


def test_the_papers_masks_are_those_of_the_synthesised_voices(separated):
    mixture, run = separated
    found = run(CONFIG)
    expected = soft_mask_stems(mixture, found.output.sources)
    assert relative_error(found.stems[:, :, 0], expected) < 1e-6
    np.testing.assert_array_equal(found.output.f0_hz_synth[0, 0], 440.0)


def test_fitted_voices_add_up_to_the_mixture_too(separated):
    mixture, run = separated
    fitted = replace(CONFIG, mask=replace(CONFIG.mask, fit=True, power=2.0))
    stems = run(fitted).stems
    assert relative_error(stems.sum(axis=1)[:, 0], mixture) < 1e-6
    assert relative_error(stems, run(CONFIG).stems) > 0.1


def test_voices_are_fitted_to_every_channel(separated):
    """Each as if it were alone, and at whatever level."""
    mixture, run = separated
    samples = mixture.shape[-1]
    time_s = np.arange(samples) / CONFIG.audio.sample_rate_hz
    high, low = (
        sum(np.sin(2 * np.pi * k * hz * time_s) / k for k in range(1, 9)) for hz in (442.0, 149.5)
    )
    channels = np.float32(np.stack([high + 0.2 * low, 0.2 * high + low]))[None]
    fitted = replace(CONFIG, mask=replace(CONFIG.mask, fit=True, power=2.0))
    level = 10.0 ** -np.arange(2)[None, :, None]
    stems = np.asarray(run(fitted, jnp.float32(level * channels)).stems) / level[:, None]
    assert relative_error(stems.sum(axis=1), channels) < 1e-5
    alone = np.asarray(run(fitted, jnp.float32(channels[:, 1:])).stems)
    np.testing.assert_allclose(stems[:, :, 1:], alone, atol=1e-4)


def test_voices_are_made_on_the_f0_that_the_harmonics_have(separated):
    _, run = separated
    f0_hz = np.asarray(run(with_chain(CONFIG, Chain.IMPROVED)).output.f0_hz_synth)[0]
    middle = slice(5, -5)
    assert np.abs(f0_hz[0, middle] - 442.0).max() < 1.0
    assert np.abs(f0_hz[3, middle] - 149.5).max() < 0.3
    np.testing.assert_array_equal(f0_hz[1:3], np.float32(CONFIG.f0.floor_hz))


class OneAtATime(ModelEngine):
    """Hears nothing but the loudest tone."""

    def salience(self, mixture_16k):
        bins, frames = self.config.hcqt.bins, mixture_16k.shape[-1] * 22_050 // (16_000 * 256) + 1
        spectra = np.abs(np.fft.rfft(mixture_16k, axis=-1))
        loudest_hz = np.argmax(spectra, axis=-1) * 16_000 / mixture_16k.shape[-1]
        places = np.argmin(np.abs(self.frequencies_hz - loudest_hz[:, None]), axis=-1)
        near = np.abs(np.arange(bins) - places[:, None]) / 2
        return np.repeat(0.9 * np.exp(-(near**2))[..., None], frames, axis=-1)


@pytest.mark.parametrize("assigner", [Assigner.RANGES, TrackAssigner.NONE])
@pytest.mark.parametrize("chain", [Chain.IMPROVED, Chain.THOROUGH])
def test_a_soft_voice_is_found_by_listening_again(assigner, chain):
    time_s = np.arange(64_000) / 16_000
    tones = sum(
        level * np.sin(2 * np.pi * k * hz * time_s) / k
        for hz, level in ((196.0, 1.0), (330.0, 0.7))
        for k in range(1, 20)
    )
    mixture = np.float32(tones / np.abs(tones).max())[None]
    config = with_chain(ModelConfig(), chain)
    found = OneAtATime("of a test", {}, assigner, config=config).pitches(mixture)
    f0_hz = np.sort(np.asarray(found.f0_hz_synth[0]), axis=0)
    sung = f0_hz[:, 10:-10][f0_hz[:, 10:-10] > 0]
    expected = [196.0, 330.0] if chain == Chain.THOROUGH else [196.0]
    assert {float(min(expected, key=lambda hz: abs(hz - one))) for one in sung} == set(expected)
    assert max(np.min(np.abs(np.array(expected) - one)) for one in sung) < 3
