"""What the bench measures where nothing, or everything, is asked for, and what is left of it."""

import json
import subprocess
import sys

from bench_rows import a_row

from umss_jax.bench import run as bench_run
from umss_jax.bench.ceilings import Ceilings
from umss_jax.bench.inputs import INPUT
from umss_jax.bench.measure import SEPARATION
from umss_jax.bench.run import jobs
from umss_jax.bench.stages import STAGES
from umss_jax.cli import run
from umss_jax.train.strategies import STRATEGIES


def test_everything_is_measured_where_nothing_is_named():
    chosen = jobs(None, None)
    assert [job.name for job in chosen] == [*STRATEGIES, SEPARATION, *STAGES, INPUT]
    assert all(job.seconds == 4 for job in chosen)
    assert {job.batch for job in chosen if "direct" in job.name} == {1}
    assert {job.batch for job in chosen if "direct" not in job.name} == {4}
    assert len(jobs(None, None, scaling=True)) > len(chosen)


def test_batches_and_lengths_are_combined():
    chosen = jobs(["umss"], None, [1, 2], [4.0, 8.0])
    assert [job[2:] for job in chosen] == [(1, 4.0), (1, 8.0), (2, 4.0), (2, 8.0)]


def test_several_devices_are_for_training_alone():
    assert [job.name for job in jobs(None, None, devices=2)] == [*STRATEGIES]


PRINTING = """
import json, sys, time
row = json.loads(sys.argv[1])
print(json.dumps(row), flush=True)
"""


def stand_in(monkeypatch, rows):
    """Instead of measuring, every job prints a row of its own, or fails where there is none."""

    def command(job, repeats, setup):
        if job.name not in rows:
            return [sys.executable, "-c", "import sys; sys.exit('no room')"]
        return [sys.executable, "-c", PRINTING, json.dumps(rows[job.name])]

    ceilings = iter([Ceilings(float32=100.0), Ceilings(float32=200.0, copies=8.0)])
    monkeypatch.setattr(bench_run, "job_command", command)
    monkeypatch.setattr(
        bench_run, "measure_machine", lambda kinds=(): bench_run.Machine("this", next(ceilings))
    )


def test_rows_are_printed_and_written_when_they_are_done(monkeypatch, tmp_path, capsys):
    """What fails is said and passed over; both files are whole at any time."""
    written = []
    write = bench_run.write
    rows = {name: a_row(strategy=name) for name in ("umss", "sft_sft")}
    stand_in(monkeypatch, rows)

    def look(*arguments):
        table = write(*arguments)
        written.append(json.loads((tmp_path / "this.json").read_text()))
        return table

    monkeypatch.setattr(bench_run, "write", look)
    names = [word for name in ("umss", "sf_sf", "sft_sft") for word in ("--strategy", name)]
    assert run(["bench", *names, "--json", "--out", str(tmp_path), "-q"]) == 1
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "strategy sf_sf failed with exit code 1: no room" in printed.err
    *lines, place = printed.out.splitlines()
    assert [json.loads(line)["strategy"] for line in lines] == ["umss", "sft_sft"]
    assert place == str(tmp_path / "this.md")
    assert [len(rows) for rows in written] == [1, 2, 2]
    assert {row["ceiling_gflops"] for row in written[1]} == {100.0}
    assert {row["ceiling_gflops"] for row in written[2]} == {200.0}
    assert written[2][0]["ceiling_copy_gib_s"] == 8.0


def test_who_asks_takes_no_device():
    """A TPU belongs to one process: the one that measures."""
    code = (
        "from jax._src import xla_bridge\n"
        "from umss_jax.bench import run\n"
        "run.jobs(None, None)\n"
        "print(xla_bridge.backends_are_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_nothing_measured_is_a_failure(monkeypatch, capsys):
    stand_in(monkeypatch, {})
    assert run(["bench", "--strategy", "umss", "-q"]) == 1
    assert capsys.readouterr().out == ""
