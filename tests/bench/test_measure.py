"""The bench: counted arithmetic against hand counts, rows complete, requests checked. No times."""

import json
import math
import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bench_rows import a_row

from umss_jax import model
from umss_jax.bench import machine
from umss_jax.bench import measure as benchmark
from umss_jax.bench import table as benchmark_table
from umss_jax.bench.arithmetic import count_products
from umss_jax.bench.inputs import INPUT, measure_input
from umss_jax.bench.rows import Setup
from umss_jax.bench.stages import STAGES, Stage
from umss_jax.bench.timing import measure
from umss_jax.cli import run
from umss_jax.config import Compute, ConvConfig, DecoderConfig, EncoderConfig, ModelConfig
from umss_jax.errors import DeviceError
from umss_jax.networks.salience import LateDeep

SMALL = ModelConfig(encoder=EncoderConfig(hidden=8, latent=4), decoder=DecoderConfig(hidden=8))
KEYS = {
    "strategy",
    "stage",
    "batch",
    "seconds",
    "devices",
    "parallel",
    "compute",
    "step_s",
    "step_s_spread",
    "processor_s",
    "seconds_per_example",
    "examples_per_second",
    "gflop_direct_per_example",
    "gflop_per_example",
    "achieved_gflops",
    "ceiling_gflops",
    "ceiling_tf32_gflops",
    "ceiling_bfloat16_gflops",
    "ceiling_copy_gib_s",
    "peak_memory_bytes",
    "program_memory_bytes",
    "compile_s",
    "device",
    "jax",
    "jaxlib",
    "processor",
    "instruction_sets",
    "commit",
}


def test_matrix_product_is_counted_by_hand_and_by_xla():
    a, b = jnp.ones((3, 5)), jnp.ones((5, 7))
    function = partial(jnp.dot, precision="highest")
    products = count_products(function, a, b)
    assert products == 2 * 3 * 5 * 7
    assert products == jax.jit(function).lower(a, b).compile().cost_analysis()["flops"]


def test_convolution_is_counted_by_hand():
    x, kernel = jnp.ones((2, 10, 12, 4)), jnp.ones((3, 5, 4, 6))

    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    assert count_products(convolve, x, kernel) == 2 * (2 * 10 * 12 * 6) * (3 * 5 * 4)


def test_grouped_convolution_counts_its_own_inputs_only():
    x, kernel = jnp.ones((1, 8, 8, 4)), jnp.ones((3, 3, 1, 4))

    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=4,
        )

    assert count_products(convolve, x, kernel) == 2 * (8 * 8 * 4) * 9


def test_loops_count_as_often_as_they_run():
    matrix = jnp.ones((4, 4))

    def loop(x):
        return jax.lax.fori_loop(0, 10, lambda _, y: jnp.dot(matrix, y), x)

    assert count_products(jax.jit(loop), jnp.ones((4, 2))) == 10 * 2 * 4 * 4 * 2


def test_gradient_of_a_product_costs_twice_as_much():
    w, x = jnp.ones((6, 5)), jnp.ones((5, 4))

    def total(w, x):
        return jnp.sum(jnp.dot(w, x) ** 2)

    forward = count_products(total, w, x)
    assert count_products(jax.grad(total, argnums=(0, 1)), w, x) == 3 * forward


@pytest.mark.slow
def test_strategy_row_is_complete():
    row = benchmark.measure_strategy("umss", 2, 1.024, 1, SMALL)
    assert set(row) == KEYS
    assert row["batch"] == 2
    assert row["gflop_per_example"] > 0
    assert row["step_s_spread"][0] <= row["step_s"] <= row["step_s_spread"][1]
    assert row["peak_memory_bytes"] > 2**20
    assert json.loads(json.dumps(row)) == row


@pytest.mark.parametrize(
    "name", ["encoder", "decoder", "harmonic", "noise", "coefficients", "all_pole", "losses"]
)
def test_stages_run_forward_and_with_gradient(name):
    forward, gradient = benchmark.measure_stage(name, 1, 0.512, 1, SMALL)
    assert (forward["stage"], gradient["stage"]) == (name, f"{name} + gradient")
    assert gradient["gflop_per_example"] >= forward["gflop_per_example"]


def test_direct_convolutions_of_the_salience_network_are_counted_by_hand():
    """Both branches, then what joins them; 360 bins as configured, 16 frames."""
    branch = ((5, 5, 5, 16), (5, 5, 16, 32), *2 * [(5, 5, 32, 32)], *2 * [(70, 3, 32, 32)])
    merged = ((3, 3, 64, 64), (3, 3, 64, 64), (360, 1, 64, 8), (1, 1, 8, 1))
    weights = 2 * sum(map(math.prod, branch)) + sum(map(math.prod, merged))
    by_hand = 2 * weights * 360 * 16
    feature = jax.ShapeDtypeStruct((1, 5, 360, 16), jnp.float32)
    variables = jax.eval_shape(
        partial(model.init_part, "salience", config=SMALL), jax.random.key(0)
    )

    def products(method):
        network = LateDeep(config=ConvConfig(method=method))
        return count_products(network.apply, variables, feature, feature)

    assert products("direct") == by_hand
    assert 0 < products("fft") < by_hand


def test_measuring_stops_when_its_time_is_up():
    calls = []

    def call():
        calls.append(len(calls))
        return jnp.zeros(())

    timing = measure(call, repeats=5)
    assert len(calls) == 7
    assert timing.step_s_spread[0] <= timing.step_s <= timing.step_s_spread[1]
    calls.clear()
    timing = measure(call, repeats=5, budget_s=1e-12)
    assert len(calls) == 2
    assert timing.step_s > 0
    assert timing.compile_s >= 0


@pytest.mark.parametrize("name", ["harmonic", "all_pole", "kernel_gradient_3x3_16"])
def test_naive_forms_compute_the_same(name):
    """What the bench compares must be the same function; the gradient too."""
    (naive,) = (other for other in STAGES if other.startswith(f"{name} ("))
    ours: Stage = STAGES[name](1, 16_384, SMALL)
    theirs: Stage = STAGES[naive](1, 16_384, SMALL)
    if name == "harmonic":
        # The bank leaves the roll-off out; it is linear, so compare before it.
        from umss_jax.synth import harmonic

        def closed_form(raw, f0_hz):
            controls = harmonic.harmonic_controls(raw, f0_hz, SMALL.synth)
            return harmonic.harmonic_signal(controls, SMALL.synth)

        ours = ours._replace(forward=closed_form)
    for (_, one), (_, other) in zip(ours.functions(), theirs.functions(), strict=True):
        for a, b in zip(
            jax.tree.leaves(jax.jit(one)(*ours.arguments)),
            jax.tree.leaves(jax.jit(other)(*theirs.arguments)),
            strict=True,
        ):
            error = np.linalg.norm(a - b) / np.linalg.norm(b)
            assert error < 2e-3


def cells_of(row, start):
    text = benchmark_table.markdown([row], "machine")
    line = next(line for line in text.splitlines() if line.startswith(start))
    return [cell.strip() for cell in line.strip("|").split("|")], text


def test_table_holds_times_floor_and_machine():
    cells, text = cells_of(a_row(), "| UMSS")
    # Floor 0.2 s, so 0.5 s per example is 2.5 away from it.
    assert cells[1:4] == ["4 × 4", "1", "0.500 (0.475–0.550)"]
    assert cells[4:] == ["2.00", "0.50", "20.0", "30.0", "0.200", "2.50", "0.750", "16"]
    for said in ("cpu: A (2 cores)", "avx2", "jax 1.2.3", "jaxlib 1.2.4", "products 100 GFLOP/s"):
        assert said in text.splitlines()[0]


def test_the_floor_of_several_devices_is_as_much_lower():
    row = a_row(devices=4, parallel="shard_map", compute="bfloat16", program_memory_bytes=None)
    cells, _ = cells_of(row, "| UMSS, bfloat16")
    assert cells[2] == "4 (shard_map)"
    assert cells[5] == "–"
    assert cells[8:10] == ["0.050", "10.00"]


def test_a_table_without_ceilings_has_no_floors():
    row = a_row(strategy="", stage="hcqt", ceiling_gflops=None, ceiling_copy_gib_s=None)
    cells, text = cells_of(row, "| hcqt")
    assert cells[-2:] == ["–", "–"]
    assert "ceilings not measured" in text


def test_input_pipeline_is_measured_with_and_without_f0(monkeypatch, tmp_path):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path))
    rows = measure_input(2, 4.0, 1)
    mixed = next(rows)
    assert set(mixed) == KEYS
    assert (mixed["stage"], mixed["batch"], mixed["gflop_per_example"]) == (INPUT, 2, 0)
    assert mixed["step_s"] > 0
    rows.close()
    assert list(tmp_path.iterdir()) == []  # what was decoded went elsewhere
    assert os.environ["UMSS_JAX_HOME"] == str(tmp_path)


@pytest.mark.slow
def test_f0_of_the_input_pipeline_takes_longer(monkeypatch, tmp_path):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path))
    mixed, analysed = measure_input(1, 4.0, 1)
    assert analysed["stage"] == f"{INPUT} + F0"
    assert analysed["step_s"] > mixed["step_s"]


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["pmap", "shard_map"])
def test_several_devices_share_a_batch(parallel):
    code = (
        "import json; from umss_jax.bench.measure import measure_strategy as m\n"
        "from umss_jax.bench.rows import Setup\n"
        "from umss_jax.config import *; from umss_jax.train.config import Parallel\n"
        "small = ModelConfig(encoder=EncoderConfig(hidden=8, latent=4),"
        " decoder=DecoderConfig(hidden=8))\n"
        f"row = m('umss', 2, 1.024, 1, small, Setup(2, Parallel('{parallel}')))\n"
        "print(json.dumps(row))"
    )
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **flags},
        capture_output=True,
        text=True,
        check=True,
    )
    row = json.loads(done.stdout)
    assert (row["devices"], row["parallel"]) == (2, parallel)
    assert row["device"].endswith("× 2")
    one = benchmark.measure_strategy("umss", 2, 1.024, 1, SMALL)
    assert row["gflop_per_example"] == one["gflop_per_example"]


def test_more_devices_than_there_are_are_refused():
    with pytest.raises(DeviceError, match="1 of 64 devices"):
        benchmark.measure_strategy("umss", 64, 1.024, 1, SMALL, Setup(devices=64))


def test_a_label_counts_what_was_used_and_not_what_there_is(monkeypatch):
    class Accelerator:
        platform, device_kind = "gpu", "NVIDIA H100"

    monkeypatch.setattr(machine.jax, "devices", lambda: [Accelerator()] * 8)
    assert machine.device_label(1) == "gpu: NVIDIA H100"
    assert machine.device_label(4) == "gpu: NVIDIA H100 × 4"


@pytest.mark.parametrize("compute", list(Compute))
def test_all_networks_compute_as_asked(compute):
    config = benchmark.computing(SMALL, compute)
    assert {config.conv.compute, config.encoder.compute, config.decoder.compute} == {compute}
    assert config.encoder.hidden == SMALL.encoder.hidden


@pytest.mark.parametrize(
    "arguments",
    [
        ["--strategy", "umsss"],
        ["--stage", "hcqtt"],
        ["--batch", "0"],
        ["--all", "--batch", "2"],
        ["--devices", "0"],
        ["--devices", "2", "--stage", "hcqt"],
        ["--devices", "2", "--strategy", "separation"],
        ["--compute", "float8"],
        ["--parallel", "maps"],
        ["--reads", "x"],
        ["--ours", "true"],
        ["--against", "true"],
        ["--against", "true", "--stage", "hcqt"],
        ["--against", "true", "--strategy", "umss", "--reads", "no group"],
        ["--against", "true", "--strategy", "umss", "--reads", "("],
    ],
)
def test_unknown_requests_are_usage_errors(arguments, capsys):
    assert run(["bench", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are inherited on Linux only")
def test_peak_memory_is_not_that_of_the_process_that_started_this_one():
    ballast = np.ones(600 << 17)  # 600 MiB, gone before the other process starts
    del ballast
    code = "from umss_jax.bench.machine import peak_memory_bytes; print(peak_memory_bytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 50 << 20 < int(done.stdout) < machine.peak_memory_bytes() - (200 << 20)


def test_machine_name_fits_a_file_name():
    assert all(c.isalnum() or c == "-" for c in machine.machine_name())
