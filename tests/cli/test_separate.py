"""The command: exit codes, one line for each error, nothing half-written."""

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from places import HELPERS, ROOT
from small_engine import SMALL, small_engine
from stub_engine import StubEngine

from umss_jax.cli import run, separate
from umss_jax.config import VOICES, Assigner
from umss_jax.errors import UsageError
from umss_jax.train import adapt
from umss_jax.train.config import AdaptationConfig
from umss_jax.trees import flatten
from umss_jax.weights.store import load

COMMAND = f"""
import sys
sys.path[:0] = [{str(HELPERS)!r}, {str(ROOT)!r}]
from stub_engine import StubEngine
from umss_jax.cli import main, separate
separate.load_engine = lambda *options: StubEngine(delay_s=float(sys.argv[1]))
main(sys.argv[2:])
"""


@pytest.fixture
def choir(tmp_path):
    return record(tmp_path / "choir.wav")


def record(path, seconds=1.0, rate=44_100, **options):
    audio = 0.4 * np.random.default_rng(0).uniform(-1, 1, (int(seconds * rate), 2))
    soundfile.write(path, audio, rate, **options)
    return path


def call(*arguments, capfd=None):
    """Exit code and the lines of stdout and stderr."""
    code = run([str(argument) for argument in arguments])
    caught = capfd.readouterr()
    return code, caught.out.splitlines(), caught.err.splitlines()


def process(*arguments, delay_s=0.0, **options):
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(delay_s), *map(str, arguments)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},
    )


def test_help_does_not_import_jax():
    code = (
        "import sys; from umss_jax.cli import run\n"
        "for arguments in (['--help'], ['separate', '--help'], ['--version']): run(arguments)\n"
        "print('LOADED', sorted({'jax', 'flax', 'librosa', 'scipy', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "separate" in done.stdout
    for option in ("--adapt", "--assigner", "--clip-mode", "--skip-existing", "--float32"):
        assert option in done.stdout
    assert "umss-jax 0" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_separates_and_prints_the_folder(stub, choir, tmp_path, capfd):
    code, out, err = call("separate", choir, "-o", tmp_path / "out", "-n", "stub", capfd=capfd)
    folder = tmp_path / "out" / "stub" / "choir"
    assert (code, out, err) == (0, [str(folder)], [])
    names = {f"{voice}.wav" for voice in (*VOICES, "residual")} | {"f0.csv", "manifest.json"}
    assert {item.name for item in folder.iterdir()} == names


def test_options_reach_the_stems(stub, choir, tmp_path, capfd):
    code, _, err = call(
        *("separate", choir, "-o", tmp_path, "-n", "stub", "--flac", "--seed", 5),
        *("--segment", 2, "--overlap", 0.1, "--clip-mode", "none", "-q"),
        "--no-full-band",
        capfd=capfd,
    )
    assert (code, err) == (0, [])
    manifest = json.loads((tmp_path / "stub" / "choir" / "manifest.json").read_text())
    assert manifest["seed"] == 5
    assert manifest["options"] == {
        "segment_s": 2.0,
        "overlap": 0.1,
        "full_band": False,
        "clip_mode": "none",
        "format": "FLAC PCM_24",
    }
    assert soundfile.info(tmp_path / "stub" / "choir" / "alto.flac").subtype == "PCM_24"


def test_existing_stems(stub, choir, tmp_path, capfd):
    arguments = ("separate", choir, "-o", tmp_path, "-n", "stub")
    assert call(*arguments, capfd=capfd)[0] == 0
    heard = len(stub.heard)
    code, out, err = call(*arguments, capfd=capfd)
    assert (code, out, len(err)) == (1, [], 1)
    assert str(choir) in err[0]
    assert "--skip-existing" in err[0]
    code, out, err = call(*arguments, "--skip-existing", capfd=capfd)
    assert (code, out, len(err)) == (0, [], 1)
    assert f"passed over, since results are there: {choir} (1 of 1)" in err[0]
    assert call(*arguments, "--skip-existing", "-q", capfd=capfd) == (0, [], [])
    assert len(stub.heard) == heard
    assert call(*arguments, "--overwrite", capfd=capfd)[0] == 0
    assert len(stub.heard) == 2 * heard


def bad_files(folder):
    (folder / "empty.wav").touch()
    (folder / "text.ogg").write_text("words " * 1000)
    (folder / "folder.wav").mkdir()
    record(folder / "cut.flac", 3.0)
    content = (folder / "cut.flac").read_bytes()
    (folder / "cut.flac").write_bytes(content[: len(content) // 2])
    soundfile.write(folder / "silent.wav", np.zeros(5000), 16_000)
    soundfile.write(folder / "nan.wav", np.full(5000, np.nan), 16_000, subtype="FLOAT")
    names = ("missing", "empty", "folder", "silent", "nan")
    return [folder / f"{name}.wav" for name in names] + [folder / "text.ogg", folder / "cut.flac"]


def test_bad_files_are_named_and_the_others_done(stub, tmp_path, capfd):
    bad = bad_files(tmp_path)
    good = [record(tmp_path / "first.wav"), record(tmp_path / "last.mp3")]
    arguments = ("separate", good[0], *bad, good[1], "-o", tmp_path / "out", "-n", "stub")
    code, out, err = call(*arguments, capfd=capfd)
    assert code == 1
    assert [Path(line).name for line in out] == ["first", "last"]
    assert len(err) == len(bad) + 1
    for path, line in zip(bad, err, strict=False):
        assert line.startswith(f"umss-jax: {path} ")
        assert ": " in line.removeprefix(f"umss-jax: {path}")
    assert f"{len(bad)} of {len(bad) + 2} files failed" in err[-1]
    assert all(str(path) in err[-1] for path in bad)
    assert sorted(item.name for item in (tmp_path / "out" / "stub").iterdir()) == ["first", "last"]


def test_one_bad_file_is_one_line(stub, tmp_path, capfd):
    for path in bad_files(tmp_path):
        code, out, err = call("separate", path, "-o", tmp_path / "out", capfd=capfd)
        assert (code, out, len(err)) == (1, [], 1), path
    assert not (tmp_path / "out").exists()


def test_a_defect_in_one_file_leaves_the_others(monkeypatch, tmp_path, capfd):
    class Failing(StubEngine):
        def separate(self, mixture_16k, channels_16k, seeds, sang_before=None):
            if len(self.heard) < 1:
                self.heard.append(0)
                raise RuntimeError("out of\nmemory")
            return super().separate(mixture_16k, channels_16k, seeds)

    engine = Failing()
    monkeypatch.setattr(separate, "load_engine", lambda *options: engine)
    files = [record(tmp_path / "a.wav"), record(tmp_path / "b.wav")]
    code, out, err = call("separate", *files, "-o", tmp_path, "-n", "stub", capfd=capfd)
    assert (code, len(out), len(err)) == (1, 1, 2)
    assert str(files[0]) in err[0]
    assert "out of memory" in err[0]
    assert [item.name for item in (tmp_path / "stub").iterdir()] == ["b"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "FILE..."),
        (("{choir}", "--nonsense"), "--nonsense"),
        (("{choir}", "-d", "abacus"), "abacus"),
        (("{choir}", "--assigner", "dice"), "dice"),
        (("{choir}", "--clip-mode", "x"), "rescale"),
        (("{choir}", "--segment", "0.2"), "--segment"),
        (("{choir}", "--overlap", "0.7"), "--overlap"),
        (("{choir}", "--segment", "long"), "--segment"),
        (("{choir}", "--seed", "-1"), "--seed"),
        (("{choir}", "--flac", "--float32"), "--float32"),
        (("{choir}", "-q", "-v"), "--quiet"),
        (("{choir}", "--overwrite", "--skip-existing"), "--overwrite"),
        (("{choir}", "--adapt-assignment"), "--adapt"),
        (("{choir}", "--save-adapted", "mine"), "--adapt"),
        (("{choir}", "{choir}", "--adapt", "1", "--save-adapted", "mine"), "one at a time"),
        (("{choir}", "--adapt", "5", "--adapt-assignment", "--assigner", "heuristic"), "heuristic"),
        (("{choir}", "-o", "{choir}/out"), "-o"),
        (("{choir}", "{choir}.flac", "{choir}.ogg"), "choir.wav.ogg"),
        (("elsewhere/choir.wav", "elsewhere/CHOIR.wav"), "elsewhere/CHOIR.wav"),
    ],
)
def test_usage_errors_are_one_line_and_2(stub, choir, capfd, arguments, word):
    filled = [argument.format(choir=choir) for argument in arguments]
    code, out, err = call("separate", *filled, capfd=capfd)
    assert (code, out, len(err)) == (2, [], 1)
    assert word in err[0]
    assert stub.heard == []


def test_an_adapted_model_is_kept_and_not_written_over(stub, choir, tmp_path, capfd, monkeypatch):
    kept = tmp_path / "kept.safetensors"
    stub.variables, stub.config = small_engine().variables, SMALL
    adapted = adapt.Adapted(stub, {})
    monkeypatch.setattr(adapt, "adapt_to_recording", lambda *arguments: adapted)
    command = ("separate", choir, "-o", tmp_path / "out", "--adapt", "1", "--save-adapted", kept)
    code, out, err = call(*command, "-q", capfd=capfd)
    assert (code, len(out)) == (0, 1)
    assert any(str(kept) in line for line in err)
    variables, config, about = load(kept)
    assert config == SMALL
    assert about["origin"] == "stub, adapted to choir.wav in 1 step"
    ours = flatten(stub.variables)
    assert {name: leaf.shape for name, leaf in flatten(variables).items()} == {
        name: leaf.shape for name, leaf in ours.items()
    }
    for name, leaf in flatten(variables).items():
        np.testing.assert_array_equal(leaf, ours[name])
    code, out, err = call(*command, capfd=capfd)
    assert (code, out, len(err)) == (2, [], 1)
    assert "exists" in err[0]


def test_a_model_without_assignment_network_has_none_to_adapt():
    engine = StubEngine()
    engine.assigner = Assigner.HEURISTIC
    with pytest.raises(UsageError, match=r"nothing to train in model stub: drop it"):
        adapt.adapt_to_recording(engine, None, AdaptationConfig(train_assignment=True))


def test_unknown_command_and_no_command(capfd):
    code, out, err = call("sing", capfd=capfd)
    assert (code, out, len(err)) == (2, [], 1)
    code, out, err = call(capfd=capfd)
    assert (code, out) == (2, [])
    assert "separate" in "\n".join(err)


@pytest.mark.parametrize("options", [("-n", "no-such-model"), ("-d", "tpu")])
def test_unknown_model_and_absent_device(choir, tmp_path, capfd, monkeypatch, options):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    code, out, err = call("separate", choir, "-o", tmp_path / "out", *options, capfd=capfd)
    assert (code, out, len(err)) == (2, [], 1)
    assert options[1] in err[0]


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("did not happen within 30 s")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_interruption_leaves_nothing_half_written(tmp_path, number, code):
    done, running = record(tmp_path / "done.wav"), record(tmp_path / "running.wav", 60.0)
    out = tmp_path / "out" / "stub"
    child = process(
        *("separate", done, running, "-o", tmp_path / "out", "-n", "stub", "-v"), delay_s=0.3
    )
    wait_for(lambda: (out / "done").exists() and list(out.glob(".partial-*/*/stems_16k.f32")))
    time.sleep(0.5)
    child.send_signal(number)
    printed, messages = child.communicate(timeout=30)
    assert child.returncode == code
    assert [item.name for item in out.iterdir()] == ["done"]
    assert printed.splitlines() == [str(out / "done")]
    assert "Traceback" not in messages


def test_interruption_while_libraries_are_imported():
    code = (
        "import os, signal\n"
        "from umss_jax.interruption import exit_at_once, install\n"
        "install()\n"
        "with exit_at_once():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('went on')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "umss-jax: interrupted\n"


def read_all(descriptor):
    text = b""
    while True:
        try:
            piece = os.read(descriptor, 65_536)
        except OSError:  # the other side of the terminal was closed
            return text.decode()
        if not piece:
            return text.decode()
        text += piece


@pytest.mark.parametrize(
    ("terminal", "delay_s", "quiet", "expected"),
    [
        (True, 0.7, False, True),
        (True, 4.0, False, True),
        (True, 0.0, False, False),
        (True, 0.7, True, False),
        (False, 0.7, False, False),
    ],
)
def test_progress_bar_only_on_a_terminal_and_after_two_seconds(
    tmp_path, terminal, delay_s, quiet, expected
):
    path = record(tmp_path / "choir.wav", 14.0 if 0 < delay_s < 1 else 1.0)
    arguments = ["separate", path, "-o", tmp_path, "-n", "stub", *(["-q"] if quiet else [])]
    if terminal:
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 100))
        child = process(*arguments, delay_s=delay_s, stderr=theirs)
        os.close(theirs)
        messages = read_all(ours)
        os.close(ours)
        child.communicate(timeout=30)
    else:
        child = process(*arguments, delay_s=delay_s)
        messages = child.communicate(timeout=30)[1]
    assert child.returncode == 0
    assert ("choir.wav" in messages and "%|" in messages) == expected
    if not expected:
        said = [one for one in messages.splitlines() if "does not look like four" not in one]
        assert said == []
        assert not (quiet and messages)


def test_names_that_are_not_utf_8(tmp_path):
    path = record(tmp_path / "choir.wav")
    strange = os.fsdecode(b"b\xe4sse.wav")
    path = path.rename(tmp_path / strange)
    child = process("separate", path, "-o", tmp_path, "-n", "stub", text=False)
    printed, messages = child.communicate(timeout=30)
    assert (child.returncode, messages) == (0, b"")
    assert printed == os.fsencode(tmp_path / "stub" / strange[:-4]) + b"\n"


def test_what_trains_is_imported_only_where_something_is_trained():
    """It takes half a second, and a separation has no use for it."""
    code = (
        "import sys; from umss_jax.cli import run\n"
        "run(['separate', 'nowhere.wav'])\n"
        "print('LOADED', sorted({'optax', 'orbax'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.splitlines()[-1] == "LOADED []"
