"""What the pages show is what the program takes: shell lines, settings, and Python that runs."""

import importlib.util
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from page_blocks import (
    PAGES,
    blocks,
    inline,
    name_of,
    shell_commands,
    umss_commands,
)
from places import ROOT
from small_engine import small_engine

from docs_site.commands import root
from umss_jax import api
from umss_jax.config_tree import build, with_overrides
from umss_jax.train.config import TrainConfig
from umss_jax.train.settings import build_pretraining, build_run, read_tree, split_arguments

COMMAND = root()
TEXTS = {name_of(path): path.read_text(encoding="utf-8") for path in PAGES}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
each_page = pytest.mark.parametrize("page", TEXTS)


def shell_lines(text):
    return [words for block in blocks(text, "sh", "bash") for words in shell_commands(block)]


def command_of(words):
    """The command that words name, and what is left of them."""
    command, rest = COMMAND, list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    return command, rest


def test_the_reader_of_shell_lines_sees_what_there_is():
    block = "A=1 x \"a b\" \\\n  -c | y  # no\nexport B=2\n. z && w=3 v\nu 's\nt' # it's\n"
    assert shell_commands(block) == [["x", "a b", "-c"], ["y"], [".", "z"], ["v"], ["u", "s\nt"]]
    text = "```sh\nsrun umss-jax runs\ncurl x | umss-jax f0 -\ndocker build -t umss-jax .\n```\n"
    assert umss_commands(text) == [["runs"], ["f0", "-"]]
    assert inline("`a`\n```sh\n`b`\n```\n\n`e`") == ["a", "e"]


def test_there_is_something_to_try():
    assert sum(len(umss_commands(text)) for text in TEXTS.values()) > 50
    assert sum(len(blocks(text, "python")) for text in TEXTS.values()) >= 6
    assert sum(len(blocks(text, "toml")) for text in TEXTS.values()) >= 1


@each_page
def test_commands_are_ones_that_the_program_takes(page):
    for words in umss_commands(TEXTS[page]):
        command, rest = command_of(words)
        assert not hasattr(command, "commands"), words
        command.make_context(command.name, rest)


@each_page
def test_commands_within_sentences_are_ones_that_there_are(page):
    for span in inline(TEXTS[page]):
        words = span.split()
        if words[0] != "umss-jax" or len(words) == 1 or words[1].startswith(("COMMAND", "--")):
            continue
        command, rest = command_of(words[1:])
        assert command is not COMMAND, span
        known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        options = {word for word in rest if re.match(r"--?[a-z]", word)} - {"--help"}
        assert options <= known, span


@each_page
def test_settings_on_the_command_line_are_ones_that_there_are(page):
    for words in umss_commands(TEXTS[page]):
        command, rest = command_of(words)
        name = command.name
        given = command.make_context(name, rest).params
        if name not in ("train", "pretrain") or given.get("from_reference"):
            continue
        file, overrides = split_arguments(given["arguments"] or [])
        is_here = file is not None and (ROOT / file).is_file()
        assert is_here or file is None or "/" not in str(file), f"{file} is no file"
        tree = with_overrides(read_tree(ROOT / file if is_here else None), overrides)
        (build_run if name == "train" else build_pretraining)(tree)


@each_page
def test_settings_in_files_are_ones_that_there_are(page):
    for block in blocks(TEXTS[page], "toml"):
        build(TrainConfig, tomllib.loads(block))


@each_page
def test_targets_modules_and_extras_are_there(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    spans = [span.split() for span in inline(TEXTS[page])]
    for words in shell_lines(TEXTS[page]) + spans:
        if words[0] == "make":
            for target in words[1:]:
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), words
        if words[0].endswith("python") and "-m" in words[:-1]:
            assert importlib.util.find_spec(words[words.index("-m") + 1]), words
        if words[:2] == ["pip", "install"]:
            for extras in re.findall(r"(?:\.|umss-jax)\[([a-z,]+)\]", " ".join(words)):
                assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"]), words


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where pages find a recording, its score, its pitches and weights; models are small."""
    time_s = np.arange(64_000) / 16_000
    voices = [np.sin(2 * np.pi * hz * time_s) for hz in (440.0, 330.0, 220.0, 110.0)]
    soundfile.write(tmp_path / "choir.wav", 0.2 * np.sum(voices, axis=0), 16_000)
    table = "time_s,soprano,alto,tenor,bass\n0.000,440,330,220,110\n0.016,0,330,220,110\n"
    (tmp_path / "f0.csv").write_text(table, encoding="ascii")
    engine = small_engine()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "load", lambda *_, **__: api.Separator(engine))
    return tmp_path


def write_score():
    """Four held notes, as the recording sings them."""
    mido = pytest.importorskip("mido")
    score = mido.MidiFile(ticks_per_beat=480)
    for name, note in (("Soprano", 69), ("Alto", 64), ("Tenor", 57), ("Bass", 45)):
        track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
        track.append(mido.Message("note_on", note=note))
        track.append(mido.Message("note_off", note=note, time=3840))
        score.tracks.append(track)
    score.save("piece.mid")


def run(page):
    """Runs the Python of a page from above in one namespace; training takes two steps."""
    space = {}
    for block in blocks(TEXTS[page], "python"):
        exec(compile(re.sub(r"steps=\d+", "steps=2", block), page, "exec"), space)
    return space


def written(folder):
    """The stems in a folder, which sum to the recording."""
    voices = ("soprano", "alto", "tenor", "bass", "residual")
    stems = [soundfile.read(folder / f"{voice}.wav")[0] for voice in voices]
    recording = soundfile.read("choir.wav")[0]
    np.testing.assert_allclose(np.sum(stems, axis=0), recording, atol=1e-3 * recording.max())


def test_python_of_the_readme_runs(folder, capsys):
    (block,) = blocks(TEXTS["README.md"], "python")
    assert block.count("\n") <= 12
    run("README.md")
    place = Path(capsys.readouterr().out.strip())
    assert place == Path("separated/small/choir")
    written(place)


def test_python_about_adapting_runs(folder, capsys):
    space = run("docs/tutorials/adapt.md")
    assert len(space["adapted"].history["rec"]) == 2
    assert capsys.readouterr().out.startswith("separated/small/choir ")
    written(space["track"].folder)


def test_python_with_a_score_runs(folder):
    write_score()
    space = run("docs/tutorials/score.md")
    assert (space["track"].folder / "alignment.csv").is_file()
    written(space["track"].folder)


def test_python_of_the_reference_runs(folder, capsys):
    space = run("docs/reference/api.md")
    assert space["result"].voices["tenor"].shape == space["audio"].shape
    assert capsys.readouterr().out.splitlines()[-1].startswith("(64000,) (4, 250) ")


def test_python_about_file_formats_runs(folder, capsys):
    from safetensors.numpy import save_file

    save_file({"params/x": np.zeros(2, np.float32)}, "weights.safetensors", {"umss_jax": "{}"})
    run("docs/reference/file-formats.md")
    assert capsys.readouterr().out.splitlines() == [
        "50% of the time the soprano sings",
        "['umss_jax'] 1",
    ]


def test_no_page_has_python_that_is_not_run():
    tried = re.findall(r'run\("([\w/.-]+)"\)', Path(__file__).read_text(encoding="utf-8"))
    assert {page for page, text in TEXTS.items() if blocks(text, "python")} == set(tried)
