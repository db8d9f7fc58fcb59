"""What a device can do at best: rates of plain matrix products and of copies.

On an accelerator one product or copy is over before the next is launched, so that many are chained
in one program: what is measured then is the device, not the launches.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import DotAlgorithmPreset

from umss_jax.bench.timing import measure
from umss_jax.errors import DeviceError

PRODUCTS = ("float32", "tf32", "bfloat16")
COPIES = "copies"
KINDS = (*PRODUCTS, COPIES)
"""Ceilings by name."""

_SIZE, _CHAINED = 8192, 8
"""Rows and columns of the factors on an accelerator, and products in a row."""
_CPU_SHAPES = ((2048, 2048, 2048), (4000, 512, 1536), (434, 360, 11_008))
"""Rows, depth and columns of the products on a CPU."""
_COPY_BYTES, _CPU_COPY_BYTES = 4 << 30, 256 << 20


class Ceilings(NamedTuple):
    """Rates of one device; None where it has no such arithmetic, or nobody asked."""

    float32: float | None = None
    """GFLOP/s."""
    tf32: float | None = None
    """GFLOP/s of float32 operands rounded to 10 bits, summed in float32."""
    bfloat16: float | None = None
    """GFLOP/s of bfloat16 operands, summed in float32."""
    copies: float | None = None
    """GiB/s, read and written."""

    def in_rows(self) -> dict[str, float | None]:
        """By the names of a row."""
        of_products = {
            "ceiling_gflops": self.float32,
            "ceiling_tf32_gflops": self.tf32,
            "ceiling_bfloat16_gflops": self.bfloat16,
        }
        return {**of_products, "ceiling_copy_gib_s": self.copies}

    def best(self, other: Ceilings) -> Ceilings:
        """Of each the higher one: a machine that was busy did not show what it can do."""
        pairs = zip(self, other, strict=True)
        return Ceilings(*(max((x for x in two if x is not None), default=None) for two in pairs))

    def words(self) -> str:
        """``207 GFLOP/s in float32, 9.9 GiB/s copied``."""
        rates = [
            f"{rate:.0f} GFLOP/s in {name}"
            for name, rate in zip(PRODUCTS, self[:3], strict=True)
            if rate is not None
        ]
        copied = [f"{self.copies:.1f} GiB/s copied"] if self.copies is not None else []
        return ", ".join(rates + copied) or "not measured"


def measure_ceilings(kinds: tuple[str, ...] = KINDS) -> Ceilings:
    """Those of the device that JAX prefers."""
    found: dict[str, float | None] = {}
    for kind in kinds:
        found[kind] = copy_ceiling_gib_s() if kind == COPIES else product_ceiling_gflops(kind)
    return Ceilings(**found)


def product_ceiling_gflops(kind: str = "float32", repeats: int = 5) -> float | None:
    """Best rate of plain matrix products; on a CPU in float32 alone, over several shapes."""
    if jax.devices()[0].platform == "cpu":
        if kind != "float32":
            return None
        return max(_rate(shape, repeats) for shape in _CPU_SHAPES)
    try:
        timing = measure(chained_products(kind, _SIZE, _CHAINED), repeats)
    except (jax.errors.JaxRuntimeError, NotImplementedError, ValueError):
        return None  # no such arithmetic
    return 2e-9 * _CHAINED * _SIZE**3 / timing.step_s_spread[0]


def _rate(shape: tuple[int, int, int], repeats: int) -> float:
    rows, depth, columns = shape
    keys = jax.random.split(jax.random.key(0))
    a = jax.random.normal(keys[0], (rows, depth))
    b = jax.random.normal(keys[1], (depth, columns))
    product = jax.jit(partial(jnp.dot, precision="highest"))
    timing = measure(lambda: product(a, b), repeats)
    return 2e-9 * rows * depth * columns / timing.step_s_spread[0]


def chained_products(kind: str, size: int, count: int) -> Callable[[], jax.Array]:
    """A call of one program that multiplies a matrix so many times by an orthogonal one.

    ``2 · count · size³`` floating-point operations; the result stays as large as the first factor.
    """
    # A reflection: symmetric, orthogonal, without a zero, and made without a decomposition.
    direction = jnp.ones((size, 1)) / np.sqrt(size)
    matrix = jnp.eye(size) - 2.0 * direction * direction.T
    first = jax.random.normal(jax.random.key(0), (size, size))
    precision: Any = "highest"
    if kind == "bfloat16":
        matrix, first = matrix.astype(jnp.bfloat16), first.astype(jnp.bfloat16)
    if kind == "tf32":
        precision = DotAlgorithmPreset.TF32_TF32_F32

    @jax.jit
    def chain(x: jax.Array, matrix: jax.Array) -> jax.Array:
        def product(_: int, x: jax.Array) -> jax.Array:
            summed = jnp.dot(x, matrix, precision=precision, preferred_element_type=jnp.float32)
            return summed.astype(x.dtype)

        return jax.lax.fori_loop(0, count, product, x)

    return lambda: chain(first, matrix)


def copy_ceiling_gib_s(repeats: int = 5) -> float:
    """Best rate of reading and writing memory, by adding 1 to float32 in place.

    4 GiB on an accelerator, or a quarter of its memory where that is less; 256 MiB on a CPU.
    """
    device = jax.devices()[0]
    size = _CPU_COPY_BYTES if device.platform == "cpu" else _COPY_BYTES
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit:
        size = min(size, int(limit) // 4)
    array = jnp.zeros(size // 4)
    add_in_place = jax.jit(lambda x: x + 1.0, donate_argnums=0)

    def add() -> jax.Array:
        nonlocal array
        array = add_in_place(array)
        return array

    try:
        return 2 * array.nbytes / 2**30 / measure(add, repeats).step_s_spread[0]
    except jax.errors.JaxRuntimeError as error:
        raise DeviceError(
            f"{device.device_kind} has no room for {size >> 20} MiB", "end what else runs on it"
        ) from error
