"""The command with standard streams of every state: the work goes on, and results are written."""

import contextlib
import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from places import HELPERS, ROOT

from umss_jax.errors import UmssError, one_line, printable

STUB = f"""
import sys
sys.path[:0] = [{str(HELPERS)!r}, {str(ROOT)!r}]
from stub_engine import StubEngine
from umss_jax.cli import main, separate
separate.load_engine = lambda *options: StubEngine()
"""
NAMES = ("first", "Größe ²", "last")


@pytest.fixture
def recordings(tmp_path):
    audio = 0.3 * np.random.default_rng(0).uniform(-1, 1, 8000)
    for name in NAMES:
        soundfile.write(tmp_path / f"{name}.wav", audio, 16_000)
    return [f"{name}.wav" for name in NAMES]


def shell(tmp_path, command, program=STUB + "main(sys.argv[1:])", **environment):
    """Runs a command line of bash, in which $C is the command; the reader of a pipe decides."""
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    call = f'"{sys.executable}" program.py'
    return subprocess.run(
        ["bash", "-c", f'C() {{ {call} "$@"; }}; {command}'],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
    )


@pytest.mark.parametrize(
    ("redirected", "code"),
    [
        pytest.param("2>&-", 0, marks=pytest.mark.slow),
        pytest.param(">&-", 0, marks=pytest.mark.slow),
        (">&- 2>&-", 0),
        pytest.param("<&- >&- 2>&-", 0, marks=pytest.mark.slow),
        pytest.param("<&-", 0, marks=pytest.mark.slow),
        pytest.param("2>/dev/full", 0, marks=pytest.mark.slow),
        (">/dev/full", 1),
        pytest.param(">/dev/full 2>/dev/full", 1, marks=pytest.mark.slow),
        pytest.param("| head -1; exit ${PIPESTATUS[0]}", 0, marks=pytest.mark.slow),
        ("| true; exit ${PIPESTATUS[0]}", 0),
        pytest.param("2>&1 | true; exit ${PIPESTATUS[0]}", 0, marks=pytest.mark.slow),
    ],
)
def test_results_are_written_whatever_the_streams_are(tmp_path, recordings, redirected, code):
    names = " ".join(f"'{name}'" for name in recordings)
    done = shell(tmp_path, f"C separate {names} nowhere.wav -o out -n stub -q {redirected}")
    # The file that does not exist is what fails; full streams make no difference to that.
    assert done.returncode == 1
    made = sorted(path.parent.name for path in (tmp_path / "out" / "stub").glob("*/manifest.json"))
    assert made == sorted(NAMES)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    again = shell(tmp_path, f"C separate {names} -o out -n stub -q --skip-existing {redirected}")
    assert again.returncode == 0  # nothing is printed, so nothing is lost
    listed = shell(tmp_path, f"C weights list {redirected}")
    assert listed.returncode == code
    if "1" in redirected.split("|")[0] and code:
        assert b"standard output could not be written" in listed.stderr


@pytest.mark.parametrize(
    ("arguments", "reader"),
    [
        ("--help", "true"),
        ("weights list", "head -c1"),
        pytest.param("--version", "true", marks=pytest.mark.slow),
        pytest.param("separate --help", "true", marks=pytest.mark.slow),
        pytest.param("--help", "head -c1", marks=pytest.mark.slow),
        pytest.param("weights list", "true", marks=pytest.mark.slow),
    ],
)
def test_readers_that_leave_early(tmp_path, arguments, reader):
    done = shell(tmp_path, f"C {arguments} | {reader}; exit ${{PIPESTATUS[0]}}")
    said = [line for line in done.stderr.splitlines() if not line.startswith(b"nothing is stored")]
    assert (done.returncode, said) == (0, [])


def test_a_start_without_streams(tmp_path, recordings):
    program = STUB + "sys.stdin = sys.stdout = sys.stderr = None\nmain(sys.argv[1:])"
    done = shell(tmp_path, "C separate first.wav nowhere.wav -o out -n stub", program)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    assert (tmp_path / "out/stub/first/manifest.json").exists()


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, marks=pytest.mark.slow
        ),
        {"PYTHONIOENCODING": "ascii"},
        pytest.param({"PYTHONIOENCODING": "ascii:strict"}, marks=pytest.mark.slow),
        pytest.param({"PYTHONIOENCODING": "latin-1"}, marks=pytest.mark.slow),
        pytest.param({"PYTHONIOENCODING": "cp1252"}, marks=pytest.mark.slow),
        pytest.param({"LC_ALL": "C.UTF-8"}, marks=pytest.mark.slow),
    ],
)
def test_encodings_of_the_streams(tmp_path, recordings, environment):
    done = shell(tmp_path, "C separate Gr*.wav nö.wav -o out -n stub", **environment)
    assert done.returncode == 1
    assert done.stdout == "out/stub/Größe ²\n".encode()
    assert done.stderr.count(b"\n") == 2
    assert b"does not exist" in done.stderr


def test_what_an_encoding_lacks_is_spelt_out(tmp_path):
    program = (
        "from umss_jax.cli import streams\nimport sys\nstreams.prepare_streams()\n"
        "print('ö–\\udce4')\nprint('ö–\\udce4', file=sys.stderr)\n"
    )
    done = shell(tmp_path, "C", program, PYTHONIOENCODING="ascii")
    assert done.stdout == b"\\xf6\\u2013\xe4\n"
    assert done.stderr == b"\\xf6\\u2013\\udce4\n"


def test_a_closed_stream_is_no_place_for_the_next_file(tmp_path):
    program = (
        "from umss_jax.cli import streams\nstreams.prepare_streams()\n"
        "file = open('kept', 'w')\nassert file.fileno() > 2\n"
        "import os\nos.write(1, b'chatter')\nfile.write('mine')\n"
    )
    assert shell(tmp_path, "C <&- >&- 2>&-", program).returncode == 0
    assert (tmp_path / "kept").read_text() == "mine"


def test_a_terminal_that_is_closed(tmp_path, recordings):
    (tmp_path / "program.py").write_text(STUB + "main(sys.argv[1:])", encoding="utf-8")
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "program.py", "separate", "first.wav", "last.wav", "-o", "out"],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.close(ours)
    assert child.wait(60) == 0
    made = {path.parent.name for path in tmp_path.glob("out/*/*/manifest.json")}
    assert made == {"first", "last"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b[31mb.wav", "a\\x1b[31mb.wav"),
        ("a\nb.wav", "a\\nb.wav"),
        ("a\r\t\x07\x7f\x9b", "a\\r\\t\\x07\\x7f\\x9b"),
        ("a\u2028b\u202eb", "a\\u2028b\\u202eb"),
        (os.fsdecode(b"a\xe4"), "a\\xe4"),
        ("Größe  – ²\u200d", "Größe  – ²\u200d"),
    ],
)
def test_names_in_messages_are_not_obeyed(name, shown):
    assert printable(name) == shown
    assert str(UmssError(f"{name} is empty", "mend it")) == f"{shown} is empty: mend it"


def test_messages_from_elsewhere_are_one_line():
    assert one_line("out of\n  memory \x1b") == "out of memory \\x1b"


def test_names_reach_a_terminal_spelt_out_and_a_pipe_as_they_are(tmp_path, recordings):
    strange = tmp_path / "a\x1b[31m\nb.wav"
    (tmp_path / "first.wav").rename(strange)
    call = [sys.executable, "-c", STUB + "main(sys.argv[1:])", "separate", strange, "gone\x1b.wav"]
    call += ["-o", tmp_path / "out", "-n", "stub", "-v", "--overwrite"]
    done = subprocess.run(call, capture_output=True)
    assert done.stdout == os.fsencode(tmp_path / "out/stub/a\x1b[31m\nb") + b"\n"
    assert b"\x1b" not in done.stderr
    assert b"a\\x1b[31m\\nb.wav: 0.5 s" in done.stderr
    ours, theirs = pty.openpty()
    child = subprocess.Popen(call, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = io.BytesIO()
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65_536):
            shown.write(piece)
    child.wait(60)
    assert b"\x1b[31m" not in shown.getvalue()
    assert b"/a\\x1b[31m\\nb\r\n" in shown.getvalue()
    assert Path(tmp_path / "out/stub/a\x1b[31m\nb").is_dir()
