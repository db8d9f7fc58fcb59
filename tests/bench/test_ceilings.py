"""Ceilings: a chain of products computes what it counts, absent arithmetic has no rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from umss_jax.bench import ceilings
from umss_jax.bench.arithmetic import count_products
from umss_jax.bench.ceilings import Ceilings, chained_products, product_ceiling_gflops


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize(("kind", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_a_chain_multiplies_so_many_times(kind, tolerance, count):
    """The factor is a reflection: twice is not at all."""
    size = 32
    call = chained_products(kind, size, count)
    got = np.asarray(call(), np.float64)
    first = np.asarray(jax.random.normal(jax.random.key(0), (size, size)), np.float64)
    reflection = np.eye(size) - 2 / size
    expected = first @ np.linalg.matrix_power(reflection, count)
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < tolerance
    assert call().dtype == (jnp.bfloat16 if kind == "bfloat16" else jnp.float32)
    assert count_products(call) == 2 * count * size**3


def test_on_a_cpu_there_is_float32_alone(monkeypatch):
    monkeypatch.setattr(ceilings, "_CPU_SHAPES", ((64, 64, 64),))
    monkeypatch.setattr(ceilings, "_CPU_COPY_BYTES", 1 << 20)
    found = ceilings.measure_ceilings()
    assert found.float32 > 0
    assert found.copies > 0
    assert (found.tf32, found.bfloat16) == (None, None)


class Accelerator:
    """A CPU that says it is none, with little memory."""

    platform, device_kind = "gpu", "a card"

    def memory_stats(self):
        return {"bytes_limit": 8 << 20}


def test_an_accelerator_without_an_arithmetic_has_no_rate_of_it(monkeypatch):
    """A CPU refuses TF32, as an old card does; and the copy takes a quarter of the memory."""
    monkeypatch.setattr(ceilings.jax, "devices", lambda: [Accelerator()])
    monkeypatch.setattr(ceilings, "_SIZE", 16)
    sizes = []
    zeros = ceilings.jnp.zeros
    monkeypatch.setattr(ceilings.jnp, "zeros", lambda n: sizes.append(n) or zeros(n))
    assert product_ceiling_gflops("float32") > 0
    assert product_ceiling_gflops("tf32") is None
    assert ceilings.copy_ceiling_gib_s() > 0
    assert sizes == [(2 << 20) // 4]


def test_the_higher_of_two_measurements_is_the_ceiling():
    one, other = Ceilings(1.0, None, 3.0, None), Ceilings(2.0, None, None, 4.0)
    assert one.best(other) == Ceilings(2.0, None, 3.0, 4.0)
    assert one.words() == "1 GFLOP/s in float32, 3 GFLOP/s in bfloat16"
    assert Ceilings().words() == "not measured"
