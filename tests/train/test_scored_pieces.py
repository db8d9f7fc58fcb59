"""F0 of training examples by the scores beside their recordings."""

import numpy as np
import pytest
import soundfile
from scored_engine import ROWS, SECONDS, ScoredEngine, noise
from sung_score import piece, write_midi

from umss_jax.config import Assigner, AudioConfig, ModelConfig
from umss_jax.data.config import DataConfig, SetConfig
from umss_jax.data.mixes import open_sets
from umss_jax.data.piece_scores import score_of
from umss_jax.data.pieces import find_pieces, open_pieces
from umss_jax.errors import DatasetError, UsageError
from umss_jax.train.f0_cache import AnalysisCache
from umss_jax.train.inputs import Inputs, fingerprint
from umss_jax.train.scored_pieces import scored_pieces
from umss_jax.train.settings import build_run

AUDIO = AudioConfig()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A mixture with a score, and one without."""
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    place = tmp_path / "set"
    place.mkdir()
    for name, sound in (("sung", noise()), ("other", 0.5 * noise())):
        soundfile.write(place / f"{name}.wav", sound, 16_000, subtype="FLOAT")
    write_midi(place / "sung.mid", ROWS)
    return place


def accuracy(f0_hz, true_hz):
    voiced = true_hz > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        return (np.abs(1200 * np.log2(f0_hz / true_hz))[voiced] < 25).mean()


def test_examples_have_the_f0_of_the_score(folder):
    engine = ScoredEngine()
    sets = SetConfig((str(folder),))
    mixes, excerpts = open_sets(
        DataConfig(SetConfig((str(folder),), ("sung",)), sets),
        *(0, False, AUDIO),
        complete=lambda pieces: scored_pieces(
            [one for one in pieces if one.piece.name == "sung" or len(pieces) > 1], ScoredEngine()
        ),
    )
    known = {one.name: one.f0_hz_synth for one in excerpts}
    assert any(f0 is None for name, f0 in known.items() if name.startswith("other"))
    for example in (mixes.example(0), mixes.example(1)):
        start = round(float(example.name.split(" at ")[1].removesuffix(" s")) / 0.016)
        true = engine.true_f0_hz[:, start : start + AUDIO.synth_frames]
        assert example.f0_hz_synth.shape == (4, AUDIO.synth_frames)
        assert accuracy(example.f0_hz_synth[:, : true.shape[1]], true) > 0.9
    batch = mixes.batch(0, 3)
    cache = AnalysisCache({}, ModelConfig(), Assigner.HEURISTIC, keep=False)
    f0_hz = cache.batch(batch, "f0").f0_hz_synth
    np.testing.assert_array_equal(f0_hz, np.stack(batch.f0_hz_synth))
    assert len(engine.true_f0_hz) == 4
    assert AUDIO.example_samples / 16_000 < SECONDS


def test_which_score_is_a_piece_s(folder, tmp_path):
    pieces = {one.name: one for one, _ in find_pieces(SetConfig((str(folder),)))}
    assert score_of(pieces["sung"]) == folder / "sung.mid"
    assert score_of(pieces["other"]) is None
    (folder / "sung.MusicXML").write_text("")
    with pytest.raises(DatasetError, match="several scores"):
        score_of(pieces["sung"])
    stems = tmp_path / "stems" / "song"
    stems.mkdir(parents=True)
    for voice in ("soprano", "alto", "tenor", "bass"):
        soundfile.write(stems / f"{voice}.wav", noise()[: 5 * 16_000], 16_000)
    write_midi(stems / "Score.midi", ROWS)
    ((whole, _),) = find_pieces(SetConfig((str(tmp_path / "stems"),)))
    assert score_of(whole) == stems / "Score.midi"


def test_a_score_of_another_piece_is_refused(folder):
    write_midi(folder / "sung.mid", piece(60, seed=9))
    pieces = open_pieces(find_pieces(SetConfig((str(folder),), ("sung",))), AUDIO)
    with pytest.raises(DatasetError, match="leave sung out"):
        scored_pieces(pieces, ScoredEngine())


def test_scores_count_among_what_a_run_learns_from(folder):
    sets = {"train": SetConfig((str(folder),))}
    without, with_scores = (
        fingerprint(Inputs(sets, "", with_scores=asked)) for asked in (False, True)
    )
    assert set(with_scores) - set(without) == {"train[0]/sung.mid"}


def test_scores_are_for_strategies_that_take_f0():
    assert build_run({}, ["strategy=umss", "data.scores=true"]).data.scores
    with pytest.raises(UsageError, match=r"data\.scores is of no use with strategy w_up"):
        build_run({}, ["strategy=w_up", "data.scores=true"])
