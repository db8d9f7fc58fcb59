"""Excerpts that an evaluation keeps to be heard, and the page that plays them."""

import json
import re

import numpy as np
import pytest
import soundfile
from evaluation_folder import LEAK, make_evaluation, make_excerpts, make_rows, salience
from page_sounds import sounds

from umss_jax.config import VOICES, AudioConfig
from umss_jax.data.excerpts import Quartet
from umss_jax.errors import OutputError, ReportError
from umss_jax.evaluate.listening import ExcerptAudio, spread_excerpts
from umss_jax.evaluate.rows import Row
from umss_jax.evaluate.run import run_evaluation
from umss_jax.report.config import ReportConfig
from umss_jax.report.page import write_reports

STEP = 1 / 32768


def kept(folder, excerpts, rows, names=None):
    names = [excerpt.name for excerpt in excerpts] if names is None else names
    run_evaluation(excerpts, rows, keep=folder / "excerpts", audio=ExcerptAudio(folder, names))


def audio_of(folder):
    """Voices of a folder at their own level."""
    gain = json.loads((folder / "about.json").read_text())["gain"]
    return np.stack([soundfile.read(folder / f"{voice}.flac")[0] for voice in VOICES]) / gain


class Counting:
    """A row's estimator that knows what it was asked."""

    def __init__(self, estimate):
        self.asked, self.estimate = [], estimate

    def __call__(self, excerpt):
        self.asked.append(excerpt.name)
        return self.estimate(excerpt)


def test_the_first_of_every_song_are_kept_first():
    starts = {"a": (249, 499), "b": (249,)}
    quartets = [Quartet(name, name, (), frames) for name, frames in starts.items()]

    def names(count):
        return spread_excerpts(quartets, count, AudioConfig())

    assert names(2) == ["a_3.984", "b_3.984"]
    assert names(9) == ["a_3.984", "b_3.984", "a_7.984"]
    assert names(0) == []


def test_what_is_kept_is_what_was_heard(tmp_path):
    excerpts, rows = make_excerpts(), make_rows()
    kept(tmp_path, excerpts, rows, ["two/part_8.0"])
    index = json.loads((tmp_path / "index.json").read_text())["excerpts"]
    (place,) = [tmp_path / one["folder"] for one in index]
    assert place.parent == tmp_path
    assert [row["label"] for row in index[0]["rows"]] == [row.label for row in rows[1:]]
    assert np.abs(audio_of(place / "reference") - excerpts[1].sources).max() <= STEP
    mixture, rate = soundfile.read(place / "reference" / "mixture.flac")
    assert rate == 16_000
    assert soundfile.info(place / "reference" / "mixture.flac").subtype == "PCM_16"
    assert np.abs(mixture - 0.999 * excerpts[1].mixture).max() <= STEP
    stems = excerpts[1].sources + LEAK * excerpts[1].mixture
    folder = place / index[0]["rows"][1]["folder"]
    assert np.abs(audio_of(folder) - stems).max() <= STEP
    for path, factor in ((place / "reference", 1.0), (folder, 1.02)):
        table = np.loadtxt(path / "f0.csv", delimiter=",", skiprows=1)
        np.testing.assert_allclose(table[:, 1:].T, factor * excerpts[1].f0_hz_synth, atol=1e-3)
    with np.load(folder / "salience.npz") as archive:
        assert np.abs(archive["salience"] - salience(excerpts[1])).max() < 1e-3
        assert archive["time_s"][-1] == pytest.approx(4 * 343 / 344)


def test_only_what_is_lacking_or_changed_is_made_again(tmp_path):
    excerpts = make_excerpts()
    (_, exact, rough) = make_rows()

    def asked(of=excerpts, **changes):
        one, other = Counting(exact.estimate), Counting(rough.estimate)
        rows = [exact._replace(estimate=one), rough._replace(estimate=other, **changes)]
        kept(tmp_path, of, rows)
        return one.asked, other.asked

    names = [excerpt.name for excerpt in excerpts]
    assert asked() == (names, names)
    assert asked() == ([], [])
    (folder,) = tmp_path.glob("one*/exact")
    for path in folder.iterdir():
        path.unlink()
    assert asked() == (names[:1], [])
    assert asked(identity={"row": "rough", "weights": "b"}) == ([], names)
    louder = excerpts[0]._replace(mixture=excerpts[0].mixture * 0.5)
    assert asked([louder, excerpts[1]]) == (names[:1], names)
    assert not list(tmp_path.rglob(".partial-*"))


def test_loud_stems_are_turned_down_and_come_back(tmp_path):
    excerpts = make_excerpts()[:1]
    rows = [make_rows()[1]]
    loud = rows[0]._replace(
        estimate=lambda excerpt: rows[0].estimate(excerpt)._replace(stems=9 * excerpt.sources)
    )
    kept(tmp_path, excerpts, [loud])
    (folder,) = tmp_path.glob("one*/exact")
    np.testing.assert_allclose(audio_of(folder), 9 * excerpts[0].sources, atol=9 * STEP)


def test_an_index_tells_of_the_last_run_only(tmp_path):
    excerpts, rows = make_excerpts(), make_rows()
    kept(tmp_path, excerpts, rows)
    kept(tmp_path, excerpts, rows[:2], [excerpts[0].name])
    index = json.loads((tmp_path / "index.json").read_text())["excerpts"]
    assert [[row["label"] for row in one["rows"]] for one in index] == [["exact"]]
    kept(tmp_path, excerpts, rows, [])
    assert not (tmp_path / "index.json").exists()


def test_names_cannot_leave_their_folder(tmp_path):
    (excerpt,) = make_excerpts(("../x",))
    rows = [
        Row(label, {"row": label}, make_rows()[1].estimate) for label in ("..", "reference", "a/b")
    ]
    kept(tmp_path / "audio", [excerpt], rows)
    assert [path.name for path in tmp_path.iterdir()] == ["audio"]
    index = json.loads((tmp_path / "audio" / "index.json").read_text())["excerpts"]
    names = [row["folder"] for row in index[0]["rows"]]
    place = tmp_path / "audio" / index[0]["folder"]
    assert sorted(path.name for path in place.iterdir()) == sorted([*names, "reference"])


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "audio").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        ExcerptAudio(tmp_path / "audio", ["one_4.0"]).begin(make_excerpts()[0])


# --- the page


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_evaluation(tmp_path_factory.mktemp("evaluation"))


def test_a_page_has_all_excerpts_and_rows(folder):
    (written,) = write_reports(folder)
    page = written.path.read_text(encoding="utf-8")
    heard = sounds(page)
    of_one = ["Mixture"]
    for voice in ("Soprano", "Alto", "Tenor", "Bass"):
        of_one += [voice, voice, f"{voice}, target"]
    assert [name for name, _ in heard] == 2 * of_one
    excerpts = make_excerpts()
    levels = []
    for excerpt, tracks in zip(excerpts, (heard[:13], heard[13:]), strict=True):
        sound = [audio[:, 0] for _, audio in tracks]
        levels.append(float(sound[0] @ excerpt.mixture / (excerpt.mixture @ excerpt.mixture)))
        down = levels[-1]
        assert np.abs(sound[0] - down * excerpt.mixture).max() < 3 * STEP
        for voice, source in enumerate(excerpt.sources):
            exact, rough, target = sound[1 + 3 * voice : 4 + 3 * voice]
            assert np.abs(target - down * source).max() < 3 * STEP
            assert np.abs(exact - down * source).max() < 3 * STEP
            assert np.abs(rough - down * (source + LEAK * excerpt.mixture)).max() < 3 * STEP
    assert levels[0] == pytest.approx(levels[1], rel=1e-4)
    assert "<b>" not in page
    assert page.count('class="curve reference"') == 2 * 2 * 4
    assert page.count('class="plot"') == 4


def test_a_page_too_large_says_what_to_lower(folder):
    with pytest.raises(ReportError, match="evaluate with a smaller --audio, or raise --max-mb"):
        write_reports(folder, config=ReportConfig(most_megabytes=0.1))
    (written,) = write_reports(folder, config=ReportConfig(lossless_megabytes=0))
    config = ReportConfig(lossless_megabytes=0, most_megabytes=0.99 * written.megabytes)
    with pytest.raises(ReportError, match=r"would be .*: evaluate with a smaller --audio"):
        write_reports(folder, config=config)


def test_an_evaluation_that_kept_nothing_has_no_player(tmp_path):
    make_evaluation(tmp_path)
    (tmp_path / "audio" / "index.json").unlink()
    (written,) = write_reports(tmp_path)
    page = written.path.read_text(encoding="utf-8")
    assert 'id="play"' not in page
    assert "Separation" in page


def test_damaged_files_are_named(tmp_path):
    def error():
        with pytest.raises(ReportError) as caught:
            write_reports(tmp_path)
        return str(caught.value)

    make_evaluation(tmp_path)
    (about,) = tmp_path.glob("audio/one*/exact/about.json")
    about.write_text("{}")
    assert error() == f"{about} names no gain: evaluate again with --audio"
    index = tmp_path / "audio" / "index.json"
    index.write_text("[]")
    assert "index.json is no index of excerpts: evaluate again with --audio" in error()


def test_a_lone_frame_far_away_does_not_flatten_the_pitches(tmp_path):
    make_evaluation(tmp_path)
    (file,) = tmp_path.glob("audio/one*/reference/f0.csv")
    lines = file.read_text().splitlines()
    ticks = []
    for bass in ("110.0", "1.0"):
        lines[9] = f"0.128,440.0,330.0,220.0,{bass}"
        file.write_text("\n".join(lines) + "\n")
        (written,) = write_reports(tmp_path)
        first = written.path.read_text(encoding="utf-8").split('class="plot"')[1]
        ticks.append(re.findall(r"<small> (\d+) Hz", first)[-1])
    assert float(ticks[1]) > float(ticks[0]) / 2.1
