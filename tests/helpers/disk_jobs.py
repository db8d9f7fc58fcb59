"""Commands whose every write can be made to fail: what they need besides the disk is stubbed.

Usage: disk_jobs.py FOLDER JOB: in a mount namespace of its own, runs the job on ever larger disks
below FOLDER, and prints a JSON line for each.
"""

import contextlib
import gc
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from separation_folder import make_separation
from stub_engine import StubEngine
from stub_pitch_engine import StubPitchEngine
from weight_files import write_random

from umss_jax import api, demo
from umss_jax.chorales import render as chorales
from umss_jax.cli import f0, run, separate
from umss_jax.config import VOICES

JOBS = (
    *("separate", "separate --flac", "separate --float32", "f0", "chorale"),
    *("evaluate", "report", "weights", "demo"),
)


def sung(score, seed, config, bank, voices):
    """Four tones in place of the synthesiser."""
    time_s = np.arange(2 * 16_000) / 16_000
    hz = np.float32([440, 300, 200, 110])
    stems = (0.2 * np.sin(2 * np.pi * hz[:, None] * time_s)).astype(np.float32)
    f0_hz = np.repeat(hz[:, None], len(time_s) // 256 + 1, axis=1)
    return chorales.Rendering(score, stems, f0_hz, (1, 1, 1, 1))


class Demonstrated(StubEngine):
    """What the demo asks of a loaded model."""

    @property
    def engine(self):
        return self


def stub(patch):
    """Puts stand-ins in place of models and singers; ``patch(module, name, value)``."""
    patch(separate, "load_engine", lambda *options: StubEngine())
    patch(f0, "load_engine", lambda *options: StubPitchEngine())
    patch(chorales, "render", sung)
    patch(demo, "render", sung)
    patch(api, "load", lambda *arguments, **options: Demonstrated())


def prepare(folder):
    """Everything that the jobs read."""
    noise = np.random.default_rng(0).uniform(-0.4, 0.4, 96_000)
    soundfile.write(folder / "choir.wav", noise, 192_000)
    for piece in ("first", "second"):
        (folder / "set" / piece).mkdir(parents=True)
        for number, voice in enumerate(VOICES):
            sound = np.random.default_rng(number).normal(0, 0.05, 64_000)
            soundfile.write(folder / "set" / piece / f"{voice}.wav", sound, 16_000)
    write_random("npy-voas-cnn", folder / "voas")


def before(job, folder, out):
    """What lies in the folder of results already."""
    if job == "report":
        make_separation(out, 1.0)


def command(job, folder, out):
    """The arguments of a job."""
    name, *options = job.split()
    given = {
        "separate": [folder / "choir.wav", "-o", out / "made", "-n", "stub", "--overwrite"],
        "f0": [folder / "choir.wav", "-o", out / "made", "--midi", "--salience", "--plot"],
        "chorale": ["make", "-o", out / "made", "-n", 2],
        "evaluate": ["--baselines", "--dataset", "folder", "--data", folder / "set"],
        "report": [out / "out" / "stub" / "song"],
        "weights": ["import", folder / "voas", "-o", out / "made" / "voas.safetensors"],
        "demo": ["-o", out / "made" / "demo", "--overwrite"],
    }[name]
    if name == "evaluate":
        given += ["-o", out / "made", "--json", out / "a.json", "--csv", out / "b.csv"]
    if name == "f0":
        given += ["--overwrite"]
    return [name, *map(str, given), *options]


def do(job, folder, out):
    """Exit code and messages."""
    messages = io.StringIO()
    with contextlib.redirect_stderr(messages), contextlib.redirect_stdout(Quiet()):
        code = run(command(job, folder, out))
    return code, messages.getvalue().splitlines()


class Quiet(io.TextIOWrapper):
    """A standard output that goes nowhere."""

    def __init__(self):
        super().__init__(io.BytesIO(), write_through=True)


def contents(out):
    """Everything below a folder: bytes without times, of zip archives their length."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.is_file():
            data = re.sub(rb"(?s)(?<=PEAK).{12}", b"", path.read_bytes())  # size, version, time
            found[str(path.relative_to(out))] = len(data) if path.suffix == ".npz" else data
    return found


def assert_all_or_nothing(job, folder, out, reference, code, messages):
    """After a fault: an exit code and one line, whole files or none, and the next run does it."""
    made = contents(out)
    assert not [name for name in made if ".partial" in name or ".replaced" in name], job
    assert not list(out.rglob(".partial-*")), job
    journal = {name for name in made if "/excerpts/" in name}
    for name in made.keys() - journal:
        assert made[name] == reference[name], f"{job}: {name} is not whole"
    if code == 0:
        assert made.keys() - journal == {n for n in reference if "/excerpts/" not in n}, job
        return
    assert code == 1, messages
    assert "cannot be written" in messages[-1], messages
    assert not any("Traceback" in line or " failed (" in line for line in messages), messages
    known = ("umss-jax: no F0 tracks", "umss-jax: ")
    assert all(line.startswith(known) for line in messages), messages


@contextlib.contextmanager
def disk_of(folder, size):
    """A folder on a disk of its own; for a process in a mount namespace of its own."""
    disk = folder / "disk"
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
    try:
        (disk / "out").mkdir()
        yield disk / "out"
    finally:
        gc.collect()  # what an error still holds open
        subprocess.run(["umount", disk], check=True)


def sweep(folder, job):
    """How many of forty disks, from a full one to one with room for all, were too full."""
    free = folder / "free"
    free.mkdir()
    before(job, folder, free)
    code, messages = do(job, folder, free)
    assert code == 0, messages
    reference = contents(free)
    needed = 1_000_000 + 2 * sum(p.stat().st_size for p in free.rglob("*") if p.is_file())
    full = 0
    for left in (needed * np.linspace(0, 1, 40) ** 2).astype(int):
        with disk_of(folder, 2 * needed) as out:
            before(job, folder, out)
            (out.parent / "ballast").write_bytes(bytes(shutil.disk_usage(out).free - left))
            code, messages = do(job, folder, out)
            assert_all_or_nothing(job, folder, out, reference, code, messages)
        full += code != 0
    assert code == 0, messages
    return full


def main():
    """One job."""
    folder, job = Path(sys.argv[1]), sys.argv[2]
    stub(setattr)
    prepare(folder)
    print(json.dumps({"job": job, "full": sweep(folder, job)}))


if __name__ == "__main__":
    main()
