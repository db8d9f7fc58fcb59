"""Records of jobs, names of files, the folder they are in, and how much is left."""

import json

import numpy as np
import pytest
import soundfile
from app_parts import write_song
from stub_engine import StubEngine

from umss_jax.app.jobs import Job, Outcome, Page, State, as_tree, from_tree, kept_name
from umss_jax.app.shelf import Shelf
from umss_jax.app.stages import (
    FACTORS,
    Told,
    heard_now,
    learnt,
    progress_of,
    stage_name,
    stages_of,
)
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


def told_at(*news):
    """What is known after news, each of a time, a stage, and seconds done of 60."""
    heard = None
    for at_s, stage, done_s in news:
        heard = heard_now(heard, Told(stage, done_s, 60.0), at_s)
    return heard


def test_seconds_left_are_of_this_stage_and_the_later_ones():
    factors = dict.fromkeys(FACTORS, 0.5)
    names = stages_of(has_score=False, practice=False)
    assert names[-3:] == ["separating", "writing stems", "making the page"]
    # 18 s took 6 s, and 30 are left: 10 s more, and 30 s each for two later stages
    half = told_at((0.0, "separating", 0.0), (4.0, "separating", 12.0), (10.0, "separating", 30.0))
    assert progress_of(half, 10.0, names, factors) == ("separating", 0.5, 70.0)
    # nothing is done yet: what is known of earlier ones, less what has passed
    begun = told_at((0.0, "separating", 0.0))
    assert progress_of(begun, 4.0, names, factors) == ("separating", 0.0, 26.0 + 60.0)
    nobody_knows = heard_now(None, Told("reading the recording"), 0.0)
    assert progress_of(nobody_knows, 4.0, names, factors).left_s is None


def test_seconds_left_become_fewer_between_news():
    factors = dict.fromkeys(FACTORS, 0.5)
    page = "making the page"
    half = told_at((0.0, page, 0.0), (4.0, page, 12.0), (10.0, page, 30.0))
    left = [progress_of(half, now_s, [], factors).left_s for now_s in (10.0, 14.0, 25.0)]
    assert left == [10.0, 6.0, 0.0]


def test_what_was_done_before_a_stage_was_told_of_says_nothing_of_its_pace():
    factors = dict.fromkeys(FACTORS, 0.5)
    # the first news come when 6 s are done, in no time; then 24 s take 18
    first = told_at((0.0, "making the page", 6.0))
    assert progress_of(first, 0.0, [], factors).left_s == 27.0
    later = told_at((0.0, "making the page", 6.0), (18.0, "making the page", 30.0))
    assert progress_of(later, 18.0, [], factors).left_s == 22.5
    # 5 s pass before the first 6 s are done, then 6 s take 6
    page = "making the page"
    slow = told_at((0.0, page, 0.0), (5.0, page, 6.0), (11.0, page, 12.0))
    assert progress_of(slow, 11.0, [], factors).left_s == 48.0
    assert learnt({"making the page": 0.5}, first, 27.0) == {"making the page": 0.5}


def test_a_stage_without_pace_that_lasts_longer_than_expected_has_no_number():
    factors = dict.fromkeys(FACTORS, 0.5)
    names = stages_of(has_score=False, practice=True)
    loading = told_at((0.0, "loading the model", 0.0))
    assert progress_of(loading, 29.0, names, factors).left_s == 1.0 + 4 * 30.0
    assert progress_of(loading, 31.0, names, factors) == ("loading the model", 0.0, None)


def test_what_is_written_a_second_time_is_a_stage_before_the_next_one():
    factors = dict.fromkeys(FACTORS, 0.5)
    names = stages_of(has_score=False, practice=True)
    again = told_at((0.0, stage_name("writing softer"), 0.0))
    assert again.told.stage not in names
    assert progress_of(again, 0.0, names, factors).left_s == 30.0 + 60.0
    again = told_at((0.0, stage_name("practice softer"), 0.0))
    assert progress_of(again, 0.0, names, factors).left_s == 30.0 + 30.0


def test_stages_are_those_that_come():
    both = stages_of(has_score=True, practice=True)
    softer = {"writing stems again, softer", "writing practice files again, softer"}
    assert both == [stage for stage in FACTORS if stage not in softer]
    assert set(both) - set(stages_of(False, True)) == {"following the score"}
    assert set(both) - set(stages_of(True, False)) == {"writing practice files"}


def test_it_learns_how_long_stages_take():
    ended = heard_now(None, Told("separating", 0.0, 20.0), 5.0)
    factors = learnt({"separating": 0.5, "other": 1.0}, ended, 35.0)
    assert factors == {"separating": 1.0, "other": 1.0}
    unknown = heard_now(None, Told("unknown", 0.0, 1.0), 0.0)
    assert learnt(factors, unknown, 1.0) == factors
    without_length = heard_now(None, Told("other"), 0.0)
    assert learnt(factors, without_length, 1.0) == factors


def test_files_are_offered_by_kind_in_the_order_of_the_voices():
    files = ["alto.flac", "residual.flac", "soprano.flac", "soprano_missing.flac", "manifest.json"]
    offered = grouped([*files, "notes.mid"], VOICES)
    kinds = {one.kind: [address for _, address in one.links] for one in offered}
    assert kinds == {
        "Voices": ["soprano.flac", "alto.flac", "residual.flac"],
        "Practice": ["soprano_missing.flac"],
        "Notes and pitches": ["notes.mid"],
        "How it was made": ["manifest.json"],
        "Everything": ["all.zip"],
    }


def test_practice_files_are_offered_in_plain_words():
    files = ["alto_predominant.flac", "alto_missing.flac"]
    (practice,) = (one for one in grouped(files, VOICES) if one.kind == "Practice")
    assert practice.links == (
        ("alto in front", "alto_predominant.flac"),
        ("without alto", "alto_missing.flac"),
    )


def test_voices_may_have_names_like_those_of_practice_files():
    files = ["voice_1.wav", "voice_2_missing.wav", "residual.wav", "voice_2.wav"]
    offered = grouped(files, ("voice_1", "voice_2"))
    kinds = {one.kind: [address for _, address in one.links] for one in offered}
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


def news_of(tmp_path, song, practice=False, page_s=60.0):
    """All that a job tells while it is done."""
    heard = []
    do(Task(song, None, tmp_path, "made", practice, page_s), StubEngine, heard.append)
    return heard


def test_the_page_is_told_of_while_it_is_made(tmp_path):
    # 9 s in two pages, of 6 sounds each that are encoded by 5 s
    song = write_song(tmp_path / "song.wav", seconds=9.0)
    told = [one for one in news_of(tmp_path, song, page_s=5.0) if one.stage == "making the page"]
    assert {one.total_s for one in told} == {9.0}
    assert [one.done_s for one in told] == pytest.approx([0.75 * n for n in range(13)])


def test_what_is_written_again_since_it_was_too_loud_is_told_too(tmp_path):
    loud = 6.0 * np.sin(2 * np.pi * 200 * np.arange(24_000) / 8_000)
    soundfile.write(tmp_path / "loud.wav", loud, 8_000, subtype="FLOAT")
    told = news_of(tmp_path, tmp_path / "loud.wav", practice=True)
    stages = list(dict.fromkeys(one.stage for one in told))
    assert stages[3:] == [
        "writing stems",
        "writing stems again, softer",
        "writing practice files",
        "writing practice files again, softer",
        "making the page",
    ]
    for stage in stages[3:]:
        assert [one.done_s for one in told if one.stage == stage][-1] == pytest.approx(3.0), stage
