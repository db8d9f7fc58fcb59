"""The protocol on quartet 4: figures that were measured independently of this package."""

import jax
import numpy as np
import pytest

from umss_jax.config import AudioConfig, ModelConfig
from umss_jax.data import excerpts
from umss_jax.data.excerpts import Excerpt
from umss_jax.dsp.masks import soft_mask_stems
from umss_jax.evaluate import protocol as evaluation
from umss_jax.evaluate.baselines import (
    comb_magnitudes,
    comb_masks,
    harmonic_comb,
    ideal_ratio_masks,
    unprocessed,
)
from umss_jax.model import analyse
from umss_jax.pitch.continuity import heuristic_f0_synth
from weights_convert.convert import import_published


@pytest.fixture(scope="module")
def quartet4(shared):
    root = shared / "datasets" / "ChoralSingingDataset"
    return list(excerpts.csd_excerpts(root, (excerpts.NINO_DIOS,), audio=AudioConfig()))


@pytest.fixture
def synthetic():
    """Two excerpts of 2.5 s: steady tones, one voice silent in the first second of the second."""
    time = np.arange(40_000) / 16_000
    f0_hz = np.array([440.0, 330.0, 220.0, 110.0])
    sources = 0.2 * np.sin(2 * np.pi * f0_hz[:, None] * time).astype(np.float32)
    quiet = sources.copy()
    quiet[3, :16_000] = 0
    tracks = np.repeat(f0_hz[:, None], 156, axis=1).astype(np.float32)
    return [
        Excerpt(name, "song", 0.0, voices.sum(axis=0), voices, tracks)
        for name, voices in (("loud", sources), ("quiet", quiet))
    ]


def test_every_voice_and_second_is_scored_and_the_energy_rule_kept(synthetic):
    result = evaluation.evaluate_stems(synthetic, ideal_ratio_masks)
    assert result.names == ("loud", "quiet")
    assert result.scores.si_sdr_db.shape == (2, 4, 3)
    expected = np.ones((2, 4, 3), bool)
    expected[1, 3, 0] = False
    np.testing.assert_array_equal(result.kept, expected)
    summary = result.summary["si_sdr_db"]
    assert (summary.frames, summary.undefined) == (23, 0)
    assert summary.mean == pytest.approx(result.scores.si_sdr_db[expected].mean())
    assert summary.mean_low <= summary.mean <= summary.mean_high
    assert summary.mean > 20


def test_silent_stems_are_counted_not_dropped(synthetic):
    def one_voice_missing(excerpt):
        return np.concatenate([excerpt.sources[:3], np.zeros_like(excerpt.sources[:1])])

    result = evaluation.evaluate_stems(synthetic, one_voice_missing)
    assert (result.summary["si_sdr_db"].frames, result.summary["si_sdr_db"].undefined) == (18, 5)
    counted = evaluation.evaluate_stems(synthetic, one_voice_missing, undefined_as=-30.0)
    assert (counted.summary["si_sdr_db"].frames, counted.summary["si_sdr_db"].undefined) == (23, 5)
    assert counted.summary["mel_cepstral_distance"].frames == 18


def test_windows():
    windows = evaluation.f0_windows(250, "second")
    assert windows == [slice(0, 63), slice(63, 125), slice(125, 188), slice(188, 250)]
    assert evaluation.f0_windows(250, "reference") == [slice(n, 62 * (n + 1)) for n in range(4)]
    assert evaluation.f0_windows(250, "excerpt") == [slice(0, 250)]
    with pytest.raises(ValueError, match="expected second, excerpt or reference"):
        evaluation.f0_windows(250, "hour")


def test_f0_floor_is_unvoiced(synthetic):
    def floored(excerpt):
        return np.maximum(excerpt.f0_hz_synth * np.array([[1], [1], [1], [0]]), 1e-5)

    scores = evaluation.evaluate_f0(synthetic, floored).scores
    np.testing.assert_array_equal(scores.voicing_recall[:, 3], 0)
    np.testing.assert_array_equal(scores.overall_accuracy[:, :3], 1)


def test_an_octave_error_keeps_its_chroma(synthetic):
    result = evaluation.evaluate_f0(synthetic, lambda excerpt: 2 * excerpt.f0_hz_synth, "excerpt")
    assert result.scores.raw_pitch_accuracy.shape == (2, 4, 1)
    assert result.summary["raw_pitch_accuracy"].mean == 0
    assert result.summary["raw_chroma_accuracy"].mean == 1
    # doubled bass and tenor fall on what tenor and soprano sing
    np.testing.assert_allclose(result.multi_pitch.precision, 0.5)


def test_wrong_shapes_are_errors(synthetic):
    with pytest.raises(ValueError, match="loud: stems"):
        evaluation.evaluate_stems(synthetic, lambda excerpt: excerpt.mixture)
    with pytest.raises(ValueError, match="loud: F0 tracks"):
        evaluation.evaluate_f0(synthetic, lambda excerpt: excerpt.f0_hz_synth[:3])
    with pytest.raises(ValueError, match="no excerpts"):
        evaluation.evaluate_stems([], unprocessed)
    without = [synthetic[0]._replace(f0_hz_synth=None)]
    with pytest.raises(ValueError, match="no reference F0"):
        evaluation.evaluate_f0(without, lambda excerpt: None)


def test_comb_is_the_sum_of_all_lobes():
    f0_hz = np.array([[100.0, 0.0], [437.0, 2000.0]], np.float32)
    value = comb_magnitudes(f0_hz)
    assert value.shape == (2, 1025, 3)
    bins_hz = np.arange(1025) * 16_000 / 2048
    for voice, frame in ((0, 0), (1, 0), (1, 1)):
        hz = float(f0_hz[voice, frame])
        k = np.arange(1, int(np.ceil(8000 / hz)))
        lobes = np.exp(-0.5 * ((bins_hz[:, None] - k * hz) / 30) ** 2)
        # 6 dB per octave, not 6.02
        expected = (lobes * 10 ** (-6 / 20 * np.log2(k))).sum(axis=1)
        np.testing.assert_allclose(value[voice, :, frame], expected, atol=1e-6)
    np.testing.assert_array_equal(value[0, :, 1], 0)
    np.testing.assert_array_equal(value[..., 2], value[..., 1])


def test_comb_masks_are_shares():
    masks = np.asarray(comb_masks(np.array([[100.0], [150.0]], np.float32)))
    assert masks.min() >= 0
    total = masks.sum(axis=0)
    assert total.max() <= 1 + 1e-6
    assert np.mean(total > 0.999) > 0.9


@pytest.mark.slow
def test_ceiling_floor_and_comb_on_quartet_4(quartet4):
    def mean(estimator):
        result = evaluation.evaluate_stems(quartet4, estimator)
        summary = result.summary["si_sdr_db"]
        assert (summary.frames, summary.undefined, (~result.kept).sum()) == (376, 0, 8)
        return summary

    assert mean(ideal_ratio_masks).mean == pytest.approx(10.56, abs=0.05)
    assert mean(unprocessed).mean == pytest.approx(-5.64, abs=0.05)
    comb = mean(harmonic_comb())
    assert comb.mean == pytest.approx(3.63, abs=0.2)
    assert comb.median == pytest.approx(4.78, abs=0.2)


@pytest.mark.slow
def test_published_f0_networks_and_heuristic_on_quartet_4(shared, quartet4):
    config = ModelConfig()
    variables = import_published(shared / "weights").variables
    run = jax.jit(lambda mixture: analyse(variables, mixture[None], config))
    analyses = {excerpt.name: run(excerpt.mixture) for excerpt in quartet4}

    result = evaluation.evaluate_f0(
        quartet4, lambda excerpt: analyses[excerpt.name].f0_hz_synth[0], "excerpt"
    )
    published = {
        "overall_accuracy": 0.640,
        "raw_pitch_accuracy": 0.661,
        "raw_chroma_accuracy": 0.678,
    }
    for name, value in published.items():
        assert result.summary[name].mean == pytest.approx(value, abs=0.01), name

    def heuristic(excerpt):
        return heuristic_f0_synth(np.asarray(analyses[excerpt.name].salience[0]))

    heuristics = evaluation.evaluate_f0(quartet4, heuristic, "excerpt").summary
    assert heuristics["overall_accuracy"].mean == pytest.approx(0.835, abs=0.01)
    assert heuristics["raw_pitch_accuracy"].mean == pytest.approx(0.830, abs=0.01)
    stems = evaluation.evaluate_stems(quartet4, harmonic_comb(heuristic), undefined_as=-30.0)
    assert stems.summary["si_sdr_db"].mean == pytest.approx(2.74, abs=0.2)


def test_ideal_masks_equal_soft_masks_of_the_sources(synthetic):
    excerpt = synthetic[0]
    np.testing.assert_allclose(
        ideal_ratio_masks(excerpt),
        soft_mask_stems(excerpt.mixture, excerpt.sources),
        atol=1e-6,
    )
