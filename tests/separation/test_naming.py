"""Names by a template: what they may be, and that files appear together or not at all."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from stub_engine import StubEngine

from umss_jax.errors import OutputError, UsageError
from umss_jax.separation import naming
from umss_jax.separation.config import SeparationConfig
from umss_jax.separation.naming import check_targets, parse_template, wants_files
from umss_jax.separation.stems import StemOptions, separate_file

SHORT = SeparationConfig(segment_s=1.0, overlap=0.25)
FILES = ("soprano.wav", "bass.wav", "f0.csv", "manifest.json")


def record(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).uniform(-0.4, 0.4, 8_000), 16_000)
    return path


def separated(path, out, filename, **options):
    options = StemOptions(filename=filename, stems=("soprano", "bass"), **options)
    return separate_file(path, out, StubEngine(), SHORT, options)


def files_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{track}/{stem}.{ext}", "mixture/soprano.wav"),
        ("{folder}/{stem}.{ext}", "piece 1/soprano.wav"),
        ("{stem}.{ext}", "soprano.wav"),
        ("{model}/{stem}/{folder} {track}.{ext}", "stub/soprano/piece 1 mixture.wav"),
        ("{{{track}}}-{stem}.{ext}", "{mixture}-soprano.wav"),
        ("for {folder}/{folder}_{stem}_{ext}.{ext}", "for piece 1/piece 1_soprano_wav.wav"),
    ],
)
def test_where_files_go(tmp_path, text, expected):
    path = record(tmp_path / "piece 1" / "mixture.wav")
    track = separated(path, tmp_path / "out", text)
    below = files_below(tmp_path / "out")
    others = {
        expected.replace("soprano", name).replace("wav", ext)
        for name, ext in (("bass", "wav"), ("f0", "csv"), ("manifest", "json"))
    }
    assert below == {expected, *others}
    assert {path.relative_to(tmp_path / "out").as_posix() for path in track.files} == below
    for name in track.manifest["outputs"]:
        assert (track.folder / name).is_file()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{stem", "brace"),
        ("}{stem}.{ext}", "brace"),
        ("{name}/{stem}.{ext}", "'name'"),
        ("{}/{stem}.{ext}", "''"),
        ("{0}/{stem}.{ext}", "'0'"),
        ("{track.__class__}/{stem}.{ext}", "'track.__class__'"),
        ("{track[0]}/{stem}.{ext}", "field"),
        ("{track!r}/{stem}.{ext}", "'track!r'"),
        ("{track:>9}/{stem}.{ext}", "'track:>9'"),
        ("{track}.{ext}", "all stems one name"),
        ("{track}/{stem}.wav", "does not end"),
        ("{track}/{stem}.{ext}/", "does not end"),
        ("{stem}/.{ext}", "does not end"),
        ("", "all stems one name"),
        ("/tmp/{stem}.{ext}", "leads out"),
        ("../{stem}.{ext}", "leads out"),
        ("{track}/../../{stem}.{ext}", "leads out"),
        ("..\\{stem}.{ext}", "leads out"),
        ("C:\\{stem}.{ext}", "leads out"),
        ("a//{stem}.{ext}", "without a name"),
        ("./{stem}.{ext}", "without a name"),
        ("a\0/{stem}.{ext}", "without a name"),
    ],
)
def test_templates_that_will_not_do(text, word):
    with pytest.raises(UsageError) as caught:
        parse_template(text)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["...", ".hidden", "..", "a. ", "con"])
def test_folders_of_any_name_stay_below(tmp_path, name):
    recording = tmp_path / name / "x.wav" if name != ".." else tmp_path / "a" / ".." / "x.wav"
    template = parse_template("{folder}/{stem}.{ext}")
    for target in template.targets(recording, Path("out"), "m", FILES).values():
        assert target.parent.parent == Path("out")
        assert not target.parent.name.startswith(".")


@pytest.mark.parametrize(
    ("text", "names", "meet"),
    [
        ("{stem}.{ext}", ("a/x.wav", "b/y.wav"), True),
        ("{track}/{stem}.{ext}", ("a/x.wav", "b/x.wav"), True),
        ("{track}/{stem}.{ext}", ("a/x.wav", "b/X.wav"), True),
        ("{folder}/{stem}.{ext}", ("a/x.wav", "a/y.wav"), True),
        ("{folder}/{stem}.{ext}", ("a/x.wav", "b/x.wav"), False),
        ("{folder}/{stem}.{ext}", ("c/a/x.wav", "d/a/x.wav"), True),
        ("{folder}{track}{stem}.{ext}", ("a/bc.wav", "ab/c.wav"), True),
        ("{track}/{stem}.{ext}", ("a/x.wav", "a/x.flac"), True),
    ],
)
def test_results_that_meet(text, names, meet):
    template = parse_template(text)
    places = {Path(name): template.targets(Path(name), Path("o"), "m", FILES) for name in names}
    if not meet:
        check_targets(places)
        return
    with pytest.raises(UsageError, match="would both be called") as caught:
        check_targets(places)
    assert all(name in str(caught.value) for name in names)


def test_no_recording_is_replaced(tmp_path):
    first, second = record(tmp_path / "mix.wav"), record(tmp_path / "mix" / "soprano.wav")
    template = parse_template("{track}/{stem}.{ext}")
    places = {path: template.targets(path, tmp_path, "m", FILES) for path in (first, second)}
    with pytest.raises(UsageError, match="would be replaced by a result"):
        check_targets(places)
    alone = template.targets(second, tmp_path / "..", "m", FILES)
    assert wants_files(alone, second, overwrite=True)
    own = parse_template("{folder}/{stem}.{ext}").targets(second, tmp_path, "m", FILES)
    with pytest.raises(OutputError, match="is the recording itself"):
        wants_files(own, second, overwrite=True)


def test_results_beside_the_recordings(tmp_path):
    """The folder is there already and keeps what it has."""
    path = record(tmp_path / "piece" / "mixture.wav")
    (tmp_path / "piece" / "notes.txt").write_text("mine")
    separated(path, tmp_path, "{folder}/{stem}.{ext}")
    below = files_below(tmp_path / "piece")
    assert below == {*FILES, "mixture.wav", "notes.txt"}
    with pytest.raises(OutputError, match="exists: use --overwrite or --skip-existing"):
        separated(path, tmp_path, "{folder}/{stem}.{ext}")
    before = (tmp_path / "piece" / "bass.wav").stat().st_mtime_ns
    separated(path, tmp_path, "{folder}/{stem}.{ext}", overwrite=True)
    assert (tmp_path / "piece" / "bass.wav").stat().st_mtime_ns > before
    assert files_below(tmp_path) == {f"piece/{name}" for name in below}


def test_skipping_asks_for_all_files(tmp_path):
    path = record(tmp_path / "a.wav")
    places = parse_template("{track}/{stem}.{ext}").targets(path, tmp_path, "m", FILES)
    assert wants_files(places, path, overwrite=False, skip_existing=True)
    separated(path, tmp_path, "{track}/{stem}.{ext}")
    assert not wants_files(places, path, overwrite=False, skip_existing=True)
    places["f0.csv"].unlink()
    with pytest.raises(OutputError, match=r"exists: use --overwrite$"):
        wants_files(places, path, overwrite=False, skip_existing=True)


@pytest.mark.parametrize("failing", range(1, 9))
def test_a_move_that_fails_leaves_what_was_there(tmp_path, monkeypatch, failing):
    path = record(tmp_path / "piece" / "a.wav")
    separated(path, tmp_path, "{folder}/{stem}.{ext}")
    kept = {name: (tmp_path / "piece" / name).read_bytes() for name in FILES}
    (tmp_path / "piece" / "bass.wav").write_bytes(b"older")
    kept["bass.wav"] = b"older"
    real, calls = os.replace, []

    def replace(source, target):
        calls.append(target)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(naming.os, "replace", replace)
    with pytest.raises(OutputError, match="No space left"):
        separated(path, tmp_path, "{folder}/{stem}.{ext}", overwrite=True)
    assert {name: (tmp_path / "piece" / name).read_bytes() for name in FILES} == kept
    assert files_below(tmp_path) == {"piece/a.wav", *(f"piece/{name}" for name in FILES)}


def test_a_failure_of_the_work_leaves_nothing(tmp_path):
    class Failing(StubEngine):
        def separate(self, *arguments, **_):
            raise RuntimeError("broken")

    path = record(tmp_path / "a.wav")
    options = StemOptions(filename="{track}/{stem}.{ext}")
    with pytest.raises(RuntimeError):
        separate_file(path, tmp_path / "out", Failing(), SHORT, options)
    assert list((tmp_path / "out").rglob("*")) == []
