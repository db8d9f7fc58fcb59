"""Scores sung without sound, and the saliences drawn from them."""

from dataclasses import replace

import numpy as np
import pytest

from umss_jax.config import HcqtConfig
from umss_jax.data.config import DrawnSalienceConfig, SungScoreConfig
from umss_jax.data.drawn_saliences import BlendedSaliences, DrawnSaliences
from umss_jax.data.sung_scores import open_scores, sung_pitch, wander
from umss_jax.errors import DatasetError, UsageError
from umss_jax.scores.notes import part_of
from umss_jax.train.inputs import Inputs, fingerprint
from umss_jax.train.settings import build_pretraining

GRID = HcqtConfig()
FRAME_S = GRID.hop_samples / GRID.sample_rate_hz
MIDI = (72.0, 65.0, 58.0, 50.0)
EXACT = SungScoreConfig(
    onset_s=0.0, gap_probability=0.0, vibrato_semitones=0.0, drift_semitones=0.0,
    together_probability=(0.0, 0.0, 0.0), note_s=(0.5, 0.5),
)  # fmt: skip


def score(notes=40):
    """Every voice repeats its note for one beat after one beat of rest."""
    rows = [(2 * n, 2 * n + 1, n, n + 0.5, 0, 0, 0) for n in range(notes)]
    return tuple(
        part_of(f"part {voice}", [(*row[:4], midi, 0, 0) for row in rows])
        for voice, midi in enumerate(MIDI)
    )


def sung(config=EXACT, seed=0, frames=200):
    return sung_pitch([score()], np.random.default_rng(seed), frames, FRAME_S, config)


def test_what_is_sung_is_what_is_written():
    pitch = sung()
    apart = np.diff(pitch, axis=0)[:, (pitch > 0).all(axis=0)]
    np.testing.assert_allclose(apart, np.diff(MIDI)[:, None] + 0 * apart, atol=1e-9)
    assert np.all((pitch > 0) == (pitch[0] > 0))  # all rest together
    assert 0.4 < (pitch > 0).mean() < 0.6
    edges = np.flatnonzero(np.diff(pitch[0] > 0))
    np.testing.assert_allclose(np.diff(edges) * FRAME_S, 0.5, atol=1.01 * FRAME_S)


def test_key_and_tuning_differ_within_the_voices_reach():
    config = replace(EXACT, note_s=(0.2, 0.9))
    means = []
    for seed in range(30):
        pitch = sung(config, seed)
        means.append([voice[voice > 0].mean() for voice in pitch])
        assert np.all(np.asarray(means[-1]) > np.asarray(config.lowest_mean_midi) - 0.5)
        assert np.all(np.asarray(means[-1]) < np.asarray(config.highest_mean_midi) + 0.5)
    assert np.std(means, axis=0).min() > 0.5


@pytest.mark.parametrize(
    ("kind", "pairs"), [(1, {0, 12}), (2, {0, 12}), (3, {0, 12})], ids=["unison", "all", "octaves"]
)
def test_voices_sing_together_where_they_are_asked_to(kind, pairs):
    shares = [0.0, 0.0, 0.0]
    shares[kind - 1] = 1.0
    config = replace(
        EXACT, together_probability=tuple(shares), passing_probability=0.0, unison_semitones=0.0,
        lowest_midi=(0.0,) * 4, highest_midi=(127.0,) * 4,
    )  # fmt: skip
    apart = set()
    for seed in range(12):
        pitch = sung(config, seed)[:, :]
        now = pitch[:, (pitch > 0).all(axis=0)][:, 0]
        steps = {round(abs(a - b), 6) for n, a in enumerate(now) for b in now[:n]}
        assert steps & pairs
        apart |= steps
    assert (0 in apart) == (kind != 3)


def test_no_score_in_reach_is_refused():
    low = tuple(part._replace(pitch=part.pitch - 40) for part in score())
    with pytest.raises(DatasetError, match="no score lies where"):
        sung_pitch([low], np.random.default_rng(0), 10, FRAME_S, EXACT)


def test_a_walk_has_variance_one_and_the_memory_that_is_asked():
    walk = wander(np.random.default_rng(1), 200_000, 12.0)
    assert walk.var() == pytest.approx(1.0, abs=0.03)
    assert np.corrcoef(walk[:-12], walk[12:])[0, 1] == pytest.approx(np.exp(-1), abs=0.03)


def examples(config=DrawnSalienceConfig(), seed=3):
    return DrawnSaliences([score()], seed, 120, config, grid=GRID)


def test_an_example_is_a_function_of_seed_and_index():
    one, again, other = examples().example(5), examples().example(5), examples().example(6)
    np.testing.assert_array_equal(one.salience, again.salience)
    np.testing.assert_array_equal(one.f0_hz_cqt, again.f0_hz_cqt)
    assert not np.array_equal(one.salience, other.salience)
    assert one.salience.shape == (GRID.bins, 120)
    assert one.salience.min() >= 0
    assert one.salience.max() < 1


def test_without_faults_peaks_stand_at_the_pitches():
    plain = DrawnSalienceConfig(
        sung=EXACT, voices_probability=(0.0, 0.0, 0.0, 1.0), peak_logit=20.0, example_logit=0.0,
        voice_logit=0.0, note_logit=0.0, frame_logit=0.0, offset_bins=0.0, ghost_probability=0.0,
        dropout_probability=0.0, width_bins=(1.0, 1.0),
    )  # fmt: skip
    example = examples(plain).example(0)
    frames = np.flatnonzero((example.f0_hz_cqt > 0).all(axis=0))
    assert len(frames) > 10
    places = 60 * np.log2(example.f0_hz_cqt[:, frames] / GRID.fmin_hz)
    for voice in places:
        at = np.round(voice).astype(int)
        assert example.salience[at, frames].min() > 0.8
    middle = np.round(places[:2].mean(axis=0)).astype(int)
    assert example.salience[middle, frames].max() < 1e-6


def test_a_share_is_drawn_and_the_rest_heard():
    class Heard:
        def example(self, index):
            return examples().example(index)._replace(salience=np.full((360, 120), -1, np.float32))

    for share, expected in ((0.0, 0.0), (1.0, 1.0), (0.75, 0.75)):
        batch = BlendedSaliences(examples(), Heard(), share, seed=2).batch(0, 60)
        assert (batch.salience.max(axis=(1, 2)) >= 0).mean() == pytest.approx(expected, abs=0.15)


def test_folders_give_the_scores_that_have_four_parts(tmp_path):
    mido = pytest.importorskip("mido")
    for name, parts in (("four", 4), ("two", 2)):
        file = mido.MidiFile()
        for voice in range(parts):
            track = mido.MidiTrack()
            for _ in range(4):
                track.append(mido.Message("note_on", note=70 - 7 * voice, velocity=64, time=0))
                track.append(mido.Message("note_off", note=70 - 7 * voice, velocity=64, time=480))
            file.tracks.append(track)
        file.save(tmp_path / f"{name}.mid")
    (tmp_path / "broken.mid").write_bytes(b"MThd")
    (scores,) = open_scores(tmp_path)
    assert [part.pitch[0] for part in scores] == [70, 63, 56, 49]
    (tmp_path / "four.mid").unlink()
    with pytest.raises(DatasetError, match="holds no score in four parts"):
        open_scores(tmp_path)


def test_a_run_notices_that_its_scores_have_changed(tmp_path):
    (tmp_path / "below").mkdir()
    score = tmp_path / "below" / "one.mid"
    score.write_bytes(b"one")
    (tmp_path / "notes.txt").write_bytes(b"of no matter")
    inputs = Inputs({}, "", drawn=str(tmp_path))
    before = fingerprint(inputs)
    assert list(before) == ["drawn/below/one.mid"]
    score.write_bytes(b"another")
    assert fingerprint(inputs) != before
    assert fingerprint(inputs._replace(drawn="")) == {}


def test_scores_in_four_parts_teach_no_other_voices():
    settings = {"model": {"voices": "ttbb"}, "drawn": {"folder": "scores"}}
    with pytest.raises(UsageError, match=r"drawn.folder is of soprano.*model.voices tenor1"):
        build_pretraining(settings)
    assert build_pretraining({"drawn": {"folder": "scores"}}).drawn.folder == "scores"
