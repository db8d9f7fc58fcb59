"""Records of jobs, names of files, the folder they are in, and how much is left."""

import json

import pytest
from app_parts import write_song
from stub_engine import StubEngine

from umss_jax.app.jobs import Job, Outcome, Page, State, as_tree, from_tree, kept_name
from umss_jax.app.shelf import Shelf
from umss_jax.app.stages import FACTORS, Told, learnt, progress_of, stages_of
from umss_jax.app.work import Task, do, grouped
from umss_jax.config import VOICES, ModelConfig, with_voices
from umss_jax.voice_sets import parse_voices

OUTCOME = Outcome("made/starter/song", ("bass.flac",), (Page("listen-1.html", ""),), ("loud",))
JOB = Job("1-a", "song.m4a", 12.5, "song.mid", False, State.DONE, "", OUTCOME)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("choir.m4a", "choir.m4a"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Credo.wav", "Credo.wav"),
        ("/", "recording"),
        ("..", "__"),
        ("", "recording"),
        (".hidden.wav", "_hidden.wav"),
        ("CON.wav", "_CON.wav"),
        ("a\nb\x1b[31m.wav", "a b_[31m.wav"),
        ("x\0y.wav", "x_y.wav"),
        ('<img src=x onerror="a">.wav', "_img src=x onerror=_a__.wav"),
        ("name. . .", "name_____"),
        ("Gloria.Kyrie und mehr davon", "Gloria.Kyrie und mehr davon"),
    ],
)
def test_names_are_of_files_in_one_folder(sent, kept):
    assert kept_name(sent, "recording") == kept


@pytest.mark.parametrize("sent", ["é" * 300 + ".m4a", "𝄞" * 99 + ".flac", "a" * 400, "." * 300])
def test_long_names_are_cut_before_the_suffix(sent):
    kept = kept_name(sent, "recording")
    assert len(kept.encode()) <= 120
    if sent[-5:].count("."):
        assert kept.endswith(sent[sent.rindex(".") :]) or not sent.strip(".")


def test_a_record_comes_back_as_it_was():
    assert from_tree(json.loads(json.dumps(as_tree(JOB))), "1-a") == JOB
    waiting = JOB._replace(state=State.WAITING, outcome=None)
    assert from_tree(json.loads(json.dumps(as_tree(waiting))), "1-a") == waiting


@pytest.mark.parametrize(
    "change",
    [
        {"id": "2-b"},
        {"recording": "../song.m4a"},
        {"recording": ""},
        {"score": "a/b"},
        {"state": "lost"},
        {"added_s": "soon"},
        {"outcome": {**as_tree(JOB)["outcome"], "place": "../.."}},
        {"outcome": {**as_tree(JOB)["outcome"], "place": "/etc"}},
        {"outcome": {**as_tree(JOB)["outcome"], "files": ["../job.json"]}},
        {"outcome": {**as_tree(JOB)["outcome"], "pages": [{"file": "..", "label": ""}]}},
        {"outcome": 3},
    ],
)
def test_records_that_lead_elsewhere_are_none(change, tmp_path):
    tree = {**as_tree(JOB), **change}
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_tree(tree, "1-a")
    (tmp_path / "1-a").mkdir()
    (tmp_path / "1-a" / "job.json").write_text(json.dumps(tree))
    assert Shelf(tmp_path).load() == []


@pytest.mark.parametrize("state", list(State))
def test_what_had_not_ended_was_interrupted(state, tmp_path):
    shelf = Shelf(tmp_path)
    shelf.folder_of(JOB).mkdir()
    shelf.save(JOB._replace(state=state))
    ended = state not in (State.WAITING, State.RUNNING)
    assert shelf.load() == [JOB._replace(state=state if ended else State.INTERRUPTED)]


def test_foreign_folders_are_left_alone(tmp_path):
    for content in ("", "[]", "null", '{"id": 3}'):
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / "job.json").write_text(content)
        assert Shelf(tmp_path).load() == []


def test_seconds_left_are_of_this_stage_and_the_later_ones():
    factors = dict.fromkeys(FACTORS, 0.5)
    names = stages_of(has_score=False, practice=False)
    assert names[-3:] == ["separating", "writing stems", "making the page"]
    # half of 60 s took 10 s: 10 s more, and 30 s each for two later stages
    half = progress_of(Told("separating", 30.0, 60.0), 10.0, names, factors)
    assert half == ("separating", 0.5, 70.0)
    # nothing is done yet: what is known of earlier ones, less what has passed
    begun = progress_of(Told("separating", 0.0, 60.0), 4.0, names, factors)
    assert begun == ("separating", 0.0, 26.0 + 60.0)
    assert progress_of(Told("reading the recording"), 4.0, names, factors).left_s is None


def test_stages_are_those_that_come():
    both = stages_of(has_score=True, practice=True)
    assert both == list(FACTORS)
    assert set(both) - set(stages_of(False, True)) == {"following the score"}
    assert set(both) - set(stages_of(True, False)) == {"writing practice files"}


def test_it_learns_how_long_stages_take():
    factors = learnt({"separating": 0.5, "other": 1.0}, "separating", 30.0, 20.0)
    assert factors == {"separating": 1.0, "other": 1.0}
    assert learnt(factors, "unknown", 1.0, 1.0) == factors
    assert learnt(factors, "other", 1.0, 0.0) == factors


def test_files_are_offered_by_kind_in_the_order_of_the_voices():
    files = ["alto.flac", "residual.flac", "soprano.flac", "soprano_missing.flac", "manifest.json"]
    kinds = {
        one.kind: [name for name, _ in one.links] for one in grouped([*files, "notes.mid"], VOICES)
    }
    assert kinds == {
        "Voices": ["soprano.flac", "alto.flac", "residual.flac"],
        "Practice": ["soprano_missing.flac"],
        "Notes and pitches": ["notes.mid"],
        "How it was made": ["manifest.json"],
        "Everything": ["all.zip"],
    }


def test_voices_may_have_names_like_those_of_practice_files():
    files = ["voice_1.wav", "voice_2_missing.wav", "residual.wav", "voice_2.wav"]
    offered = grouped(files, ("voice_1", "voice_2"))
    kinds = {one.kind: [name for name, _ in one.links] for one in offered}
    assert kinds["Voices"] == ["voice_1.wav", "voice_2.wav", "residual.wav"]
    assert kinds["Practice"] == ["voice_2_missing.wav"]


def test_a_job_of_other_voices_names_all_its_files_after_them(tmp_path):
    class Men(StubEngine):
        config = with_voices(ModelConfig(), parse_voices("ttbb"))

    song = write_song(tmp_path / "song.wav", seconds=2.0)
    outcome = do(Task(song, None, tmp_path, "made", True, 60.0), Men, lambda told: None)
    names = ("tenor1", "tenor2", "bass1", "bass2")
    assert {f"{name}.flac" for name in (*names, "residual")} <= set(outcome.files)
    assert {f"{name}_missing.flac" for name in names} <= set(outcome.files)
    assert "notes.mid" in outcome.files
    page = (tmp_path / outcome.place / outcome.pages[0].file).read_text(encoding="utf-8")
    assert "Tenor1" in page
    assert "Soprano" not in page
