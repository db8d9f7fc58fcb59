"""Commands that are killed at random moments and run again leave what an undisturbed one leaves."""

import os
import signal
import subprocess
import sys
import time

import disk_jobs
import numpy as np
import pytest
from places import HELPERS, ROOT

SLOWLY = """
import sys, time
from pathlib import Path
import disk_jobs
from umss_jax.chorales import render
disk_jobs.stub(setattr)
def sung(*arguments):
    time.sleep(0.15)
    return disk_jobs.sung(*arguments)
render.render = sung
print("ready", flush=True)
arguments = disk_jobs.command(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
sys.exit(disk_jobs.run(arguments))
"""


def start(job, folder, out):
    paths = os.pathsep.join(map(str, (HELPERS, ROOT)))
    environment = {**os.environ, "PYTHONPATH": paths, "UMSS_JAX_HOME": str(folder / "home")}
    command = [sys.executable, "-c", SLOWLY, job, str(folder), str(out)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment, **pipes)
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process):
    _, messages = process.communicate(timeout=300)
    return process.returncode, messages


@pytest.mark.slow
@pytest.mark.parametrize("job", ["chorale", "evaluate"])
def test_killed_ten_times_and_run_again(job, tmp_path):
    disk_jobs.prepare(tmp_path)
    free = tmp_path / "free"
    began = time.monotonic()
    assert finish(start(job, tmp_path, free))[0] == 0
    whole_s = time.monotonic() - began
    reference = disk_jobs.contents(free)
    moments = np.random.default_rng()
    killed = 0
    for turn in range(10):
        out = tmp_path / str(turn)
        process = start(job, tmp_path, out)
        time.sleep(moments.uniform(0, whole_s))
        process.send_signal(signal.SIGKILL)
        killed += finish(process)[0] == -signal.SIGKILL
        code, messages = finish(start(job, tmp_path, out))
        assert code == 0, messages
        assert disk_jobs.contents(out) == reference
        assert not list(out.rglob(".partial-*"))
    assert killed >= 3
