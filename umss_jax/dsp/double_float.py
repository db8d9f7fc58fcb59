"""Numbers of about 48 bits as sums of two float32, for devices without float64 (TPUs).

By the error-free sums and products of Dekker (1971) and Knuth. Compilers may fuse a product with
the sum after it and skip its rounding, so that whatever is corrected by its rounding would be
corrected twice. So sums are of products that need no rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_UPPER_BITS = np.uint32(0xFFFFF000)  # 12 of the 24 bits of a significand


class DoubleFloat(NamedTuple):
    """``high + low``, with low at most half of the last place of high; arrays of one shape."""

    high: jax.Array
    low: jax.Array

    @classmethod
    def of(cls, value: jax.Array | float) -> DoubleFloat:
        """Exactly an array of float32, or a number as exactly as two float32 can."""
        if isinstance(value, jax.Array):
            return cls(value, jnp.zeros_like(value))
        high = np.float32(value)
        return cls(jnp.asarray(high), jnp.asarray(np.float32(value - float(high))))

    def rounded(self) -> jax.Array:
        """The nearest float32."""
        return self.high + self.low

    def __add__(self, other: DoubleFloat) -> DoubleFloat:  # type: ignore[override]
        """The sum."""
        high, rest = _exact_sum(self.high, other.high)
        low, last = _exact_sum(self.low, other.low)
        high, rest = _normal(high, rest + low)
        return DoubleFloat(*_normal(high, rest + last))

    def __sub__(self, other: DoubleFloat) -> DoubleFloat:
        """The difference."""
        return self + DoubleFloat(-other.high, -other.low)

    def __mul__(self, other: DoubleFloat) -> DoubleFloat:  # type: ignore[override]
        """The product."""
        high, rest = _exact_product(self.high, other.high)
        rest = rest + (self.high * other.low + self.low * other.high)
        return DoubleFloat(*_normal(high, rest))


def _exact_sum(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sum, and what its rounding lost."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _normal(high: jax.Array, low: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same sum, with its second term small again; the first is the larger."""
    total = high + low
    return total, low - (total - high)


def _exact_product(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Product, and what its rounding lost, but for 2⁻⁴⁸ of it."""
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    middle, rest = _exact_sum(a_high * b_low, a_low * b_high)
    product, lost = _exact_sum(a_high * b_high, middle)
    return product, lost + (rest + a_low * b_low)


def _halves(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two numbers of 12 bits whose sum it is: products of two such are exact in float32."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32) & _UPPER_BITS
    high = jax.lax.bitcast_convert_type(bits, jnp.float32)
    return high, x - high
