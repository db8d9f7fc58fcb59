"""Signals: none is lost, wherever the program is, and nothing is half-written after one."""

import json
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest
import small_run
import soundfile
from places import HELPERS, ROOT

from umss_jax import interruption
from umss_jax.config_tree import plain, to_toml

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
PATHS = f"import sys; sys.path[:0] = [{str(HELPERS)!r}, {str(ROOT)!r}]\n"
SEPARATE = f"""{PATHS}
from stub_engine import StubEngine
from umss_jax.cli import main, separate
separate.load_engine = lambda *options: StubEngine(delay_s=0.05)
main(sys.argv[1:])
"""
TRAIN = f"""{PATHS}
import jax
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
from small_engine import KnownPitch
from umss_jax.cli import main
from umss_jax.train import f0_cache
f0_cache.ModelEngine = KnownPitch
main(["train", *sys.argv[2:]])
"""


def start(code, *arguments, **options):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, **{**pipes, **options})


def after_install(body):
    """A program that remembers signals; `body` prints ``ready`` where one is to come."""
    return f"{PATHS}import gc, os, signal, time\nfrom umss_jax import interruption\n" + (
        f"interruption.install()\n{body}"
    )


def ended(process, timeout_s=30):
    printed, messages = process.communicate(timeout=timeout_s)
    assert "Traceback" not in messages, messages
    assert "Exception ignored" not in messages, messages
    return process.returncode, printed, messages


@pytest.mark.parametrize("number", CODES)
def test_a_signal_within_the_garbage_collection_is_not_lost(number):
    body = (
        "def collected(phase, info):\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    sum(range(1000))\n"
        "gc.callbacks.append(collected)\n"
        "gc.collect()\n"
        "gc.callbacks.clear()\n"
        "try:\n"
        "    interruption.check()\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped', interruption.exit_code())\n"
        "time.sleep(0.5)\n"  # for the thread that says so
    )
    code, printed, messages = ended(start(after_install(body)))
    assert (code, printed) == (0, f"stopped {CODES[number]}\n")
    assert messages == "umss-jax: stopping after this step (again: at once)\n"


@pytest.mark.parametrize("number", CODES)
def test_a_second_signal_ends_it_at_once_even_in_a_native_call(number):
    body = (
        "import hashlib\n"
        "print('ready', flush=True)\n"
        "hashlib.pbkdf2_hmac('sha256', b'word', b'salt', 200_000_000)\n"
    )
    process = start(after_install(body))
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(number)
    assert process.stderr.readline() == "umss-jax: stopping after this step (again: at once)\n"
    time.sleep(0.2)
    process.send_signal(number)
    assert ended(process)[0] == CODES[number]
    assert time.monotonic() - began < 20


def test_the_echo_of_a_signal_is_no_second_one():
    body = (
        "os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGINT)\n"
        "time.sleep(0.5)\n"
        "print('goes on')\n"
    )
    assert ended(start(after_install(body)))[:2] == (0, "goes on\n")


@pytest.mark.parametrize("number", CODES)
def test_what_was_ignored_at_the_start_stays_ignored(number):
    before = f"import signal; signal.signal({int(number)}, signal.SIG_IGN)\n"
    body = (
        f"os.kill(os.getpid(), {int(number)})\n"
        "time.sleep(0.2)\n"
        "interruption.check()\n"
        "print('goes on')\n"
    )
    assert ended(start(before + after_install(body))) == (0, "goes on\n", "")


def test_nothing_is_installed_in_somebody_elses_program():
    before = {number: signal.getsignal(number) for number in CODES}
    assert list(interruption.checked(range(3))) == [0, 1, 2]
    interruption.check()
    assert interruption.exit_code() == 0
    assert {number: signal.getsignal(number) for number in CODES} == before


def test_what_a_thread_waits_for_does_not_keep_it():
    """A batch that takes a minute; the thread that makes it goes with the process."""
    body = (
        "from umss_jax.train.prefetching import Prefetched\n"
        "def batches():\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "    yield 0\n"
        "try:\n"
        "    next(Prefetched(batches()))\n"
        "except KeyboardInterrupt:\n"
        "    os._exit(interruption.exit_code())\n"
    )
    process = start(after_install(body))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert ended(process, 20)[0] == 143


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """0.4 s of every 60 stub segments: some seconds of work."""
    path = tmp_path_factory.mktemp("sound") / "choir.wav"
    noise = 0.3 * np.random.default_rng(0).uniform(-1, 1, 60 * 16_000)
    soundfile.write(path, noise, 16_000)
    return path


def hit(process, number, delay_s):
    """Sends a signal after a while, counted from the first sign of life, and waits for the end."""
    timer = threading.Timer(delay_s, process.send_signal, (number,))
    timer.start()
    try:
        return ended(process, 300)
    finally:
        timer.cancel()


def separate_hit(recording, out, number, delay_s):
    process = start(SEPARATE, "separate", recording, "-o", out, "-n", "stub", "-v")
    while line := process.stderr.readline():
        if "choir.wav: " in line:
            break
    code, _, messages = hit(process, number, delay_s)
    assert code == CODES[number], messages
    assert messages.endswith("umss-jax: interrupted\n"), messages
    left = [path.name for path in (out / "stub").iterdir()] if (out / "stub").is_dir() else []
    assert left in ([], ["choir"])


@pytest.mark.parametrize("number", CODES)
def test_separate_obeys_every_signal(recording, tmp_path, number):
    delay_s = np.random.default_rng().uniform(0, 1.0)
    separate_hit(recording, tmp_path / "out", number, delay_s)


def train_hit(prepared, number, delay_s, name):
    config = prepared / f"{name}.toml"
    overrides = (f"name={name}", "epochs=[4000]")
    config.write_text(to_toml(plain(small_run.settings(prepared, *overrides))))
    cache = jax.config.jax_compilation_cache_dir
    process = start(TRAIN, cache, config, "--runs", prepared, "-q")
    state = prepared / name / "state.json"
    while not state.is_file() and process.poll() is None:
        time.sleep(0.01)
    code, printed, messages = hit(process, number, delay_s)
    assert (code, printed) == (CODES[number], ""), messages
    assert messages.endswith("umss-jax: interrupted\n"), messages
    assert json.loads(state.read_text())["state"] == "interrupted"


def test_train_obeys_a_signal(prepared):
    train_hit(prepared, signal.SIGTERM, np.random.default_rng().uniform(0, 3.0), "once")


@pytest.mark.slow
def test_of_fifty_signals_at_random_moments_none_is_lost(recording, prepared, tmp_path):
    moments = np.random.default_rng()
    numbers = [list(CODES)[turn % len(CODES)] for turn in range(25)]
    for turn, number in enumerate(numbers):
        separate_hit(recording, tmp_path / str(turn), number, moments.uniform(0, 1.2))
        train_hit(prepared, number, moments.uniform(0, 8.0), f"many{turn}")
