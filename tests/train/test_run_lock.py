"""One process trains a run, and what a killed one left behind hinders nobody."""

import errno
import json
import os
import platform
import signal
import subprocess
import sys

import pytest
from places import ROOT

from umss_jax import locks
from umss_jax.errors import OutputError, UsageError
from umss_jax.train import run_lock
from umss_jax.train.config import TrainConfig
from umss_jax.train.run_folder import RunFolder, list_runs, read_state

HOLD = """
import sys, time
from pathlib import Path
from umss_jax.errors import UsageError
from umss_jax.train.config import TrainConfig
from umss_jax.train.run_folder import RunFolder
print("ready", flush=True)
sys.stdin.readline()
try:
    with RunFolder(Path(sys.argv[1]), TrainConfig()).going():
        print("trains", flush=True)
        sys.stdin.readline()
except UsageError as error:
    print(error, flush=True)
"""


def starter(path):
    """A process that trains once it is told to, until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def tell(process):
    process.stdin.write("\n")
    process.stdin.flush()


def end(process):
    process.kill()
    process.communicate()


def edit_state(path, **values):
    state = json.loads((path / "state.json").read_text()) | values
    (path / "state.json").write_text(json.dumps(state))


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder of a run that was killed while it trained."""
    path = tmp_path_factory.mktemp("killed") / "run"
    process = starter(path)
    try:
        tell(process)
        assert process.stdout.readline() == "trains\n"
        assert read_state(path)["state"] == "running"
        os.kill(process.pid, signal.SIGKILL)
    finally:
        end(process)
    return path


@pytest.mark.parametrize("host", ["this", "node17", "", None, 5])
@pytest.mark.parametrize("pid", ["parent", "own", 1, 0, -1, 10**30, None, "7", True, []])
def test_a_killed_run_resumes_whatever_its_state_says(killed, host, pid):
    """On another host, or where the number of its process has been taken again."""
    host = platform.node() if host == "this" else host
    if isinstance(pid, str):
        pid = {"parent": os.getppid(), "own": os.getpid()}.get(pid, pid)
    RunFolder(killed, TrainConfig()).set_state("running")
    edit_state(killed, host=host, pid=pid)
    assert read_state(killed)["state"] == "killed"
    assert dict(list_runs(killed.parent))["run"]["state"] == "killed"
    with RunFolder(killed, TrainConfig()).going():
        assert read_state(killed)["state"] == "running"
        assert read_state(killed)["pid"] == os.getpid()
    assert read_state(killed)["state"] == "finished"


@pytest.mark.parametrize("state", ["running", "finished", "failed", "killed"])
def test_a_run_that_is_going_is_left_alone_whatever_its_state_says(tmp_path, state):
    process = starter(tmp_path)
    try:
        tell(process)
        assert process.stdout.readline() == "trains\n"
        edit_state(tmp_path, host="node17", pid=1, state=state)
        with (
            pytest.raises(UsageError, match=f"being trained by process {process.pid} on "),
            RunFolder(tmp_path, TrainConfig()).going(),
        ):
            raise AssertionError("both train")
        edit_state(tmp_path, state="running")
        assert read_state(tmp_path)["state"] == "running"
        tell(process)
        process.wait(20)
        assert read_state(tmp_path)["state"] == "finished"
    finally:
        end(process)


def test_of_several_that_start_at_one_moment_one_trains(tmp_path):
    processes = [starter(tmp_path / "run") for _ in range(4)]
    try:
        for process in processes:
            tell(process)
        said = [process.stdout.readline() for process in processes]
    finally:
        for process in processes:
            end(process)
    (winner,) = (one for one, line in zip(processes, said, strict=True) if line == "trains\n")
    others = [line for line in said if line != "trains\n"]
    assert all(f"being trained by process {winner.pid} on " in line for line in others), said


def test_in_one_process_too_one_trains(tmp_path):
    with RunFolder(tmp_path, TrainConfig()).going():
        assert run_lock.is_held(tmp_path)
        assert read_state(tmp_path)["state"] == "running", "reading must not let go of the lock"
        with (
            pytest.raises(UsageError, match=f"being trained by process {os.getpid()} on "),
            RunFolder(tmp_path, TrainConfig()).going(),
        ):
            raise AssertionError("both train")
        child = subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path)],
            input="\n\n", capture_output=True, text=True, cwd=ROOT, check=True,
        )  # fmt: skip
        assert f"being trained by process {os.getpid()} on " in child.stdout
    with RunFolder(tmp_path, TrainConfig()).going():
        pass


def test_hosts_that_do_not_write_take_no_lock(tmp_path):
    with RunFolder(tmp_path, TrainConfig()).going():
        before = (tmp_path / "state.json").read_text()
        with RunFolder(tmp_path, TrainConfig(), writes=False).going():
            pass
        assert (tmp_path / "state.json").read_text() == before


@pytest.mark.parametrize("code", ["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EINVAL", "no fcntl"])
def test_without_locks_the_process_number_counts_on_its_own_host(
    tmp_path, monkeypatch, caplog, code
):
    def refuse(*arguments):
        raise OSError(getattr(errno, code), "no locks here")

    if code == "no fcntl":
        monkeypatch.setattr(locks, "fcntl", None)
    else:
        monkeypatch.setattr(locks.fcntl, "lockf", refuse)
    with RunFolder(tmp_path, TrainConfig()).going():
        assert not (tmp_path / run_lock.LOCK).exists()
        edit_state(tmp_path, pid=os.getppid())
        assert read_state(tmp_path)["state"] == "running"
    (record,) = caplog.records
    assert "keeps no locks" in record.getMessage()
    RunFolder(tmp_path, TrainConfig()).set_state("running")
    edit_state(tmp_path, pid=os.getppid())
    with (
        pytest.raises(UsageError, match=f"being trained by process {os.getppid()}"),
        RunFolder(tmp_path, TrainConfig()).going(),
    ):
        raise AssertionError("both train")
    edit_state(tmp_path, host="node17")
    with RunFolder(tmp_path, TrainConfig()).going():
        pass


@pytest.mark.parametrize("where", ["mkdir", "open"])
@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch, where, code):
    def refuse(*arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, where, refuse)
    path = tmp_path / "run"
    with (
        pytest.raises(OutputError, match=f"{path} cannot be written .{os.strerror(code)}"),
        RunFolder(path, TrainConfig()).going(),
    ):
        raise AssertionError("it trains")


def test_a_file_in_the_place_of_a_run_is_named(tmp_path):
    (tmp_path / "run").write_text("")
    with (
        pytest.raises(OutputError, match="run cannot be written"),
        RunFolder(tmp_path / "run", TrainConfig()).going(),
    ):
        raise AssertionError("it trains")
