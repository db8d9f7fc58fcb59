"""BSS-eval against mir_eval, and where it has no meaning."""

import warnings

import numpy as np
import pytest
import scipy.signal

from umss_jax.evaluate.bss import bss_scores
from umss_jax.evaluate.config import EvaluationConfig

SHORT = EvaluationConfig(frame_samples=4_000, bss_filter_samples=64)


def mir_eval_scores(target, estimate, **options):
    import mir_eval.separation as separation

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval says that it will drop this
        return separation.bss_eval_sources(target, estimate, compute_permutation=False, **options)


@pytest.fixture
def voices():
    """Two voices of coloured noise and their estimates: mixed, filtered, with noise added."""
    generator = np.random.default_rng(2)
    target = generator.standard_normal((2, 16_000))
    target[1] = scipy.signal.lfilter([1], [1, -0.9], target[1])
    estimate = scipy.signal.lfilter([1, 0.5, 0.2], [1], target, axis=-1)
    return target, estimate + 0.2 * target[::-1] + 0.1 * generator.standard_normal(target.shape)


def test_a_second_equals_mir_eval(voices):
    scores = bss_scores(*voices)
    expected = mir_eval_scores(*voices)[:3]
    np.testing.assert_allclose(np.stack(scores)[..., 0], expected, atol=1e-6)


def test_forgiven_filter_is_forgiven(voices):
    target, _ = voices
    delayed = np.roll(target, 10, axis=-1)
    delayed[:, :10] = 0
    assert bss_scores(target, delayed, SHORT).sdr_db.min() > 20
    far = np.roll(target, 100, axis=-1)
    assert bss_scores(target, far, SHORT).sdr_db.max() < 0


def test_of_mixtures_only_the_other_voice_interferes(voices):
    target, _ = voices
    scores = bss_scores(target, np.repeat(target.sum(axis=0, keepdims=True), 2, axis=0), SHORT)
    np.testing.assert_allclose(scores.sir_db, scores.sdr_db, atol=1e-3)
    assert scores.sar_db.min() > 60


def test_silence_is_undefined_and_leaves_the_others_as_they_are(voices):
    target, estimate = (np.array(one) for one in voices)
    target[0, :4_000] = 0
    estimate[1, 4_000:8_000] = 0
    scores = bss_scores(target, estimate, SHORT)
    for score in scores:
        np.testing.assert_array_equal(np.argwhere(np.isnan(score)), [[0, 0], [1, 1]])
    alone = bss_scores(target[1:, :4_000], estimate[1:, :4_000], SHORT)
    np.testing.assert_allclose([score[1, 0] for score in scores], np.ravel(alone))
    nothing = bss_scores(np.zeros((2, 4_000)), estimate[:, :4_000], SHORT)
    assert np.isnan(np.stack(nothing)).all()


def test_voices_that_cannot_be_told_apart_are_undefined(voices):
    target, estimate = voices
    ones = np.ones((2, 4_000))
    ones[:, 1:] = 0
    assert np.isnan(np.stack(bss_scores(ones, estimate[:, :4_000], SHORT))).all()
    with pytest.raises(ValueError, match="differ in shape"):
        bss_scores(target, estimate[:1])
