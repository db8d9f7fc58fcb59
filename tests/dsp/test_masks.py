"""Soft masking: the recorded reference, SciPy, and the property that stems sum to the mixture."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from comparison import relative_error

from umss_jax.config import MaskConfig
from umss_jax.dsp.masks import (
    apply_masks,
    apply_masks_to_channels,
    soft_mask_stems,
    soft_masks,
)


@pytest.fixture
def voices():
    generator = np.random.default_rng(0)
    return generator.standard_normal((4, 9000)).astype(np.float32) * 0.1


def test_equals_the_reference(golden):
    recorded = golden("masking_metrics")
    stems = jax.jit(soft_mask_stems)(
        jnp.asarray(recorded["mixture"]), jnp.asarray(recorded["synthesised"])
    )
    assert relative_error(stems, recorded["masked"]) < 1e-5


@pytest.mark.parametrize("gain", [1.0, 1e-6, 0.0])
def test_stems_sum_to_the_mixture(voices, gain):
    mixture = jnp.asarray(voices.sum(axis=0))
    stems = soft_mask_stems(mixture, jnp.asarray(voices * np.float32(gain)))
    assert np.all(np.isfinite(stems))
    assert float(jnp.max(jnp.abs(stems.sum(axis=0) - mixture))) < 1e-6 * float(
        jnp.max(jnp.abs(mixture))
    )


def test_silence_of_all_voices_is_shared_equally(voices):
    mixture = jnp.asarray(voices[0])
    stems = soft_mask_stems(mixture, jnp.zeros((4, mixture.shape[0])))
    assert relative_error(stems, jnp.tile(mixture / 4, (4, 1))) < 1e-6


def test_masks_are_shares(voices):
    masks = soft_masks(jnp.asarray(voices))
    assert masks.shape == (4, 1025, 1 + 9000 // 256)
    assert float(masks.min()) >= 0
    np.testing.assert_allclose(masks.sum(axis=0), 1, atol=1e-6)


def test_leading_axes_are_a_batch(voices):
    sources = jnp.asarray(np.stack([voices, voices[::-1]]))
    mixtures = sources.sum(axis=1)
    together = soft_mask_stems(mixtures, sources)
    alone = jnp.stack([soft_mask_stems(m, s) for m, s in zip(mixtures, sources, strict=True)])
    assert relative_error(together, alone) < 1e-6


def test_channels_share_the_masks(voices):
    sources = jnp.asarray(voices)
    left = sources.sum(axis=0)
    channels = jnp.stack([left, 0.5 * left, jnp.asarray(voices[1])])
    stems = apply_masks_to_channels(channels, soft_masks(sources)[None])
    assert stems.shape == (4, 3, 9000)
    assert relative_error(stems[:, 0], soft_mask_stems(left, sources)) < 1e-6
    assert relative_error(stems[:, 1], 0.5 * soft_mask_stems(left, sources)) < 1e-6
    assert relative_error(stems.sum(axis=0), channels) < 1e-6


def test_channels_have_masks_of_their_own(voices):
    sources = jnp.asarray(voices)
    channels = jnp.stack([sources.sum(axis=0), sources[0] - sources[2]])
    masks = jnp.stack([soft_masks(sources), soft_masks(sources[::-1])])
    stems = apply_masks_to_channels(channels, masks)
    for number in (0, 1):
        assert relative_error(stems[:, number], apply_masks(channels[number], masks[number])) < 1e-6


def test_gradients_are_finite_where_voices_are_silent(voices):
    sources = jnp.asarray(voices).at[2].set(0.0)
    mixture = sources.sum(axis=0)

    def energy(sources):
        return jnp.sum(soft_mask_stems(mixture, sources)[0] ** 2)

    gradient = jax.grad(energy)(sources)
    assert np.all(np.isfinite(gradient))
    assert float(jnp.abs(gradient[0]).max()) > 0


def test_masks_of_another_grid_are_an_error(voices):
    with pytest.raises(ValueError, match=r"\(1025, 32\) bins and frames for a mixture of"):
        apply_masks(jnp.asarray(voices[0]), soft_masks(jnp.asarray(voices[:, :8000])))


@pytest.mark.parametrize("power", [1.0, 1.6, 2.0])
@pytest.mark.parametrize("gain", [1.0, 1e-4])
def test_masks_are_shares_of_powers(voices, power, gain):
    config = MaskConfig(power=power)
    magnitudes = np.abs(
        np.stack(
            [
                librosa.stft(
                    voice.astype(np.float64), n_fft=2048, hop_length=256, pad_mode="reflect"
                )
                for voice in voices
            ]
        )
    )
    expected = magnitudes**power / np.sum(magnitudes**power, axis=0)
    masks = soft_masks(jnp.asarray(voices * np.float32(gain)), config)
    # Bins in which hardly anything sounds are left to rounding.
    loud = magnitudes.max(axis=0) > 1e-2 * magnitudes.max()
    np.testing.assert_allclose(
        np.asarray(masks)[:, loud], expected[:, loud], atol=2e-4 if gain == 1.0 else 2e-3
    )
    np.testing.assert_allclose(masks.sum(axis=0), 1, atol=1e-6)
