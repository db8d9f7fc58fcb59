"""Kernels of a step are counted, and every program lowers for GPUs and TPUs, without one."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest

from umss_jax.accelerators import KERNELS
from umss_jax.bench.absent_devices import compile_for, lower_for
from umss_jax.bench.kernels import count_kernels, estimate_kernels
from umss_jax.bench.programs import program, program_names, train_phases
from umss_jax.errors import UsageError

MOST_KERNELS = 3000
BATCH = 15

COMPILED = """HloModule jit_f, is_scheduled=true

%fused (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %t = f32[4]{0} tanh(%p)
}

%inner (q: (s32[], /*index=1*/f32[4])) -> (s32[], f32[4]) {
  %q = (s32[], f32[4]{0}) parameter(0)
  %x = f32[4]{0} get-tuple-element(%q), index=1
  %y = f32[4]{0} fusion(%x), kind=kLoop, calls=%fused
  ROOT %r = (s32[], f32[4]{0}) tuple(%x, %y)
}

%outer (q: (s32[], f32[4])) -> (s32[], f32[4]) {
  %q = (s32[], f32[4]{0}) parameter(0)
  %w = (s32[], /*index=1*/f32[4]) while(%q), body=%inner, metadata={op_name="deep"}, TRIPS_5
  %z = f32[4]{0} custom-call(%q), custom_call_target="__cublas$gemm"
  ROOT %r = (s32[], f32[4]{0}) tuple(%z, %w)
}

%graph (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %f = f32[4]{0} fusion(%p), kind=kLoop, calls=%fused
}

ENTRY %main (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  %g = f32[4]{0} call(%a), to_apply=%graph
  %l = (s32[], f32[4]{0}) while(%g), condition=%c, body=%outer, TRIPS_3
  ROOT %o = f32[4]{0} copy(%l)
}
"""
for trips in "35":
    known = f'backend_config={{"known_trip_count":{{"n":"{trips}"}}}}'
    COMPILED = COMPILED.replace(f"TRIPS_{trips}", known)


def test_loops_count_as_often_as_they_run():
    counted = count_kernels(COMPILED)
    assert counted.outside == 2
    assert {(loop.name, loop.trips, loop.kernels) for loop in counted.loops} == {
        ("deep", 15, 1),
        ("", 3, 1),
    }
    assert counted.total == 2 + 15 + 3


def test_a_loop_of_unknown_length_is_not_guessed():
    with pytest.raises(ValueError, match="unknown length"):
        count_kernels(COMPILED.replace('"known_trip_count"', '"other"'))


def test_products_of_loops_are_estimated_as_often_as_they_run():
    def function(x):
        def step(x, _):
            return jnp.tanh(x @ x), None

        return jnp.sum(jax.lax.scan(step, x, None, length=7)[0])

    x = jax.ShapeDtypeStruct((8, 8), jnp.float32)
    counted = estimate_kernels(lower_for("cuda", function, (x,)).compiler_ir("stablehlo"))
    assert counted.total == 7 * 2 + 1


def test_names_of_programs():
    assert "train umss" in program_names()
    assert "stage all_pole" in program_names()
    with pytest.raises(UsageError, match="no program is called"):
        program("stage nothing", 1)


@functools.lru_cache(maxsize=2)
def lowered(name, platform, batch):
    return lower_for(platform, *program(name, batch))


QUICK = {"train umss"}
STEPS = [
    pytest.param(name, marks=[] if f"train {name}" in QUICK else pytest.mark.slow)
    for name in train_phases()
]


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_few_kernels(name):
    """Estimated as lowered; what XLA makes of it for an H100 is in the benchmarks' README."""
    counted = estimate_kernels(lowered(f"train {name}", "cuda", BATCH).compiler_ir("stablehlo"))
    assert 100 < counted.total <= MOST_KERNELS, counted


PLATFORMS = ("cuda", "tpu")
QUICK_PROGRAMS = {("train umss", "cuda"), ("stage all_pole", "tpu"), ("stage coefficients", "tpu")}
PROGRAMS = [
    pytest.param(
        name, platform, marks=[] if (name, platform) in QUICK_PROGRAMS else pytest.mark.slow
    )
    for name in program_names()
    for platform in PLATFORMS
]


@pytest.mark.parametrize(("name", "platform"), PROGRAMS)
def test_every_program_lowers(name, platform):
    text = lowered(name, platform, BATCH).as_text()
    assert ("f64" in text) <= (platform == "cuda")  # a TPU has none
    products = re.findall(r"= stablehlo\.(?:dot_general|convolution)\b.*", text)
    assert all("HIGH" in line for line in products), "a product that does not say how exactly"
    # Recurrences are kernels where they can be, and the step knows them on both.
    if name in {"train umss", "stage all_pole"}:
        assert ("triton" if platform == "cuda" else "tpu_custom_call") in text


def test_nothing_is_compiled_for_a_device_that_nobody_knows():
    with pytest.raises(UsageError, match="h100, v5e"):
        compile_for("abacus", jnp.tanh, (jax.ShapeDtypeStruct((8,), jnp.float32),))


@pytest.mark.parametrize("name", ["stage all_pole"])
def test_kernels_of_our_own_compile_for_a_tpu(name):
    """Lowering says nothing of Mosaic, which alone knows whether it takes a kernel."""
    pytest.importorskip("libtpu")
    assert "all_pole_recursion" in compile_for("v5e", *program(name, 1)).as_text()


@pytest.mark.parametrize("kind", ["without Triton", "without any", "not wanted"])
def test_a_gpu_without_triton_gets_mosaics_kernel_or_the_loop(kind, monkeypatch):
    if kind == "not wanted":
        monkeypatch.setenv(KERNELS, "off")
    else:
        monkeypatch.delattr("jax.experimental.pallas.triton.CompilerParams")
    if kind == "without any":
        monkeypatch.delattr("jax.experimental.pallas.mosaic_gpu.kernel")
    text = lower_for("cuda", *program("stage all_pole", 1)).as_text()
    assert "triton" not in text
    assert ("mosaic_gpu" in text) == (kind == "without Triton")


def test_a_gpu_without_triton_gets_the_loops_of_the_recurrences(monkeypatch):
    monkeypatch.delattr("jax.experimental.pallas.triton.CompilerParams")
    text = lower_for("cuda", *program("stage encoder", 1)).as_text()
    assert "triton" not in text
    assert "stablehlo.while" in text
