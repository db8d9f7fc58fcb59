"""Metrics of voices against the recorded reference, librosa and closed forms."""

import warnings

import librosa
import numpy as np
import pytest
import scipy.fft

from umss_jax.evaluate import metrics
from umss_jax.evaluate import statistics as summary
from umss_jax.evaluate.config import EvaluationConfig


def test_equals_the_reference(golden):
    recorded = golden("masking_metrics")
    scores = metrics.separation_scores(recorded["sources"], recorded["masked"])
    pairs = {
        "si_sdr_db_per_second": scores.si_sdr_db,
        "spectral_snr_db": scores.spectral_snr_db,
        "spectral_si_snr_db": scores.spectral_si_snr_db,
    }
    for name, value in pairs.items():
        assert np.abs(value - recorded[name]).max() < 1e-3, name


@pytest.fixture
def noise():
    return np.random.default_rng(3).standard_normal((2, 40_000))


def si_sdr_db(target, estimate):
    return metrics.separation_scores(target, estimate).si_sdr_db


def test_si_sdr_of_scaled_and_orthogonal_signals(noise):
    time = np.arange(16_000) / 16_000
    sine, cosine = np.sin(2 * np.pi * 440 * time), np.cos(2 * np.pi * 440 * time)
    assert si_sdr_db(sine, np.float32(0.3) * sine).min() > 60
    assert si_sdr_db(sine, cosine).max() < -60
    # target plus an orthogonal signal of a tenth of its energy: 10 dB by definition
    np.testing.assert_allclose(si_sdr_db(sine, -2 * (sine + np.sqrt(0.1) * cosine)), 10, atol=1e-6)


def test_spectral_snr_of_a_scaled_copy(noise):
    scores = metrics.separation_scores(noise, 1.1 * noise)
    np.testing.assert_allclose(scores.spectral_snr_db, 20, atol=1e-6)
    assert scores.spectral_si_snr_db.min() > 60


def test_mel_cepstral_distance_equals_librosa(noise):
    target, estimate = noise[:, :16_000]

    def cepstrum(audio):
        mel = librosa.feature.melspectrogram(
            y=audio,
            sr=16_000,
            n_fft=512,
            hop_length=256,
            n_mels=128,
            htk=True,
            norm=None,
            pad_mode="reflect",
        )
        return scipy.fft.dct(np.log(mel + 1e-6), axis=0, norm="ortho")[:13]

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Empty filters detected")
        expected = np.linalg.norm(cepstrum(target) - cepstrum(estimate), axis=0).mean()
        bank = librosa.filters.mel(
            sr=16_000, n_fft=512, n_mels=128, htk=True, norm=None, dtype=np.float64
        )
    np.testing.assert_allclose(metrics.mel_filterbank(), bank, atol=1e-9)
    value = metrics.separation_scores(target, estimate).mel_cepstral_distance
    np.testing.assert_allclose(value, [expected], rtol=1e-5)


def test_silence_is_undefined_and_counted(noise):
    target = noise.copy()
    estimate = 0.5 * noise[::-1]
    target[0, :16_000] = 0
    estimate[1, 16_000:32_000] = 0
    scores = metrics.separation_scores(target, estimate)
    for score in scores:
        np.testing.assert_array_equal(np.isnan(score), [[True, False, False], [False, True, False]])
    result = summary.summarise(scores.si_sdr_db)
    assert (result.frames, result.undefined) == (4, 2)
    assert result.mean == pytest.approx(np.nanmean(scores.si_sdr_db))
    counted = summary.summarise(scores.si_sdr_db, undefined_as=-30.0)
    assert (counted.frames, counted.undefined) == (6, 2)
    assert counted.mean == pytest.approx((4 * result.mean - 60) / 6)
    kept = summary.summarise(scores.si_sdr_db, keep=~np.isnan(scores.si_sdr_db))
    assert (kept.frames, kept.undefined) == (4, 0)


def test_last_second_may_be_short(noise):
    whole = metrics.separation_scores(noise[:, :32_000], noise[::-1, :32_000])
    longer = metrics.separation_scores(noise, noise[::-1])
    assert longer.si_sdr_db.shape == (2, 3)
    np.testing.assert_allclose(longer.si_sdr_db[:, :2], whole.si_sdr_db)
    np.testing.assert_allclose(
        longer.si_sdr_db[:, 2], si_sdr_db(noise[:, 32_000:], noise[::-1, 32_000:])[:, 0]
    )


def test_energy_is_the_sum_of_squares(noise):
    energy = metrics.frame_energy(noise)
    np.testing.assert_allclose(energy.sum(axis=-1), (noise**2).sum(axis=-1))
    assert energy.shape == (2, 3)


def test_bootstrap_covers_the_mean_about_as_often_as_it_says():
    generator = np.random.default_rng(5)
    config = EvaluationConfig(bootstrap_resamples=300)
    hits = 0
    for _ in range(200):
        # frames of one excerpt share a level: an interval over frames would be far too narrow
        values = generator.standard_normal((30, 1)) + 0.1 * generator.standard_normal((30, 8))
        low, high = summary.bootstrap_interval(values, config)
        hits += low <= 0 <= high
    assert 0.88 < hits / 200 < 0.99


def test_statistics_of_nothing_are_undefined():
    result = summary.summarise(np.full((3, 4), np.nan))
    assert np.isnan(result.mean)
    assert (result.frames, result.undefined) == (0, 12)


def test_unequal_shapes_are_errors(noise):
    with pytest.raises(ValueError, match="differ in shape"):
        metrics.separation_scores(noise, noise[:, :-1])
    with pytest.raises(ValueError, match="empty"):
        metrics.frame_energy(np.zeros((2, 0)))
