"""The pieces of the device check; it runs whole, in small, where it is asked to."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from places import ROOT


@pytest.fixture(scope="module")
def experiments():
    """The scripts, none of which is part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        from experiments import device_check, device_programs, device_setting

        yield device_check, device_programs, device_setting


def event(name, process, thread, microseconds):
    return {"ph": "X", "name": name, "pid": process, "tid": thread, "dur": microseconds}


def named(kind, process, name, thread=0):
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}}


def test_kernels_are_what_ran_on_the_streams_of_a_device(experiments):
    _, programs, _ = experiments
    trace = [
        named("process_name", 1, "/device:GPU:0"),
        named("process_name", 2, "/host:CPU"),
        named("thread_name", 1, "Stream #13(Compute)", 7),
        named("thread_name", 1, "XLA Ops", 8),
        named("thread_name", 2, "Stream of the host", 7),
        event("gemm", 1, 7, 30),
        event("fusion", 1, 7, 5),
        event("fusion", 1, 7, 6),
        event("gemm", 1, 8, 30),
        event("python", 2, 7, 100),
    ]
    found = programs.kernels_in({"traceEvents": trace})
    assert found["kernels"] == 3
    assert found["kernel_s"] == pytest.approx(41e-6)
    assert found["longest_kernels_s"] == pytest.approx({"gemm": 30e-6, "fusion": 11e-6})
    assert programs.kernels_in([]) == {"kernels": None}


def test_without_precision_all_products_are_the_devices_own_and_the_result_is_the_same(experiments):
    _, programs, _ = experiments

    def function(x):
        def body(carry, row):
            return jnp.dot(carry, x, precision="highest") + row[None], jnp.sum(carry)

        carry, sums = jax.lax.scan(body, x, x)
        kernel = jnp.ones((1, 1, 2))
        return jax.lax.conv_general_dilated(
            carry[None], jnp.repeat(kernel, 3, 1), (1,), "SAME", precision="highest"
        ), sums

    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3)), jnp.float32)
    relaxed = programs.with_default_precision(function, x)
    assert "HIGHEST" in str(jax.make_jaxpr(function)(x))
    assert "HIGHEST" not in str(jax.make_jaxpr(relaxed)(x))
    for one, other in zip(relaxed(x), function(x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_case_that_fails_or_hangs_is_a_row_and_the_next_one_runs(
    experiments, tmp_path, monkeypatch
):
    check, _, _ = experiments
    unknown = check.Case("nothing 1", 60, is_compiled_first=False)
    hangs = check.Case("ceilings", 0.1, is_compiled_first=False)
    late = check.Case("parity", 1e-9, is_compiled_first=False)
    monkeypatch.setattr(check, "CASES", (hangs, unknown))
    monkeypatch.setattr(sys, "argv", ["device_check"])
    assert check.main(["--small", "--out", str(tmp_path)]) == 1
    rows = list(map(json.loads, (tmp_path / "device_check.jsonl").read_text().splitlines()))
    assert [(row["case"], row["status"]) for row in rows] == [
        ("ceilings", "timeout"),
        ("nothing 1", "failed"),
    ]
    assert "no case is called nothing 1" in rows[1]["error"]
    assert json.loads((tmp_path / "device_check.json").read_text()) == rows
    monkeypatch.setattr(check, "CASES", (late,))
    assert check.main(["--small", "--out", str(tmp_path), "--budget", "1"]) == 1
    last = json.loads((tmp_path / "device_check.jsonl").read_text().splitlines()[-1])
    assert last["status"] == "skipped"


def test_the_sound_of_a_seed_is_always_the_same_and_peaks_at_one(experiments):
    _, _, setting = experiments
    one, other = setting.sung(2, 4096, 3), setting.sung(2, 4096, 3)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(np.abs(one).max(axis=1), 1, rtol=1e-6)
    assert not np.array_equal(one, setting.sung(2, 4096, 4))


NEEDED = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ImportError(f"a bare machine has no {{name}}")
sys.meta_path.insert(0, Refuse())
import experiments.device_check, experiments.device_cases, experiments.device_runs
"""
ABSENT = {
    *("librosa", "soundfile", "soxr", "av", "typer", "safetensors", "h5py", "requests", "tqdm"),
    *("platformdirs", "jinja2", "PIL", "mir_eval", "tensorboardX", "torch", "music21", "mido"),
}


def test_a_bare_machine_can_run_it():
    import subprocess

    code = NEEDED.format(names=ABSENT)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("case", ["step umss 15", "step sf_sf 15 tf32", "run killed"])
def test_cases_run_in_small(experiments, tmp_path, case):
    check, _, _ = experiments
    code = check.main(["--small", "--out", str(tmp_path), "--only", case, "--compilers", "1"])
    rows = json.loads((tmp_path / "device_check.json").read_text())
    assert code == 0, rows
    if case == "run killed":
        assert rows[-1]["was_killed"]
        assert rows[-1]["is_equal"]
        assert 0 < rows[-1]["resumed"]["steps_here"] < 20
    else:
        assert rows[-1]["gflop"] > 0
        assert np.isfinite(rows[-1]["loss"])
