"""Vocal tract: line spectral frequencies → all-pole coefficients → filtered frames.

Raw outputs → :func:`line_spectral_frequencies` → :func:`all_pole_coefficients` →
:func:`all_pole_filter`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.accelerators import for_accelerator
from umss_jax.dsp.framing import overlap_add_hann, to_frames
from umss_jax.synth.activations import exp_sigmoid
from umss_jax.synth.recursion_kernel import recursion_kernels
from umss_jax.synth.section_products import section_coefficients, section_gradient

_CHUNK_SAMPLES = 32


def line_spectral_frequencies(raw: jax.Array) -> jax.Array:
    """Frequencies [..., order] increasing in (0, π) rad from unbounded outputs [..., order + 1].

    Positive gaps by :func:`exp_sigmoid`, normalised to sum π, accumulated, the last (π) dropped
    (reference: ``ddsp/core.py`` lsf_activation).
    """
    gaps = exp_sigmoid(raw)
    gaps = gaps * (np.float32(np.pi) / jnp.sum(gaps, axis=-1, keepdims=True))
    return jnp.cumsum(gaps, axis=-1)[..., :-1]


@jax.custom_vjp
def all_pole_coefficients(lsf_rad: jax.Array) -> jax.Array:
    """Coefficients a_1 … a_p of A(z) = 1 + Σ a_k z^−k with the given line spectral frequencies.

    A = (P + Q) / 2 with P = (1 + z⁻¹) Π (1 − 2 cos w z⁻¹ + z⁻²) over the odd-numbered frequencies
    and Q = (1 − z⁻¹) Π (…) over the even-numbered ones. The products run from float32 cosines in
    float64, or in pairs of float32 on a TPU, which has none: in float32 throughout, clustered
    frequencies err by up to 69 dB and some filters come out unstable. The derivative repeats the
    products rather than storing them.

    Args:
        lsf_rad: [..., p], p even, increasing in (0, π).

    Returns:
        [..., p] float32 (reference: ``ddsp/core.py`` lsf_to_filter_coeff, all in float64).
    """
    return _coefficients_from_cosines(jnp.cos(lsf_rad))


def _coefficients_fwd(lsf_rad: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _coefficients_from_cosines(jnp.cos(lsf_rad)), lsf_rad


def _coefficients_bwd(lsf_rad: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    gradient = jax.lax.platform_dependent(
        jnp.cos(lsf_rad), cotangent, tpu=section_gradient, default=_gradient_in_float64
    )
    return (-jnp.sin(lsf_rad) * gradient,)


all_pole_coefficients.defvjp(_coefficients_fwd, _coefficients_bwd)


def _coefficients_from_cosines(cosines: jax.Array) -> jax.Array:
    coefficients: jax.Array = jax.lax.platform_dependent(
        cosines, tpu=section_coefficients, default=_coefficients_in_float64
    )
    return coefficients


def _coefficients_in_float64(cosines: jax.Array) -> jax.Array:
    with jax.enable_x64(True):
        return _polynomial_products(cosines.astype(jnp.float64)).astype(jnp.float32)


def _gradient_in_float64(cosines: jax.Array, cotangent: jax.Array) -> jax.Array:
    with jax.enable_x64(True):
        _, pull_back = jax.vjp(_polynomial_products, cosines.astype(jnp.float64))
        (gradient,) = pull_back(cotangent.astype(jnp.float64))
        return gradient.astype(jnp.float32)


def _polynomial_products(cosines: jax.Array) -> jax.Array:
    """a_1 … a_p from cosines [..., p], in their precision."""
    order = cosines.shape[-1]
    # [p/2 sections, P or Q, ...]: cosines of one quadratic factor of each.
    sections = jnp.moveaxis(cosines.reshape(*cosines.shape[:-1], order // 2, 2), (-2, -1), (0, 1))
    lanes = sections.shape[1:]
    one = jnp.ones((1, *lanes), cosines.dtype)
    plus_minus = jnp.concatenate([one[:, :1], -one[:, 1:]], axis=1)
    rest = jnp.zeros((order, *lanes), cosines.dtype)
    polynomial = jnp.concatenate([one, plus_minus, rest], axis=0)

    def times_section(poly: jax.Array, cosine: jax.Array) -> tuple[jax.Array, None]:
        zero = jnp.zeros_like(poly[:1])
        once = jnp.concatenate([zero, poly[:-1]], axis=0)
        twice = jnp.concatenate([zero, zero, poly[:-2]], axis=0)
        return poly - 2.0 * cosine[None] * once + twice, None

    # One after another on a processor, where all at once take a minute to compile.
    unroll = order // 2 if for_accelerator() else 1
    polynomial, _ = jax.lax.scan(times_section, polynomial, sections, unroll=unroll)
    mean = 0.5 * (polynomial[:, 0] + polynomial[:, 1])
    return jnp.moveaxis(mean[1 : order + 1], 0, -1)


def all_pole_filter(signal: jax.Array, coefficients: jax.Array, hop_samples: int) -> jax.Array:
    """Filters half-overlapping frames, each from rest with its own filter, and overlap-adds.

    Args:
        signal: [..., frames · hop].
        coefficients: [..., frames, p].
        hop_samples: half the frame length.

    Returns:
        [..., frames · hop] (reference: ``ddsp/core.py`` apply_all_pole_filter, parallel form).
    """
    framed = to_frames(signal, 2 * hop_samples, hop_samples)
    time_major = framed.reshape(-1, framed.shape[-1]).T
    lanes = coefficients.reshape(-1, coefficients.shape[-1]).T
    filtered = recursive_filter(time_major, lanes)
    return overlap_add_hann(filtered.T.reshape(framed.shape))


@jax.custom_vjp
def recursive_filter(x: jax.Array, coefficients: jax.Array) -> jax.Array:
    """y[n] = x[n] − Σ_k a_k y[n − k] from rest: x [samples, lanes], a [p, lanes].

    The reverse pass is the same recursion run backwards over the cotangent, and the gradient of a_k
    is minus its correlation with y delayed by k: only y is kept, not the filter's states.
    """
    return _recursion(x, coefficients, reverse=False)


def _recursive_filter_fwd(
    x: jax.Array, coefficients: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    y = _recursion(x, coefficients, reverse=False)
    return y, (y, coefficients)


def _recursive_filter_bwd(
    kept: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    y, coefficients = kept
    gradient_x = _recursion(cotangent, coefficients, reverse=True)
    return gradient_x, -_delayed_correlations(gradient_x, y, coefficients.shape[0])


recursive_filter.defvjp(_recursive_filter_fwd, _recursive_filter_bwd)


def _recursion(x: jax.Array, coefficients: jax.Array, reverse: bool) -> jax.Array:
    """The recursion in either direction, by the device's kernel where there is one."""
    kernels = recursion_kernels(reverse)
    loop = partial(loop_recursion, reverse=reverse)
    filtered: jax.Array = jax.lax.platform_dependent(x, coefficients, default=loop, **kernels)
    return filtered


def loop_recursion(x: jax.Array, coefficients: jax.Array, *, reverse: bool) -> jax.Array:
    """The recursion in either direction, one sample of all lanes per loop body.

    One sample, not several: XLA fuses a chain of outputs into each of its users and computes it
    again there, which made a body of eight samples ten times slower.
    """
    order, lanes = coefficients.shape
    samples = x.shape[0]
    # The rest before the first output: `order` rows of zeros on the side where it begins.
    head = 0 if reverse else order

    def body(index: jax.Array, y: jax.Array) -> jax.Array:
        n = samples - 1 - index if reverse else index
        past = jax.lax.dynamic_slice_in_dim(y, n + 1 if reverse else n, order)
        now = jax.lax.dynamic_index_in_dim(x, n, keepdims=False)
        for delay in range(1, order + 1):
            now = now - coefficients[delay - 1] * past[delay - 1 if reverse else order - delay]
        return jax.lax.dynamic_update_slice_in_dim(y, now[None], n + head, axis=0)

    y = jax.lax.fori_loop(0, samples, body, jnp.zeros((samples + order, lanes), x.dtype))
    return y[head : head + samples]


def _delayed_correlations(u: jax.Array, y: jax.Array, order: int) -> jax.Array:
    """Σ_n u[n] y[n − k] for k = 1 … order: on a processor in chunks that stay in its cache."""
    samples, lanes = y.shape
    chunk = samples if for_accelerator() else _CHUNK_SAMPLES
    padding = jnp.zeros((-samples % chunk, lanes), y.dtype)
    u = jnp.concatenate([u, padding], axis=0)
    y = jnp.concatenate([jnp.zeros((order, lanes), y.dtype), y, padding], axis=0)

    def body(index: jax.Array, total: jax.Array) -> jax.Array:
        u_chunk = jax.lax.dynamic_slice_in_dim(u, index * chunk, chunk)
        y_chunk = jax.lax.dynamic_slice_in_dim(y, index * chunk, chunk + order)
        rows = [
            jnp.sum(u_chunk * y_chunk[order - delay : order - delay + chunk], axis=0)
            for delay in range(1, order + 1)
        ]
        return total + jnp.stack(rows)

    start = jnp.zeros((order, lanes), y.dtype)
    chunks = u.shape[0] // chunk
    if chunks == 1:
        return body(jnp.zeros((), jnp.int32), start)
    return jax.lax.fori_loop(0, chunks, body, start)
