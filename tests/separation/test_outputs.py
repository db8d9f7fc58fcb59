"""Names of results, what is known of them before the work, and what a killed replacement leaves."""

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from places import ROOT

from umss_jax.errors import OutputError
from umss_jax.files import check_place, write_bytes
from umss_jax.separation.outputs import (
    finished_together,
    same_on_some_systems,
    track_folder,
    track_name,
    wants_stems,
)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("choir.wav", "choir"),
        ("a.b.c.wav", "a.b.c"),
        ("choir", "choir"),
        ("-x.wav", "-x"),
        ("Größe.flac", "Größe"),
        ("a\nb.wav", "a\nb"),
        (".wav", "_wav"),
        ("..wav", "__wav"),
        ("...wav", "___wav"),
        (".choir.wav", "_choir"),
        (".partial-1.wav", "_partial-1"),
        ("a..wav", "a_"),
        ("a. .wav", "a__"),
        (" .wav", "_"),
        ("choir .wav", "choir_"),
        ("con.wav", "con"),
        (os.fsdecode(b"\xff.wav"), "\udcff"),
    ],
)
def test_results_are_called_as_the_recording(file, name):
    assert track_name(Path(file), windows=False) == name
    folder = track_folder(Path("in") / file, Path("out"), "starter")
    assert Path(os.path.normpath(folder)).parent == Path("out/starter")


@pytest.mark.parametrize("model", ["..", "...", ".hidden", "a/.."])
def test_the_folder_of_a_model_is_below_the_folder_of_results(model):
    folder = track_folder(Path("choir.wav"), Path("out"), Path(model).name)
    assert Path(os.path.normpath(folder)).parent.parent == Path("out")


@pytest.mark.parametrize(
    ("file", "name"),
    [("con.wav", "_con"), ("Aux.1.wav", "_Aux.1"), ("COM1 .wav", "_COM1_"), ("a:b?.wav", "a_b_")],
)
def test_names_that_windows_keeps_for_itself(file, name):
    assert track_name(Path(file), windows=True) == name


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Choir", "choir", True),
        ("Größe", unicodedata.normalize("NFD", "Größe"), True),
        ("GRÖSSE", unicodedata.normalize("NFD", "größe"), True),
        ("Å", "\u212b", True),
        ("choir", "choir2", False),
        ("\udcff", "\udcfe", False),
    ],
)
def test_names_that_some_system_takes_for_one(one, other, same):
    assert (same_on_some_systems(one) == same_on_some_systems(other)) is same


def test_working_copies_have_names_no_longer_than_others(tmp_path):
    for name in ("a" * 255, "ä" * 127, "x" * 251 + ".csv"):
        write_bytes(tmp_path / name, b"whole")
        assert (tmp_path / name).read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 3


def unwritable(tmp_path):
    (tmp_path / "file").write_text("mine")
    return [
        tmp_path / ("a" * 256),
        tmp_path / ("ä" * 128),
        tmp_path / "new" / ("a" * 256) / "result",
        tmp_path / "file" / "result",
        tmp_path / "file" / "below" / "result",
        Path("/proc/nowhere/result"),
        tmp_path.joinpath(*["folder" * 20] * 40),
    ]


@pytest.mark.parametrize("number", range(7))
def test_what_cannot_be_written_is_known_before_and_nothing_is_made(tmp_path, number):
    with pytest.raises(OutputError, match="cannot be written"):
        check_place(unwritable(tmp_path)[number])
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        check_place(tmp_path / "result")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("name", ["a" * 255, "ä" * 127, "x" * 247, "new/deep/result"])
def test_what_can_be_written_passes(tmp_path, name):
    check_place(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def stems(folder, sha256="0", **others):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("soprano.wav", "alto.wav"):
        (folder / name).write_text("sound")
    (folder / "manifest.json").write_text(json.dumps({"input": {"sha256": sha256}}))
    for name, content in others.items():
        (folder / f"{name}.txt").write_text(content)


def test_a_file_in_the_place_of_the_folder_is_refused_and_kept(tmp_path):
    (tmp_path / "choir").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError):
            wants_stems(tmp_path / "choir", tmp_path / "choir.wav", overwrite)
    assert (tmp_path / "choir").read_text() == "mine"


@pytest.mark.parametrize("link", [False, True])
def test_the_recording_itself_is_not_replaced(tmp_path, link):
    """`separate separated/starter/alto/alto.wav --overwrite` would put a stem in its place."""
    folder = tmp_path / "alto"
    stems(folder)
    recording = folder / "alto.wav"
    if link:
        recording = tmp_path / "link.wav"
        recording.symlink_to(folder / "alto.wav")
    with pytest.raises(OutputError, match="holds the recording itself"):
        wants_stems(folder, recording, overwrite=True)


def test_a_link_to_a_folder_stays_and_its_target_is_replaced(tmp_path):
    elsewhere, link = tmp_path / "disk" / "other name", tmp_path / "choir"
    stems(elsewhere, notes="mine")
    link.symlink_to(elsewhere)
    assert wants_stems(link, tmp_path / "choir.wav", overwrite=True)
    with finished_together(link) as work:
        (work / "soprano.wav").write_text("new")
    assert link.is_symlink()
    assert (elsewhere / "soprano.wav").read_text() == "new"
    assert (elsewhere / "notes.txt").read_text() == "mine"
    assert not (elsewhere / "alto.wav").exists()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["choir", "disk"]
    assert [item.name for item in (tmp_path / "disk").iterdir()] == ["other name"]


KILLED = """
import os, pathlib, sys
from umss_jax.separation import outputs
folder, calls, last = pathlib.Path(sys.argv[1]), 0, int(sys.argv[2])
def counted(real):
    def call(*arguments, **keywords):
        global calls
        if calls == last:
            os._exit(9)
        calls += 1
        return real(*arguments, **keywords)
    return call
with outputs.finished_together(folder) as work:
    (work / "soprano.wav").write_text("new")
    (work / "manifest.json").write_text('{"input": {"sha256": "0"}}')
    pathlib.Path.rename = counted(pathlib.Path.rename)
    outputs.shutil.rmtree = counted(outputs.shutil.rmtree)
"""


def kill_a_replacement(folder, last):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(last)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 9


@pytest.mark.parametrize("last", [0, 1, 2, 3, 4])
def test_a_replacement_killed_at_any_step_loses_nothing(tmp_path, last):
    """The steps: the old folder aside, the new one in place, two of the user's files, the rest."""
    folder = tmp_path / "choir"
    stems(folder, notes="mine", session="mine too")
    kill_a_replacement(folder, last)
    if last == 1:  # the folder is away: it comes back, and counts as there
        assert not folder.exists()
    with pytest.raises(OutputError, match="exists"):
        wants_stems(folder, tmp_path / "choir.wav", overwrite=False)
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "session.txt").read_text() == "mine too"
    assert (folder / "soprano.wav").read_text() == ("sound" if last < 2 else "new")
    assert list(tmp_path.glob(".replaced-*")) == []


def test_what_was_made_since_a_kill_is_kept_beside_what_comes_back(tmp_path):
    folder = tmp_path / "choir"
    stems(folder, notes="old")
    kill_a_replacement(folder, 2)
    (folder / "notes.txt").write_text("newer")
    wants_stems(folder, tmp_path / "choir.wav", overwrite=True)
    assert (folder / "notes.txt").read_text() == "newer"
    assert (folder / "notes.txt.replaced").read_text() == "old"


@pytest.mark.parametrize(
    "manifest", [b"[" * 200_000, b"", b"\xff\xfe", b"[]", b"3", b'{"input": 3}', b'{"input": []}']
)
def test_a_replaced_manifest_may_hold_anything(tmp_path, manifest):
    folder = tmp_path / "choir"
    stems(folder, notes="mine")
    (folder / "manifest.json").write_bytes(manifest)
    with finished_together(folder) as work:
        stems(work, sha256="1")
    assert (folder / "notes.txt").read_text() == "mine"
    assert '"1"' in (folder / "manifest.json").read_text()


def test_a_replacement_in_progress_is_left_alone(tmp_path):
    import fcntl

    folder = tmp_path / "choir"
    stems(folder)
    kill_a_replacement(folder, 1)
    (aside,) = tmp_path.glob(".replaced-*")
    holder = os.open(aside, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        assert wants_stems(folder, tmp_path / "choir.wav", overwrite=False)
        assert aside.exists()
    finally:
        os.close(holder)
    assert not wants_stems(folder, tmp_path / "choir.wav", overwrite=False, skip_existing=True)
