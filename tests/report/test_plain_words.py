"""What a page says to who has not met its terms, and how a reader finds the way in it."""

import json
import re

import numpy as np
import pytest
from evaluation_folder import make_evaluation
from separation_folder import add_salience, add_targets, make_separation

from umss_jax.report.config import ReportConfig
from umss_jax.report.images import time_ticks
from umss_jax.report.page import write_reports
from umss_jax.report.player import quietness
from umss_jax.report.scores import MEANINGS, MEASURES
from umss_jax.report.separation import Files, Sources


def page_of(source, **options):
    (written,) = write_reports(source, **options)
    return written.path.read_text(encoding="utf-8")


def terms(page):
    return re.findall(r"<dt>([^<]*)</dt><dd>[^<]+\.</dd>", page)


def test_every_measure_is_explained():
    assert MEANINGS.keys() == MEASURES.keys()
    assert all(meaning.endswith(".") for meaning in MEANINGS.values())


def test_terms_of_a_separation_are_explained_where_they_stand(tmp_path):
    folder = make_separation(tmp_path)
    assert terms(page_of(folder)) == ["Stem", "Residual", "Cents", "Spectrogram"]
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "assigner": "heuristic"}))
    page = page_of(folder)
    assert "<span>assigner heuristic</span>" in page
    assert "Assigner" in terms(page)
    add_targets(folder)
    add_salience(folder)
    page = page_of(folder)
    assert {"Salience", "Target", "SI-SDR (dB)", "SNR, spectra (dB)"} <= set(terms(page))
    for heading in re.findall(r'<th scope="col">([^<]*)</th>', page)[1:-2]:
        assert heading in terms(page)


def test_files_and_the_way_back_are_there_where_a_server_has_them(tmp_path):
    folder = make_separation(tmp_path)
    assert 'class="files"' not in page_of(folder)
    files = (Files("Voices", (("alto <1>", "a%20b.flac"),)),)
    page = page_of(folder, sources=Sources(files=files, home="../"))
    assert '<a href="a%20b.flac" download>alto &lt;1&gt;</a>' in page
    assert '<a class="home" href="../">' in page


@pytest.mark.parametrize(
    ("level", "tones", "words"),
    [(0.0, 0, "silent"), (2.0**-16, 9, "silent"), (0.01, 0, "almost silent"), (0.1, 9, "")],
)
def test_an_empty_picture_says_what_it_is_of(level, tones, words):
    level_db = np.full((144, 100), -150.0)
    level_db[:tones] = -20.0
    assert quietness(np.full((100, 1), level), level_db, -10.0, ReportConfig()) == words


def test_the_page_says_so_of_a_silent_residual(tmp_path):
    # The stub gives all of the recording to the voices.
    page = page_of(make_separation(tmp_path))
    assert re.findall(r'<span class="level"[^>]*>([^<]*)</span>', page) == ["silent"]
    assert 'aria-label="Spectrogram of residual: silent"' in page


@pytest.mark.parametrize(
    "duration_s", [0.3, 2.0, 4.0, 9.0, 40.0, 60.0, 104.0, 241.0, 900.0, 3600.0]
)
@pytest.mark.parametrize("start_s", [0.0, 7.25])
def test_few_marks_of_time_are_left_where_there_is_little_room(duration_s, start_s):
    ticks = time_ticks(start_s, duration_s)
    coarse = [tick.percent for tick in ticks if tick.is_coarse]
    assert 1 <= len(coarse) <= 5
    assert np.all(np.diff(coarse) >= 20)
    assert len(ticks) <= 13


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    return make_evaluation(tmp_path_factory.mktemp("evaluation"))


def test_an_evaluation_begins_with_the_model_and_not_with_the_ceiling(evaluation):
    options = r'data-choose="row" value="\d" aria-pressed="(\w+)">([^<]*)<'
    assert re.findall(options, page_of(evaluation))[0] == ("true", "exact")
    for about in evaluation.glob("audio/*/rough*/about.json"):
        content = json.loads(about.read_text())
        about.write_text(json.dumps({**content, "row": "model"}))
    found = re.findall(options, page_of(evaluation))
    assert found == [("true", "rough &lt;b&gt;, F0 (x/y)"), ("false", "exact")]


def test_contents_lead_to_all_parts_and_details_are_folded(evaluation):
    path = evaluation / "statistics.json"
    rows = json.loads(path.read_text())
    for row in rows.values():
        row["songs"] = {"song <1>": {"stems": row["stems"]}}
        row["voices"] = {voice: {"stems": row["stems"]} for voice in ("alto", "bass")}
    path.write_text(json.dumps(rows))
    page = page_of(evaluation)
    led = re.findall(r'<a href="#([^"]*)">', page)
    for name in led:
        assert len(re.findall(f'id="{name}"', page)) == 1, name
    assert {"chart-heading", "tracks-heading", "table-1", "details", "words"} <= set(led)
    folded = page[page.index('<details id="details">') :]
    first = page[: page.index('<details id="details">')]
    assert folded.count("<table>") == 3  # of the song and the two voices
    assert "Separation (mean / median)</h2>" in first
    assert set(re.findall(r'<th scope="col">([^<]*)</th>', first)) <= set(terms(page))
    headings = re.findall(r'<section aria-labelledby="([^"]*)"', page)
    assert set(headings) - {"keys-heading"} <= set(led)
