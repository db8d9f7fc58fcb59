"""Metrics of F0 are mir_eval's, of every voice of a batch."""

import warnings

import mir_eval
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umss_jax.evaluate.pitch_metrics import melody_scores, multi_pitch_scores

FREQUENCY = st.one_of(st.just(0.0), st.floats(60.0, 1500.0))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(FREQUENCY, FREQUENCY), min_size=1, max_size=12))
def test_melody_equals_mir_eval(pairs):
    reference, estimate = np.array(pairs).T.copy()
    times = np.arange(len(reference)) * 0.016
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval warns where nothing is voiced
        voicing = mir_eval.melody.to_cent_voicing(times, reference, times, estimate)
        ref_voicing, _, est_voicing, _ = voicing
        expected = (
            mir_eval.melody.overall_accuracy(*voicing),
            mir_eval.melody.raw_pitch_accuracy(*voicing),
            mir_eval.melody.raw_chroma_accuracy(*voicing),
            mir_eval.melody.voicing_recall(ref_voicing, est_voicing),
            mir_eval.melody.voicing_false_alarm(ref_voicing, est_voicing),
        )
    np.testing.assert_allclose(melody_scores(reference, estimate), expected, atol=1e-6)


def test_melody_of_a_batch_is_that_of_its_parts():
    generator = np.random.default_rng(1)
    reference = generator.uniform(100, 400, (3, 4, 62)) * (generator.random((3, 4, 62)) > 0.2)
    estimate = reference * generator.choice([0, 1, 1.01, 2, 1.05], (3, 4, 62))
    together = melody_scores(reference, estimate)
    for i, j in np.ndindex(3, 4):
        alone = melody_scores(reference[i, j], estimate[i, j])
        np.testing.assert_allclose([score[i, j] for score in together], alone)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(FREQUENCY, max_size=4), st.lists(FREQUENCY, max_size=5)),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
)
def test_multi_pitch_equals_mir_eval(frames, close):
    reference = np.zeros((len(frames), 4))
    estimate = np.zeros((len(frames), 5))
    for row, (wanted, given_) in enumerate(frames):
        reference[row, : len(wanted)] = wanted
        estimate[row, : len(given_)] = given_
    if close:  # estimates within a semitone of the references, where matchings compete
        estimate[:, :4] = reference * 1.02
        reference[:, 3] = reference[:, 2] * 1.03
    times = np.arange(len(frames)) * 0.01
    lists = [[row[row > 0] for row in pitches] for pitches in (reference, estimate)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval warns where nothing is given
        expected = mir_eval.multipitch.metrics(times, lists[0], times, lists[1], min_freq=20)[:3]
    scores = multi_pitch_scores(reference, estimate)
    np.testing.assert_allclose(scores[:3], expected, atol=1e-6)
    total = expected[0] + expected[1]
    f_measure = 2 * expected[0] * expected[1] / total if total else 0.0
    assert scores.f_measure == pytest.approx(f_measure, abs=1e-6)


def test_unequal_shapes_are_errors():
    with pytest.raises(ValueError, match="must be equal"):
        melody_scores(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="frames of reference"):
        multi_pitch_scores(np.zeros((3, 4)), np.zeros((4, 4)))
