"""The harmonic CQT against librosa (recorded and called), closed forms, and its own symmetries."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from comparison import relative_error
from jax.test_util import check_grads

from umss_jax.config import HcqtConfig
from umss_jax.dsp.cqt_kernels import octaves
from umss_jax.dsp.hcqt import (
    HarmonicCqt,
    _halvings,
    _reflected_index,
    decibels,
    harmonic_cqt,
    hcqt,
    phase_difference,
)
from umss_jax.dsp.resample import resample

CONFIG = HcqtConfig()
# Two octaves of three harmonics on short audio, where the full grid would only cost time.
SMALL = HcqtConfig(fmin_hz=400.0, bins=24, bins_per_octave=12, harmonics=(1, 2, 3))
hcqt_jit = jax.jit(hcqt, static_argnums=1)
harmonic_cqt_jit = jax.jit(harmonic_cqt, static_argnums=1)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def librosa_cqt(audio, harmonic, config=CONFIG, sparsity=0.0):
    transform = librosa.cqt(
        audio,
        sr=config.sample_rate_hz,
        hop_length=config.hop_samples,
        fmin=config.fmin_hz * harmonic,
        n_bins=config.bins,
        bins_per_octave=config.bins_per_octave,
        pad_mode="reflect",
        sparsity=sparsity,
    )
    return transform[:, : len(audio) // config.hop_samples]


def librosa_features(audio, sparsity):
    magnitude, phase = [], []
    for harmonic in CONFIG.harmonics:
        transform = librosa_cqt(audio, harmonic, sparsity=sparsity)
        magnitude.append(librosa.amplitude_to_db(np.abs(transform), ref=np.max))
        angle = np.angle(transform)
        phase.append(np.diff(np.unwrap(angle, axis=1), axis=1, prepend=0))
        phase[-1][:, 0] = angle[:, 0]
    return np.stack(magnitude), np.stack(phase)


def deviations(features, magnitude_db, phase):
    """|Δ| in dB and in radians (modulo 2π) in the cells above −40 dB."""
    loud = magnitude_db > -40
    d_magnitude = np.abs(np.asarray(features.magnitude_db[0]) - magnitude_db)[loud]
    turn = np.exp(1j * (np.asarray(features.phase_difference[0], np.float64) - phase))
    return d_magnitude, np.abs(np.angle(turn))[loud]


@pytest.fixture(scope="module")
def mixture_22k(golden):
    return np.asarray(resample(golden("input")["mixture"], 16_000, 22_050))


@pytest.fixture(scope="module")
def exact(mixture_22k):
    return hcqt_jit(mixture_22k[None], CONFIG)


def test_shape_and_range(exact):
    assert exact.magnitude_db.shape == exact.phase_difference.shape == (1, 5, 360, 344)
    magnitude, phase = np.asarray(exact.magnitude_db), np.asarray(exact.phase_difference)
    np.testing.assert_array_equal(magnitude.max(axis=(2, 3)), np.zeros((1, 5)))
    assert magnitude.min() == CONFIG.floor_db
    assert np.abs(phase).max() <= np.pi + 1e-6


def test_recorded_features(exact, golden):
    """Parity asked for, against librosa's sparse kernels."""
    recorded = golden("hcqt")
    magnitude, phase = deviations(
        exact, recorded["magnitude_db_librosa"], recorded["phase_diff_librosa"]
    )
    assert np.median(magnitude) < 0.05
    assert np.percentile(magnitude, 99) < 0.5
    assert np.percentile(phase, 99) < 0.1


@pytest.mark.parametrize("sparsity", [0.0, 0.01])
def test_librosa_with_the_same_kernels(sparsity, mixture_22k):
    """With librosa's sparsity, or with none on both sides, hundreds of times closer than that."""
    features = hcqt_jit(mixture_22k[None], replace(CONFIG, sparsity=sparsity))
    magnitude, phase = deviations(features, *librosa_features(mixture_22k, sparsity))
    assert np.median(magnitude) < 1e-4
    assert np.percentile(magnitude, 99) < 2e-3
    assert np.percentile(phase, 99) < 5e-4


def test_recorded_features_with_the_same_kernels(golden, mixture_22k):
    recorded = golden("hcqt")
    features = hcqt_jit(mixture_22k[None], replace(CONFIG, sparsity=0.01))
    magnitude, phase = deviations(
        features, recorded["magnitude_db_librosa"], recorded["phase_diff_librosa"]
    )
    assert magnitude.max() < 1e-2
    assert phase.max() < 1e-2


def test_closer_to_exact_kernels_than_to_sparse_ones(exact, golden, mixture_22k):
    recorded = golden("hcqt")
    to_sparse, _ = deviations(
        exact, recorded["magnitude_db_librosa"], recorded["phase_diff_librosa"]
    )
    to_exact, _ = deviations(exact, *librosa_features(mixture_22k, 0.0))
    assert np.percentile(to_exact, 99) < 0.01 * np.percentile(to_sparse, 99)


@pytest.mark.parametrize("samples", [22_050, 30_001])
def test_complex_values_and_other_lengths(samples):
    """Scale and absolute phase too, on noise, odd lengths at every level."""
    audio = noise(samples)
    config = replace(CONFIG, bins=120, fmin_hz=523.2, harmonics=(1, 3))
    transform = harmonic_cqt(jnp.asarray(audio)[None], config)
    for row, harmonic in enumerate(config.harmonics):
        reference = librosa_cqt(audio, harmonic, config)
        result = jax.lax.complex(transform.real[0, row], transform.imaginary[0, row])
        assert result.shape == reference.shape
        assert np.linalg.norm(result - reference) < 1e-3 * np.linalg.norm(reference)


def test_halvings_equal_soxr():
    audio = noise(11_025)
    signal = audio
    for level in _halvings(jnp.asarray(audio)[None], 4)[1:]:
        signal = librosa.resample(signal, orig_sr=2, target_sr=1, res_type="soxr_hq", scale=True)
        assert relative_error(level[0], signal) < 5e-6


@pytest.mark.parametrize(("samples", "before", "after"), [(9, 4, 3), (5, 13, 21), (2, 3, 3)])
def test_reflection_equals_numpy(samples, before, after):
    expected = np.pad(np.arange(samples), (before, after), mode="reflect")
    np.testing.assert_array_equal(_reflected_index(samples, before, after), expected)


def test_harmonics_share_octaves_without_a_trace(mixture_22k, exact):
    """Harmonics 1 and 2 share five of their six octaves; results are those of separate grids."""
    first, second = octaves(CONFIG, 1), octaves(CONFIG, 2)
    assert first[1:] == second[:-1]
    audio = jnp.asarray(mixture_22k)[None]
    together = harmonic_cqt_jit(audio, CONFIG)
    for index, harmonic in enumerate(CONFIG.harmonics):
        alone = harmonic_cqt_jit(audio, replace(CONFIG, harmonics=(harmonic,)))
        assert relative_error(alone.real[:, 0], together.real[:, index]) < 1e-6
        assert relative_error(alone.imaginary[:, 0], together.imaginary[:, index]) < 1e-6


@pytest.mark.parametrize("harmonic", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("bin_index", [100, 200, 359])
def test_tone_peaks_in_its_bin(harmonic, bin_index):
    config = replace(CONFIG, harmonics=(harmonic,))
    frequency = 32.7 * harmonic * 2 ** (bin_index / 60)
    audio = np.sin(2 * np.pi * frequency * np.arange(44_100) / 22_050)[None].astype(np.float32)
    features = hcqt_jit(audio, config)
    middle = np.asarray(features.magnitude_db)[0, 0, :, 80]
    assert middle.argmax() == bin_index
    # The phase advances by the tone's own phase over one hop.
    advance = 2 * np.pi * frequency * 256 / 22_050
    difference = np.asarray(features.phase_difference)[0, 0, bin_index, 80] - advance
    assert abs(np.angle(np.exp(1j * difference))) < 1e-3


def test_shift_by_hops_shifts_frames():
    """Four hops, so that every level is shifted by whole samples of its own."""
    config = replace(CONFIG, fmin_hz=130.8, bins=240, harmonics=(1,))
    audio = noise(1, 66_150)
    later = np.concatenate([noise(1, 4 * 256, seed=1), audio[:, : -4 * 256]], axis=1)
    before = harmonic_cqt_jit(audio, config).real
    after = harmonic_cqt_jit(later, config).real
    # Away from both edges by half the longest filter and the decimators' tails.
    assert relative_error(after[..., 84:164], before[..., 80:160]) < 1e-5


def test_batch_equals_singles():
    audio = noise(3, 22_050) * np.float32([[1], [1e-2], [10]])
    batch = hcqt_jit(audio, SMALL)
    for index in range(3):
        single = hcqt_jit(audio[index : index + 1], SMALL)
        np.testing.assert_allclose(batch.magnitude_db[index], single.magnitude_db[0], atol=2e-3)
        turn = np.exp(1j * (batch.phase_difference[index] - single.phase_difference[0]))
        loud = np.asarray(single.magnitude_db[0]) > -40
        assert np.abs(np.angle(turn))[loud].max() < 1e-3


def test_silence_is_finite_and_as_in_librosa():
    features = hcqt_jit(jnp.zeros((1, 22_050)), SMALL)
    expected = librosa.amplitude_to_db(np.zeros((24, 86)), ref=np.max)
    for harmonic in range(3):
        np.testing.assert_array_equal(features.magnitude_db[0, harmonic], expected)
    np.testing.assert_array_equal(features.phase_difference, np.zeros((1, 3, 24, 86)))


@pytest.mark.parametrize("peak", [0.0, 1e-30, 1e-12, 1e-6, 1.0, 1e4])
def test_gradients_are_finite_at_every_level(peak):
    audio = np.zeros((2, 11_025), np.float32)
    audio[0, 4000:5000] = peak * noise(1000)
    audio[1] = peak

    def total(signal):
        features = hcqt(signal, SMALL)
        return jnp.sum(features.magnitude_db) + jnp.sum(jnp.sin(features.phase_difference))

    value, gradient = jax.jit(jax.value_and_grad(total))(audio)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


def test_gradient_of_the_transform_is_its_adjoint():
    audio = noise(1, 2_048)
    check_grads(
        partial(harmonic_cqt, config=SMALL), (audio,), order=1, modes=["fwd", "rev"], eps=1.0
    )


def test_gradients_of_the_features():
    """Smooth away from floor and zero; the maximum is one clear cell."""
    real, imaginary = 1 + 0.3 * noise(2, 3, 4), 0.5 + 0.3 * noise(2, 3, 4, seed=1)
    real[:, 1, 2] = 5
    for feature in (partial(decibels, floor_db=-80.0), phase_difference):
        check_grads(
            lambda x, y, feature=feature: feature(HarmonicCqt(x, y), amplitude_floor=1e-5),
            (real, imaginary),
            order=1,
            modes=["fwd", "rev"],
            eps=1e-2,
            rtol=2e-2,
            atol=2e-2,
        )


def test_phase_equals_arctangent():
    angle = np.concatenate([np.linspace(-np.pi, np.pi, 4001), np.arange(-4, 5) * np.pi / 4])
    radius = 10.0 ** np.random.default_rng(0).uniform(-12, 6, angle.size)
    real = (radius * np.cos(angle)).astype(np.float32)[:, None]
    imaginary = (radius * np.sin(angle)).astype(np.float32)[:, None]
    phase = phase_difference(HarmonicCqt(jnp.asarray(real), jnp.asarray(imaginary)), 1e-5)
    expected = np.arctan2(imaginary.astype(np.float64), real.astype(np.float64))
    assert np.abs(np.angle(np.exp(1j * (np.asarray(phase, np.float64) - expected)))).max() < 1e-6


@pytest.mark.parametrize(
    ("shape", "change", "match"),
    [
        ((22_050,), {}, "batch, samples"),
        ((1, 255), {}, "one hop"),
        ((1, 22_050), {"bins": 350}, "whole octaves"),
        ((1, 22_050), {"harmonics": (6,)}, "Nyquist"),
        ((1, 22_050), {"hop_samples": 200}, "halved"),
        ((1, 22_050), {"sparsity": 1.0}, "sparsity"),
    ],
)
def test_impossible_requests_are_refused(shape, change, match):
    with pytest.raises(ValueError, match=match):
        hcqt(jnp.zeros(shape), replace(CONFIG, **change))


def test_shortest_signal():
    """One frame: levels of a few samples, mirrored many times over."""
    features = hcqt_jit(noise(1, 256), CONFIG)
    assert features.magnitude_db.shape == (1, 5, 360, 1)
    assert np.all(np.isfinite(features.magnitude_db))
    assert np.all(np.isfinite(features.phase_difference))
