"""Folders that nobody's program wrote: a page that is sound, or one line that names the file."""

import html.parser
import json
import os
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from evaluation_folder import make_evaluation
from separation_folder import add_salience, make_separation

from umss_jax.cli import run
from umss_jax.config import VOICES
from umss_jax.errors import UmssError, printable
from umss_jax.report.page import write_reports
from umss_jax.report.separation import Sources

DEEP = "[" * 20_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A separation with salience and an evaluation, to be copied and spoilt."""
    place = tmp_path_factory.mktemp("made")
    separation = make_separation(place, 1.0)
    add_salience(separation, 1.0)
    evaluation = make_evaluation(place / "evaluation")
    (evaluation / "frames.csv").write_text(
        "row,excerpt,voice,second,energy,kept,si_sdr_db\n"
        "exact,one,soprano,0,20,1,3.5\nexact,one,alto,0,20,1,4.5\nexact,two,bass,0,20,0,9\n"
    )
    return separation, evaluation


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made[0], tmp_path / "song")


@pytest.fixture
def evaluation(made, tmp_path):
    return shutil.copytree(made[1], tmp_path / "evaluation")


class Outline(html.parser.HTMLParser):
    """Tags, attributes and scripts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.scripts, self.text = [], set(), [], []
        self._in_script = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attributes}
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._in_script = False

    def handle_data(self, data):
        if self._in_script:
            self.scripts[-1] += data
        else:
            self.text.append(data)


def page_or_line(source, capsys):
    """The page of a folder; None where the command refused it on one line, with exit code 1."""
    code = run(["report", "-q", str(source)])
    told = capsys.readouterr()
    if code:
        assert code in (1, 2)
        assert told.out == ""
        assert told.err.count("\n") == 1, told.err
        assert " failed (" not in told.err
        assert len(told.err) < 2000
        return None
    assert told.err == ""
    outline = Outline(Path(told.out.rstrip("\n")).read_text(encoding="utf-8"))
    assert not outline.attributes & {"onerror", "onload", "onclick", "src"}
    for script in outline.scripts:
        if script.startswith('{"rate"'):
            json.loads(script, parse_constant=pytest.fail)
    return outline


EVIL = [
    "</script><script>alert(1)</script>.wav",
    "<img src=x onerror=alert(1)>.wav",
    "\"onload='alert(1)' x=\".wav",
    "&lt;b&gt;&amp;.wav",
    "a\u2028b\u2029c.wav",
    "{{ 7 * 7 }}{% raw %}.wav",
    "\x1b[2J\x1b]0;title\x07.wav",
    "\u202egnp.wav",
    "half \ud800.wav",
    "-->]]><!--.wav",
]


@pytest.mark.parametrize("name", EVIL, ids=ascii)
def test_names_are_text_on_the_page_of_a_separation(folder, capsys, name):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    pages = []
    for one in ("plain.wav", name):
        manifest |= {"model": one, "assigner": one, "adaptation": {"steps": one}}
        manifest["input"]["file"] = one
        path.write_text(json.dumps(manifest))
        pages.append(page_or_line(folder, capsys))
    plain, page = pages
    assert page.tags == plain.tags
    assert page.attributes == plain.attributes
    shown = printable(name)
    assert any(shown.encode("utf-8", "replace").decode() in text for text in page.text)


@pytest.mark.parametrize("name", EVIL[::4], ids=ascii)
def test_names_are_text_on_the_page_of_an_evaluation(evaluation, capsys, name):
    plain = page_or_line(evaluation, capsys)
    statistics = json.loads((evaluation / "statistics.json").read_text())
    statistics[name] = statistics.pop("exact")
    (evaluation / "statistics.json").write_text(json.dumps(statistics))
    path = evaluation / "audio" / "index.json"
    index = json.loads(path.read_text())
    index["excerpts"][0] |= {"name": name, "song": name}
    for excerpt in index["excerpts"]:
        excerpt["rows"][0]["label"] = name
    path.write_text(json.dumps(index))
    frames = (evaluation / "frames.csv").read_text()
    cell = '"' + name.replace('"', '""').encode("utf-8", "replace").decode() + '"'
    (evaluation / "frames.csv").write_text(frames.replace("exact", cell).replace("one", cell))
    page = page_or_line(evaluation, capsys)
    assert page.tags == plain.tags
    assert page.attributes == plain.attributes


@pytest.mark.parametrize(
    "hostile",
    [
        "..",
        "../..",
        "/etc",
        "a/../../b",
        "",
        ".",
        "a\\b",
        "a/b",
        "x" * 300,
        "\0",
        "link",
        3,
        None,
        ["a"],
    ],
    ids=lambda value: repr(value)[:20],
)
@pytest.mark.parametrize("of", ["excerpt", "row"])
def test_an_index_that_names_folders_outside_its_own(evaluation, tmp_path, capsys, hostile, of):
    audio = evaluation / "audio"
    path = audio / "index.json"
    index = json.loads(path.read_text())
    excerpt = index["excerpts"][0]
    own = audio / excerpt["folder"]
    if hostile == "link":
        kept = own if of == "excerpt" else own / excerpt["rows"][0]["folder"]
        kept.rename(tmp_path / "elsewhere")
        kept.symlink_to(tmp_path / "elsewhere")
    elif of == "excerpt":
        excerpt["folder"] = hostile
    else:
        excerpt["rows"][0]["folder"] = hostile
    path.write_text(json.dumps(index))
    assert run(["report", str(evaluation)]) == 1
    told = capsys.readouterr().err
    assert "index.json" in told
    assert told.count("\n") == 1
    assert not (evaluation / "report.html").exists()


def test_a_file_of_the_index_that_is_a_link_outside(evaluation, tmp_path):
    own = next((evaluation / "audio").rglob("soprano.flac"))
    own.rename(tmp_path / "secret.flac")
    own.symlink_to(tmp_path / "secret.flac")
    with pytest.raises(UmssError, match="outside of its folder"):
        write_reports(evaluation)


VALUES = (
    *(None, True, 3, -1, 1e308, "1e999", "NaN", "-Infinity", '"text"', "[]", "{}", '[{"a": []}]'),
    *('{"mean": NaN}', '{"mean": {"mean": 1}}', "9" * 400, '"\\ud800"', '"\\u0000"'),
    *(DEEP, '{"a":' * 10_000),
)


def spoil(value, generator, written):
    """A copy of a JSON value with one place of it replaced; the hostile text is put in later."""
    if isinstance(value, dict) and value and generator.random() < 0.9:
        key = generator.choice(sorted(value))
        if generator.random() < 0.1:
            return {one: part for one, part in value.items() if one != key}
        return {**value, key: spoil(value[key], generator, written)}
    if isinstance(value, list) and value and generator.random() < 0.9:
        place = generator.randrange(len(value))
        return [*value[:place], spoil(value[place], generator, written), *value[place + 1 :]]
    written.append(generator.choice(VALUES))
    return "HERE"


def spoil_json(path, generator):
    written = []
    value = spoil(json.loads(path.read_text()), generator, written)
    hostile = [one if isinstance(one, str) else json.dumps(one) for one in written]
    path.write_text(json.dumps(value).replace('"HERE"', (hostile or ["0"])[0]))


def spoil_bytes(path, generator):
    content = bytearray(path.read_bytes())
    for _ in range(generator.randint(1, 8)):
        content[generator.randrange(len(content))] = generator.randrange(256)
    if generator.random() < 0.3:
        content = content[: generator.randrange(len(content))]
    path.write_bytes(content)


def spoil_csv(path, generator):
    lines = [line.split(",") for line in path.read_text().splitlines()]
    line = generator.choice(lines)
    hostile = ["nan", "inf", "1e308", "-1", "", "x", "\0", '"', "\x1b[2J", "9" * 400, "1,2,3", "\n"]
    line[generator.randrange(len(line))] = generator.choice(hostile)
    path.write_text("\n".join(map(",".join, lines)))


SPOILT = {
    ("separation", "manifest.json"): spoil_json,
    ("separation", "f0.csv"): spoil_csv,
    ("separation", "song.salience.npz"): spoil_bytes,
    ("separation", "alto.wav"): spoil_bytes,
    ("evaluation", "statistics.json"): spoil_json,
    ("evaluation", "audio/index.json"): spoil_json,
    ("evaluation", "audio/one_4.0/reference/about.json"): spoil_json,
    ("evaluation", "audio/one_4.0/reference/f0.csv"): spoil_csv,
    ("evaluation", "frames.csv"): spoil_csv,
}


@pytest.mark.parametrize("count", [2, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("kind", "name"), SPOILT, ids=lambda one: one.split("/")[-1])
def test_spoilt_folders_give_a_page_or_one_line(made, tmp_path, capsys, kind, name, count):
    source = shutil.copytree(made[kind == "evaluation"], tmp_path / kind)
    whole = (source / name).read_bytes()
    generator = random.Random(f"{kind} {name}")
    done = 0
    for _ in range(count):
        (source / name).write_bytes(whole)
        SPOILT[kind, name](source / name, generator)
        page_or_line(source, capsys)
        done += 1
    assert done == count


@pytest.mark.parametrize(
    "content",
    [
        DEEP,
        '{"input":' * 20_000,
        "\ufeff",
        "nul\0",
        "9" * 5000,
        "[1]",
        "3",
        "null",
        '{"input": {"file": "a"}, "outputs": 3}',
        '{"input": {"file": "' + "x" * 5000 + '"}, "outputs": []}',
        '{"input": {"file": "a"}, "outputs": ["\\u0000"]}',
    ],
    ids=lambda text: ascii(text[:20]),
)
@pytest.mark.parametrize("name", ["manifest.json", "audio/index.json", "statistics.json"])
def test_hostile_json_is_named(folder, evaluation, capsys, content, name):
    source = folder if name == "manifest.json" else evaluation
    (source / name).write_text(content)
    assert page_or_line(source, capsys) is None


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "statistics.json",
        "audio/index.json",
        "frames.csv",
        "song.salience.npz",
    ],
)
@pytest.mark.parametrize("place", ["pipe", "zero", "folder", "sparse"])
def test_places_that_are_no_files_neither_hang_nor_fill_the_memory(
    made, tmp_path, capsys, name, place
):
    of_separation = name in ("manifest.json", "song.salience.npz")
    source = shutil.copytree(made[not of_separation], tmp_path / "source")
    path = source / name
    path.unlink()
    if place == "pipe":
        os.mkfifo(path)
    elif place == "zero":
        path.symlink_to("/dev/zero")
    elif place == "folder":
        path.mkdir()
    else:
        with open(path, "wb") as file:
            file.truncate(1 << 30)
    page_or_line(source, capsys)


def saved(path, **changes):
    frames = 62
    arrays = {
        "salience": np.full((360, frames), 0.5, np.float32),
        "time_s": np.arange(frames) * 0.016,
        "frequency_hz": 32.7 * 2 ** (np.arange(360) / 60),
    }
    np.savez(path, **{**arrays, **changes})


SALIENCES = {
    "NaN": {"salience": np.full((360, 62), np.nan, np.float32)},
    "inf": {"salience": np.full((360, 62), np.inf, np.float32)},
    "one NaN": {"salience": np.where(np.arange(360 * 62).reshape(360, 62) == 7, np.nan, 0.5)},
    "beyond 1": {"salience": np.full((360, 62), 1e30)},
    "text": {"salience": np.full((360, 62), "a")},
    "complex": {"salience": np.full((360, 62), 1j)},
    "objects": {"salience": np.full((360, 62), None)},
    "other shape": {"salience": np.zeros((62, 360))},
    "one frequency": {"frequency_hz": np.ones(1), "salience": np.zeros((1, 62))},
    "equal frequencies": {"frequency_hz": np.full(360, 100.0)},
    "fine frequencies": {"frequency_hz": 100 + 1e-9 * np.arange(360)},
    "falling": {"frequency_hz": 4000.0 - np.arange(360)},
    "NaN frequency": {"frequency_hz": np.full(360, np.nan)},
    "NaN times": {"time_s": np.full(62, np.nan)},
    "equal times": {"time_s": np.zeros(62)},
    "falling times": {"time_s": -0.016 * np.arange(62)},
    "matrix of times": {"time_s": np.zeros((62, 2))},
}


@pytest.mark.parametrize("changes", SALIENCES.values(), ids=SALIENCES.keys())
def test_what_is_no_salience_is_named(folder, changes):
    saved(folder / "song.salience.npz")
    write_reports(folder)
    saved(folder / "song.salience.npz", **changes)
    with pytest.raises(UmssError, match=r"song\.salience\.npz (holds no salience|covers)"):
        write_reports(folder)


def test_a_salience_that_says_it_is_huge_takes_no_memory(folder):
    path = folder / "song.salience.npz"
    header = np.lib.format.header_data_from_array_1_0(np.zeros(0, np.float64))
    for name, shape in (
        ("salience", (360, 10**12)),
        ("time_s", (10**12,)),
        ("time_s", (62, 10**9)),
    ):
        saved(folder / "whole.npz")
        with zipfile.ZipFile(folder / "whole.npz") as whole, zipfile.ZipFile(path, "w") as archive:
            for member in whole.namelist():
                if member != f"{name}.npy":
                    archive.writestr(member, whole.read(member))
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
        with pytest.raises(UmssError, match="holds no salience"):
            write_reports(folder)


def test_stems_of_other_lengths_and_rates_or_none_are_named(folder):
    whole = (folder / "alto.wav").read_bytes()
    audio, rate = soundfile.read(folder / "alto.wav")
    spoilt = {
        "shorter": (audio[:-1], rate),
        "longer": (np.append(audio, 0), rate),
        "other rate": (audio, 2 * rate),
        "stereo": (np.stack([audio, audio], axis=1), rate),
        "empty": (audio[:0], rate),
        "NaN": (np.full_like(audio, np.nan), rate),
        "loud": (np.full_like(audio, 3e38), rate),
    }
    for samples, other_rate in spoilt.values():
        soundfile.write(folder / "alto.wav", samples, other_rate, subtype="FLOAT")
        with pytest.raises(UmssError, match=r"alto\.wav"):
            write_reports(folder)
    (folder / "alto.wav").unlink()
    with pytest.raises(UmssError, match=r"alto\.wav is not there"):
        write_reports(folder)
    (folder / "alto.wav").write_bytes(whole)
    write_reports(folder)


def test_silent_and_empty_stems(folder, capsys):
    audio, rate = soundfile.read(folder / "alto.wav")
    for voice in (*VOICES, "residual"):
        soundfile.write(folder / f"{voice}.wav", np.zeros_like(audio), rate)
    assert page_or_line(folder, capsys)
    for voice in (*VOICES, "residual"):
        soundfile.write(folder / f"{voice}.wav", audio[:0], rate)
    with pytest.raises(UmssError, match=r"residual\.wav holds no audio"):
        write_reports(folder)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e308", "-1"])
def test_options_that_are_no_times(folder, capsys, number):
    for option in ("--start", "--seconds", "--max-mb"):
        code = run(["report", str(folder), f"{option}={number}"])
        told = capsys.readouterr()
        is_all = option != "--start" and number in ("1e308", "inf")
        assert code in (1, 2) or is_all, (option, told)
        assert told.err.count("\n") == 1


def test_ten_hours_are_refused_before_they_are_read(folder):
    for voice in (*VOICES, "residual"):
        with open(folder / f"{voice}.wav", "wb") as file:
            size = 36_000 * 16_000 * 2
            file.write(
                b"RIFF"
                + (size + 36).to_bytes(4, "little")
                + b"WAVEfmt "
                + (16).to_bytes(4, "little")
            )
            file.write(
                bytes.fromhex("01000100803e0000007d000002001000")
                + b"data"
                + size.to_bytes(4, "little")
            )
            file.truncate(44 + size)
    (folder / "song.salience.npz").unlink()
    with pytest.raises(UmssError, match="the page would take about"):
        write_reports(folder)
    assert write_reports(folder, Sources(start_s=20_000.0, duration_s=0.5))[0].megabytes < 1
