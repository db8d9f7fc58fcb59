"""Disks that are full or read-only: one line, exit code 1, and nothing half-written."""

import json
import os
import resource
import subprocess
import sys

import disk_jobs
import pytest
from places import HELPERS, ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("jobs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UMSS_JAX_HOME", str(made / "home"))
        disk_jobs.stub(patch.setattr)
        disk_jobs.prepare(made)
        yield made


@pytest.fixture
def largest_file():
    """Sets how many bytes a file may have; beyond that writing fails, as on a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


QUICK = ("separate --flac", "chorale", "weights")


@pytest.mark.parametrize(
    "job", [pytest.param(j, marks=[pytest.mark.slow] * (j not in QUICK)) for j in disk_jobs.JOBS]
)
def test_a_file_that_cannot_grow(job, folder, tmp_path, largest_file):
    free = tmp_path / "free"
    free.mkdir()
    disk_jobs.before(job, folder, free)
    code, messages = disk_jobs.do(job, folder, free)
    assert code == 0, messages
    reference = disk_jobs.contents(free)
    files = [path.stat().st_size for path in free.rglob("*") if path.is_file()]
    sizes = {0, 1, 100, max(files) - 1, max(files) // 2, sorted(files)[len(files) // 2]}
    failed = 0
    for size in sorted(sizes):
        out = tmp_path / str(size)
        out.mkdir()
        disk_jobs.before(job, folder, out)
        largest_file(size)
        try:
            code, messages = disk_jobs.do(job, folder, out)
        finally:
            largest_file(resource.RLIM_INFINITY)
        failed += code != 0
        disk_jobs.assert_all_or_nothing(job, folder, out, reference, code, messages)
        if code:
            code, messages = disk_jobs.do(job, folder, out)
        assert code == 0, messages
        assert disk_jobs.contents(out) == reference
    assert failed >= 3


def can_mount():
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("job", disk_jobs.JOBS)
def test_disks_of_every_size(job, tmp_path):
    """Forty real ones, from one that holds nothing to one that holds all."""
    if not can_mount():
        pytest.skip("needs a system that lets users mount a tmpfs (unshare -rm)")
    paths = os.pathsep.join(map(str, (HELPERS, ROOT)))
    environment = {**os.environ, "PYTHONPATH": paths, "UMSS_JAX_HOME": str(tmp_path / "home")}
    command = ["unshare", "-rm", sys.executable, str(HELPERS / "disk_jobs.py"), str(tmp_path), job]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["full"] > 3


@pytest.mark.parametrize("job", [job for job in disk_jobs.JOBS if job != "report"])
def test_a_place_that_cannot_be_written(job, folder, tmp_path):
    """A file where the folder of results should be made: refused whoever asks, also root."""
    (tmp_path / "made").write_text("somebody's")
    code, messages = disk_jobs.do(job, folder, tmp_path)
    assert code in (1, 2)
    assert "cannot be" in messages[-1]
    assert "\n".join(messages).count(str(tmp_path / "made")) >= 1
    assert not any("Traceback" in line for line in messages)
    assert disk_jobs.contents(tmp_path) == {"made": b"somebody's"}
