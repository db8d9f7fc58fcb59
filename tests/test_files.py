"""Files that are whole or not there, whatever lies in their place and whatever a disk does."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from places import ROOT

from umss_jax import aside, files, locks
from umss_jax.errors import OutputError

OLD, NEW = "what was there", "what is new"
PLACES = {
    "write_text": lambda path: files.write_text(path, NEW),
    "make_whole": lambda path: files.make_whole(path, lambda made: made.write_text(NEW)),
    "working_folder": lambda path: in_working_folder(path),
}


def in_block(path, make):
    with files.working_folder(path) as work:
        make(work)


def in_working_folder(path):
    with files.working_folder(path) as work:
        (work / "made").write_text(NEW)
        os.replace(work / "made", path)


def names(folder):
    return sorted(os.fsencode(path.name) for path in folder.iterdir())


@pytest.fixture(autouse=True)
def unswept(monkeypatch):
    monkeypatch.setattr(aside, "_swept", set())


@pytest.mark.parametrize("write", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(
    "name", ["a" * 255, "é" * 127, "♪" * 85, "a.b" * 85, "." + "a" * 250 + ".csv"]
)
def test_the_longest_names_can_be_written(tmp_path, write, name):
    write(tmp_path / name)
    assert (tmp_path / name).read_text() == NEW
    assert names(tmp_path) == [os.fsencode(name)]


@pytest.mark.parametrize("write", PLACES.values(), ids=PLACES)
def test_links_are_replaced_and_what_they_lead_to_stays(tmp_path, write):
    foreign = tmp_path / "foreign"
    foreign.write_text(OLD)
    (tmp_path / "symbolic").symlink_to(foreign)
    (tmp_path / "nowhere").symlink_to(tmp_path / "not there")
    os.link(foreign, tmp_path / "hard")
    for name in ("symbolic", "nowhere", "hard"):
        write(tmp_path / name)
        assert not (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_text() == NEW
    assert foreign.read_text() == OLD
    assert not (tmp_path / "not there").exists()


@pytest.mark.parametrize("write", [PLACES["write_text"], PLACES["make_whole"]])
def test_what_is_no_regular_file_is_refused_in_one_line(tmp_path, write):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "null").symlink_to(os.devnull)
    before = names(tmp_path)
    for name in before:
        with pytest.raises(OutputError) as error:
            write(tmp_path / os.fsdecode(name))
        assert "\n" not in str(error.value)
        assert os.fsdecode(name) in str(error.value)
    assert names(tmp_path) == before
    assert not list((tmp_path / "folder").iterdir())
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("write", PLACES.values(), ids=PLACES)
def test_a_file_where_a_folder_is_needed_is_one_line(tmp_path, write):
    (tmp_path / "file").write_text(OLD)
    with pytest.raises(OutputError, match="file/result"):
        write(tmp_path / "file" / "result")
    assert (tmp_path / "file").read_text() == OLD


@pytest.mark.parametrize(
    ("call", "write"),
    [
        ("fsync", PLACES["write_text"]),
        *((call, write) for call in ("mkdir", "open", "replace") for write in PLACES.values()),
    ],
)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_disk_that_fails_leaves_what_was_there(tmp_path, monkeypatch, call, write, number):
    path = tmp_path / "result"
    path.write_text(OLD)

    working = getattr(os, call)

    def fail(*arguments, **options):
        if call == "open" and not arguments[1] & os.O_CREAT:
            return working(*arguments, **options)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OutputError) as error:
            write(path)
    assert str(path) in str(error.value)
    assert os.strerror(number) in str(error.value)
    assert "\n" not in str(error.value)
    assert path.read_text() == OLD
    assert names(tmp_path) == [b"result"]


HOLDER = """
import os, sys, time
from pathlib import Path
from umss_jax.files import make_whole, working_folder
def work(made):
    made.write_text("half")
    print("ready", flush=True)
    time.sleep(60)
if sys.argv[1] == "file":
    make_whole(Path(sys.argv[2]), work)
with working_folder(Path(sys.argv[2])) as folder:
    work(folder / "half")
"""


@contextlib.contextmanager
def another_process(kind, path):
    command = [sys.executable, "-c", HOLDER, kind, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("write", PLACES.values(), ids=PLACES)
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not(
    tmp_path, monkeypatch, kind, write
):
    with another_process(kind, tmp_path / "theirs") as process:
        (half,) = tmp_path.iterdir()
        write(tmp_path / "ours")
        assert half.is_dir()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert half.is_dir()
    monkeypatch.setattr(aside, "_swept", set())
    write(tmp_path / "ours")
    assert names(tmp_path) == [b"ours"]


def test_our_own_folders_survive_a_look_around(tmp_path, monkeypatch):
    with files.working_folder(tmp_path / "one") as one:
        monkeypatch.setattr(aside, "_swept", set())
        with files.working_folder(tmp_path / "two") as two:
            assert one.is_dir()
            assert two.is_dir()
        # Nor did looking let go of the lock.
        code = "import sys; from pathlib import Path; from umss_jax.files import write_text; "
        code += "write_text(Path(sys.argv[1]), '')"
        command = [sys.executable, "-c", code, str(tmp_path / "theirs")]
        subprocess.run(command, check=True, cwd=ROOT)
        assert one.is_dir()
    assert names(tmp_path) == [b"theirs"]


def test_foreign_files_stay(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    place = tmp_path / "place"
    place.mkdir()
    for name in (".partial-notes", ".replaced-mine", ".table.md.part"):
        (place / name).mkdir()
        (place / name / "lock").touch()
    (place / f"{aside.PREFIX}file").touch()
    (place / f"{aside.PREFIX}link").symlink_to(elsewhere)
    (place / f"{aside.PREFIX}trap").mkdir()
    (place / f"{aside.PREFIX}trap" / "lock").symlink_to(elsewhere / "lock")
    before = names(place)
    files.write_text(place / "result", NEW)
    assert names(place) == sorted([*before, b"result"])
    assert names(elsewhere) == [b"lock"]


@pytest.mark.parametrize(("days", "stays"), [(0, True), (6, True), (8, False), (-8, True)])
def test_without_locks_only_what_nobody_touched_for_a_week_goes(tmp_path, monkeypatch, days, stays):
    """Also where the clock was set back since: then it stays."""

    class NoLocks:
        LOCK_EX, LOCK_NB = 1, 2

        @staticmethod
        def lockf(*arguments):
            raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "fcntl", NoLocks)
    with files.working_folder(tmp_path / "one") as work:
        left = work.parent
        (work / "half").write_text("half")
        left.rename(tmp_path / f"{aside.PREFIX}left")
        left = tmp_path / f"{aside.PREFIX}left"
    then = time.time() - days * 24 * 3600
    for item in (left / "made" / "half", left / "made", left):
        os.utime(item, (then, then))
    monkeypatch.setattr(aside, "_swept", set())
    files.write_text(tmp_path / "result", NEW)
    assert left.exists() == stays


@pytest.mark.parametrize("write", [files.make_whole, in_block])
def test_folders_made_for_what_fails_go_again(tmp_path, write):
    (tmp_path / "there").mkdir()

    def fail(_):
        raise KeyError

    for place in (tmp_path / "a" / "b" / "one", tmp_path / "there" / "c" / "one"):
        with pytest.raises(KeyError):
            write(place, fail)
    assert [one.name for one in tmp_path.rglob("*")] == ["there"]

    def fail_beside_another(_):
        (tmp_path / "d" / "other").touch()
        raise KeyError

    with pytest.raises(KeyError):
        write(tmp_path / "d" / "e" / "one", fail_beside_another)
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["d", "other", "there"]
