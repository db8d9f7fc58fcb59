"""Rows of models, scores that are kept, and evaluations that go on where they were stopped."""

import hashlib
import json
import os

import numpy as np
import pytest
from small_engine import F0_HZ, small_engine

from umss_jax import api
from umss_jax.config import Assigner
from umss_jax.data.excerpts import Excerpt
from umss_jax.evaluate import protocol as evaluation
from umss_jax.evaluate import rows as evaluation_rows
from umss_jax.evaluate.config import EvaluationConfig, F0Source, F0Windows
from umss_jax.evaluate.rows import Estimate, Row, baseline_rows, label_and_name, model_rows
from umss_jax.evaluate.run import Measures, run_evaluation
from umss_jax.weights.store import StoredWeights


@pytest.fixture(scope="module")
def excerpts():
    """Steady tones of 4 s, one of them silent for a second in the second excerpt."""
    time_s = np.arange(64_000) / 16_000
    sources = 0.2 * np.sin(2 * np.pi * F0_HZ[:, None] * time_s).astype(np.float32)
    quiet = sources.copy()
    quiet[0, :16_000] = 0
    tracks = np.repeat(F0_HZ[:, None], 250, axis=1)
    return [
        Excerpt(name, song, 0.0, voices.sum(axis=0), voices, tracks)
        for name, song, voices in (("loud", "one", sources), ("quiet", "other", quiet))
    ]


class Counting:
    """An estimator that knows how often it was asked, and may end the run."""

    def __init__(self, most=100, f0=True):
        self.asked, self.most, self.f0 = [], most, f0

    def __call__(self, excerpt):
        if len(self.asked) == self.most:
            raise KeyboardInterrupt
        self.asked.append(excerpt.name)
        noise = np.random.default_rng(len(excerpt.name)).standard_normal(excerpt.sources.shape)
        stems = excerpt.sources + 0.01 * noise
        stems[3, 16_000:32_000] = 0
        return Estimate(stems, excerpt.f0_hz_synth * 1.01 if self.f0 else None)


def row(estimator, **identity):
    return Row("model", {"row": "model", **identity}, estimator)


def same(one, other):
    for left, right in zip(one, other, strict=True):
        assert left.label == right.label
        assert left.songs == right.songs
        for name, values in left.stems.measures().items():
            np.testing.assert_array_equal(values, right.stems.measures()[name])
        assert repr(left.stems.summary) == repr(right.stems.summary)
        assert (left.f0 is None) == (right.f0 is None)
        if left.f0:
            assert repr(left.f0.summary) == repr(right.f0.summary)
            np.testing.assert_array_equal(left.f0.kept, right.f0.kept)
            np.testing.assert_array_equal(left.f0.multi_pitch, right.f0.multi_pitch)


def test_it_is_the_evaluation_of_each_row(excerpts):
    (result,) = run_evaluation(excerpts, [row(Counting())])
    stems = evaluation.evaluate_stems(excerpts, lambda excerpt: Counting()(excerpt).stems)
    np.testing.assert_array_equal(result.stems.scores, stems.scores)
    assert result.stems.summary == stems.summary
    tracks = evaluation.evaluate_f0(excerpts, lambda excerpt: excerpt.f0_hz_synth * 1.01)
    assert result.f0.summary == tracks.summary
    assert result.songs == ("one", "other")


def test_a_killed_run_goes_on(excerpts, tmp_path):
    measures = Measures(bss=True, config=EvaluationConfig(bss_filter_samples=16))
    whole = run_evaluation(excerpts, [row(Counting())], measures)
    killed = Counting(most=1)
    with pytest.raises(KeyboardInterrupt):
        run_evaluation(excerpts, [row(killed)], measures, tmp_path)
    (file,) = tmp_path.iterdir()
    with open(file, "a") as lines:
        lines.write('{"excerpt": "quiet", "content')  # a line that was being written
    again = Counting()
    same(run_evaluation(excerpts, [row(again)], measures, tmp_path), whole)
    assert again.asked == ["quiet"]
    assert np.isnan(whole[0].stems.scores.si_sdr_db).sum() == 3
    once_more = Counting(most=0)
    same(run_evaluation(excerpts, [row(once_more)], measures, tmp_path), whole)


def test_what_scores_depend_on_is_scored_anew(excerpts, tmp_path):
    def asked(excerpts=excerpts, measures=Measures(), **identity):  # noqa: B008
        estimator = Counting()
        run_evaluation(excerpts, [row(estimator, **identity)], measures, tmp_path)
        return estimator.asked

    assert asked(weights="a") == ["loud", "quiet"]
    assert asked(weights="a") == []
    assert asked(weights="b") == ["loud", "quiet"]
    assert asked(weights="a", measures=Measures(f0_windows=F0Windows.EXCERPT)) == ["loud", "quiet"]
    # how they are summed up is not among it
    assert asked(weights="a", measures=Measures(undefined_as=-30.0)) == []
    changed = [excerpts[0], excerpts[1]._replace(mixture=excerpts[1].mixture * 0.5)]
    assert asked(changed, weights="a") == ["quiet"]
    moved = [excerpts[0], excerpts[1]._replace(f0_hz_synth=excerpts[1].f0_hz_synth + 1)]
    assert asked(moved, weights="a") == ["quiet"]


def in_a_folder(file, rng):
    file.unlink()
    file.mkdir()


def in_a_pipe(file, rng):
    file.unlink()
    os.mkfifo(file)


def other_text(file, rng):
    file.write_text("{}\nnothing\n" + "[" * 100_000 + "\n[]\n3\n")


def other_values(file, rng):
    lines = file.read_text().splitlines()
    wrong = ["[" * 50_000, "[]", "3", '"a"', "null", '{"excerpt": []}', '{"excerpt": "quiet"}']
    file.write_text("\n".join([lines[0], *wrong, lines[2]]) + "\n")


def sealed(record):
    """A line whose hash fits, whatever it holds."""
    content = {key: value for key, value in record.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
    return json.dumps({**content, "sha256": digest}) + "\n"


def other_shapes(file, rng):
    about, *records = map(json.loads, file.read_text().splitlines())
    for record in records:
        record["stems"]["energy"] = record["stems"]["energy"][:2]
    file.write_text("".join(map(sealed, (about, *records))))


def cut(file, rng):
    os.truncate(file, int(rng.integers(file.stat().st_size)))


def flipped(file, rng):
    content = bytearray(file.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [in_a_folder, in_a_pipe, other_text, other_values, other_shapes, cut, flipped]
)
def test_a_damaged_file_of_scores_mends_itself(excerpts, tmp_path, damage):
    whole = run_evaluation(excerpts, [row(Counting(f0=False))], keep=tmp_path)
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text().splitlines()[0])["row"] == "model"
    rng = np.random.default_rng(3)
    for _ in range(12 if damage in (cut, flipped) else 1):
        damage(file, rng)
        same(run_evaluation(excerpts, [row(Counting(f0=False))], keep=tmp_path), whole)
        once_more = Counting(most=0, f0=False)
        same(run_evaluation(excerpts, [row(once_more)], keep=tmp_path), whole)


def test_scores_that_cannot_be_kept_are_given_all_the_same(excerpts, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    whole = run_evaluation(excerpts, [row(Counting())])
    same(run_evaluation(excerpts, [row(Counting())], keep=tmp_path / "file" / "scores"), whole)
    (line,) = caplog.messages
    assert "scores are not kept" in line


def test_baselines(excerpts):
    labels = [one.label for one in baseline_rows(with_f0=True)]
    assert labels == ["mixture", "ideal ratio masks", "comb, reference F0"]
    assert [one.label for one in baseline_rows(with_f0=False)] == labels[:2]
    results = run_evaluation(excerpts, baseline_rows(with_f0=True))
    means = [one.stems.summary["si_sdr_db"].mean for one in results]
    assert means[0] < means[2] < means[1]
    assert all(one.f0 is None for one in results)


@pytest.fixture
def known_pitch(monkeypatch):
    """A model of a few units in place of the store's."""
    engine = small_engine()
    calls = []
    run = engine.separated

    def counted(*arguments):
        calls.append(len(arguments))
        return run(*arguments)

    engine.separated = counted
    stored = StoredWeights(engine.variables, engine.config, {})
    monkeypatch.setattr(evaluation_rows, "load_weights", lambda name: stored)

    def load(name, assigner, chain):
        used = Assigner.HEURISTIC if assigner == "auto" else assigner
        object.__setattr__(engine, "assigner", used)  # engines are frozen
        return api.Separator(engine)

    monkeypatch.setattr(api, "load", load)
    return calls


def test_a_model_gives_its_stems_and_the_comb_on_its_f0(known_pitch, excerpts):
    rows = model_rows("some=thing", Assigner.HEURISTIC)
    assert [one.label for one in rows] == ["some", "comb, F0 of some (heuristic)"]
    # The assigner that was used counts, however it was asked for.
    asked_auto = model_rows("some=thing", Assigner.AUTO)
    assert [one[:2] for one in asked_auto] == [one[:2] for one in rows]
    model, comb = run_evaluation(excerpts[:1], rows)
    assert known_pitch == [2], "the model is asked once for both rows"
    assert model.f0.summary["raw_pitch_accuracy"].mean == 1
    assert comb.f0.summary == model.f0.summary
    np.testing.assert_array_equal(
        comb.stems.scores, run_evaluation(excerpts[:1], baseline_rows(True))[2].stems.scores
    )


def test_oracle_f0_conditions_the_voices(known_pitch, excerpts):
    mix, oracle, _ = model_rows("small", Assigner.HEURISTIC, [F0Source.MIX, F0Source.ORACLE])
    assert oracle.label == "small, reference F0"
    assert oracle.identity != mix.identity
    (excerpt, _) = excerpts
    np.testing.assert_array_equal(oracle.estimate(excerpt).stems, mix.estimate(excerpt).stems)
    assert oracle.estimate(excerpt).f0_hz_synth is None
    higher = excerpt._replace(f0_hz_synth=excerpt.f0_hz_synth * 1.5)
    assert np.abs(oracle.estimate(higher).stems - mix.estimate(higher).stems).max() > 0.01
    assert [one.label for one in model_rows("small", Assigner.HEURISTIC, [F0Source.ORACLE])] == [
        "small, reference F0"
    ]
    with pytest.raises(ValueError, match="no reference F0"):
        oracle.estimate(excerpt._replace(f0_hz_synth=None))


def test_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert label_and_name("published") == ("published", "published")
    assert label_and_name("W_UP=runs/w_up/weights.safetensors") == (
        *("W_UP", "runs/w_up/weights.safetensors"),
    )
    run = "runs/w_up/weights.safetensors"
    assert label_and_name(run) == ("w_up", run)
    assert label_and_name("models/best.safetensors") == ("best", "models/best.safetensors")
