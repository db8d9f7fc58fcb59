"""Products of the quadratic sections of line spectral frequencies, for devices without float64.

What :mod:`umss_jax.synth.all_pole` computes in float64, in pairs of float32 instead.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from umss_jax.dsp.double_float import DoubleFloat


def section_coefficients(cosines: jax.Array) -> jax.Array:
    """a_1 … a_p [..., p] from the cosines [..., p] of line spectral frequencies, both float32."""
    product, _ = _products(cosines)
    first, second = (DoubleFloat(*(part[:, which] for part in product)) for which in (0, 1))
    return jnp.moveaxis(0.5 * (first + second).rounded()[1:-1], 0, -1)


def section_gradient(cosines: jax.Array, cotangent: jax.Array) -> jax.Array:
    """Gradient in the cosines from that in the coefficients, all [..., p] float32."""
    slope = 0.5 * jnp.moveaxis(cotangent, -1, 0)
    slope = jnp.pad(slope, [(1, 1)] + [(0, 0)] * (slope.ndim - 1))

    def back(
        towards: DoubleFloat, section: tuple[jax.Array, DoubleFloat]
    ) -> tuple[DoubleFloat, jax.Array]:
        cosine, before = section
        gradient = -2.0 * _sum(towards * _later(before, 1)).rounded()
        factor = DoubleFloat.of(-2.0 * cosine[None])
        return towards + factor * _earlier(towards, 1) + _earlier(towards, 2), gradient

    start = DoubleFloat.of(jnp.stack([slope, slope], axis=1))
    sequence = (_sections(cosines), _products(cosines)[1])
    _, gradients = jax.lax.scan(back, start, sequence, reverse=True)
    # [p/2 sections, (P, Q), ...] → [..., p]
    return jnp.moveaxis(gradients, (0, 1), (-2, -1)).reshape(cosines.shape)


def _products(cosines: jax.Array) -> tuple[DoubleFloat, DoubleFloat]:
    """P and Q as [p + 2, 2, ...], and what they are before each section, [p/2, p + 2, 2, ...]."""
    sections, order = _sections(cosines), cosines.shape[-1]
    start = jnp.zeros((order + 2, *sections.shape[1:]), cosines.dtype)

    def times(product: DoubleFloat, cosine: jax.Array) -> tuple[DoubleFloat, DoubleFloat]:
        factor = DoubleFloat.of(-2.0 * cosine[None])
        return product + factor * _later(product, 1) + _later(product, 2), product

    one = DoubleFloat.of(start.at[:2].set(1.0).at[1, 1].set(-1.0))
    product, before = jax.lax.scan(times, one, sections)
    return product, before


def _sections(cosines: jax.Array) -> jax.Array:
    """[..., p] → [p/2, (P, Q), ...]: the cosine of one quadratic factor of each."""
    pairs = cosines.reshape(*cosines.shape[:-1], -1, 2)
    return jnp.moveaxis(pairs, (-2, -1), (0, 1))


def _later(x: DoubleFloat, count: int) -> DoubleFloat:
    """Moved along the first axis by so many powers of the delay."""
    return DoubleFloat(
        *(jnp.concatenate([jnp.zeros_like(part[:count]), part[:-count]]) for part in x)
    )


def _earlier(x: DoubleFloat, count: int) -> DoubleFloat:
    """The transpose of :func:`_later`."""
    return DoubleFloat(
        *(jnp.concatenate([part[count:], jnp.zeros_like(part[:count])]) for part in x)
    )


def _sum(x: DoubleFloat) -> DoubleFloat:
    """Over the first axis, by halves."""
    while len(x.high) > 1:
        half = -(-len(x.high) // 2)
        rest = [(0, 2 * half - len(x.high))] + [(0, 0)] * (x.high.ndim - 1)
        first, second = (
            DoubleFloat(*(jnp.pad(part, rest)[cut] for part in x))
            for cut in (slice(half), slice(half, None))
        )
        x = first + second
    return DoubleFloat(*(part[0] for part in x))
