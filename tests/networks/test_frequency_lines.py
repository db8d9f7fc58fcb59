"""The folded transform against the plain one, there and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparison import relative_error

from umss_jax.networks.frequency_lines import (
    from_lines,
    kernel_from_lines,
    line_count,
    line_kernels,
    to_lines,
    transform,
)


def plain_lines(x, lines):
    """Lines of [B, F, T, C] by their definition, even ones first; Nyquist beside line 0."""
    length = 2 * lines
    order = np.concatenate([np.arange(0, lines, 2), np.arange(1, lines, 2)])
    position = np.arange(x.shape[1]) + 0.5
    wave = np.exp(-2j * np.pi * order[:, None] * position / length)
    spectrum = np.einsum("kf,bftc->kbtc", wave, x)
    real, imaginary = spectrum.real, spectrum.imag.copy()
    nyquist = np.exp(-1j * np.pi * position).imag
    imaginary[0] = np.einsum("f,bftc->btc", nyquist, x)
    return np.stack([real, imaginary])


@pytest.mark.parametrize(("bins", "taps"), [(360, 70), (360, 360), (13, 5), (7, 1), (1, 1)])
def test_folding_changes_nothing(bins, taps):
    x = np.random.default_rng(0).normal(size=(2, bins, 3, 2))
    matrices = transform(bins, taps)
    lines = to_lines(jnp.float32(x), matrices.analysis, (0, 0))
    assert relative_error(lines, plain_lines(x, line_count(bins, taps))) < 1e-6
    rows = jnp.moveaxis(lines, 0, -2).reshape(lines.shape[1], 6, 4)
    assert relative_error(from_lines(rows, matrices.synthesis, x.shape), x) < 1e-6


def test_length_keeps_what_wraps_outside():
    for bins in range(1, 40):
        for taps in range(1, 45):
            length = 2 * line_count(bins, taps)
            assert length % 4 == 0
            assert bins + taps // 2 <= length < bins + taps // 2 + 4


def test_kernel_gradient_is_the_transpose_of_the_kernel_matrices():
    rng = np.random.default_rng(1)
    kernel = jnp.float32(rng.normal(size=(5, 3, 2, 4)))
    matrices, pull = jax.vjp(lambda k: line_kernels(k, 13), kernel)
    lines = matrices.shape[0]
    outer = jnp.float32(rng.normal(size=(lines, 2, 2, 3, 2, 4)))
    by_tap = outer.transpose(0, 3, 1, 2, 4, 5).reshape(matrices.shape)
    assert relative_error(kernel_from_lines(outer, 13, 5), pull(by_tap)[0]) < 1e-6
