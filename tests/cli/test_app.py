"""``umss-jax app``: what it refuses before it serves, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from app_parts import StubWorker, wait_until, write_song
from places import ROOT

from umss_jax.app import need
from umss_jax.app.config import AppConfig
from umss_jax.app.run import address_of, run_app
from umss_jax.app.shelf import usual_folder
from umss_jax.app.work import Task
from umss_jax.app.worker import ModelChoice, ProcessWorker, Refused, StoppedError
from umss_jax.cli import run
from umss_jax.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "port"),
        (["--max-upload-mb", "0"], "upload_megabytes"),
        (["--host", ""], "--host is ''"),
    ],
)
def test_settings_out_of_range_are_refused(arguments, message, capsys, tmp_path):
    assert run(["app", "-o", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_port_in_use_is_said(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"nothing can listen at 127.0.0.1, port {port}"):
            run_app(tmp_path, AppConfig(port=port), worker=StubWorker())
    with pytest.raises(UsageError, match=r"nothing can listen at 203\.0\.113\.1"):
        run_app(tmp_path, AppConfig("203.0.113.1"), worker=StubWorker())


def test_a_missing_package_is_named_with_its_extra(monkeypatch, capsys):
    monkeypatch.setattr(need.importlib.util, "find_spec", lambda name: None)
    assert run(["app"]) == 2
    error = capsys.readouterr().err
    assert "needs starlette" in error
    assert "pip install 'umss-jax[app]'" in error


def test_addresses_can_be_opened():
    assert address_of("127.0.0.1", 80, "") == "http://127.0.0.1:80/"
    assert address_of("::1", 80, "") == "http://[::1]:80/"
    assert address_of("0.0.0.0", 80, "x") == f"http://{socket.gethostname()}:80/?token=x"


def test_results_are_kept_where_nobody_empties_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path))
    assert usual_folder() == tmp_path / "app"
    monkeypatch.delenv("UMSS_JAX_HOME")
    assert "cache" not in str(usual_folder()).lower()


def started(out):
    return subprocess.Popen(
        [sys.executable, "-m", "umss_jax", "app", "--port", "0", "--no-browser", "-o", str(out)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "UMSS_JAX_HOME": str(out / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_ctrl_c_ends_it_with_130_and_its_folder_is_its_own(tmp_path):
    first = started(tmp_path)
    try:
        address = first.stdout.readline().strip()
        with urllib.request.urlopen(address) as page:
            assert b"Drop a recording here" in page.read()
        second = started(tmp_path)
        _, error = second.communicate(timeout=120)
        assert second.returncode == 2
        assert "another umss-jax app keeps its results" in error
        first.send_signal(signal.SIGINT)
        out, error = first.communicate(timeout=120)
        assert first.returncode == 130
        assert (out, error.splitlines()[-1]) == ("", "umss-jax: interrupted")
        assert "Traceback" not in error
    finally:
        first.kill()
        first.wait()


def task(folder, name="song.wav"):
    return Task(folder / name, None, folder, "made", False, 240.0)


@pytest.mark.slow
def test_a_worker_says_what_is_wrong_and_can_be_stopped(tmp_path):
    worker = ProcessWorker(ModelChoice("no_such_model"))
    answer = worker.run(task(tmp_path), lambda told: None)
    assert isinstance(answer, Refused)
    assert answer.line.startswith("song.wav ")
    write_song(tmp_path / "song.wav")
    heard = []
    answer = worker.run(task(tmp_path), heard.append)
    assert "no_such_model" in answer.line
    assert [told.stage for told in heard] == ["reading the recording", "loading the model"]

    def stop(told):
        worker.stop()

    with pytest.raises(StoppedError):
        worker.run(task(tmp_path), stop)
    worker.warm()
    process = worker._process
    worker.stop()
    wait_until(lambda: not process.is_alive())
