"""Framing and overlap-add against loops in float64, the Hann window against SciPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from umss_jax.dsp.framing import hann_window, overlap_add_hann, to_frames


@settings(max_examples=25, deadline=None)
@given(frames=st.integers(1, 6), hop=st.integers(1, 9), lead=st.sampled_from([(), (2,), (2, 3)]))
def test_frames_are_slices_of_the_padded_signal(frames, hop, lead):
    signal = np.random.default_rng(0).normal(size=(*lead, frames * hop)).astype(np.float32)
    padded = np.concatenate([signal, np.zeros((*lead, hop), np.float32)], axis=-1)
    got = np.asarray(to_frames(jnp.asarray(signal), 2 * hop, hop))
    assert got.shape == (*lead, frames, 2 * hop)
    for n in range(frames):
        np.testing.assert_array_equal(got[..., n, :], padded[..., n * hop : (n + 2) * hop])


@pytest.mark.parametrize(("hop", "length", "before"), [(4, 10, 3), (8, 5, 0), (3, 3, 7), (5, 1, 2)])
def test_frames_of_any_length(hop, length, before):
    signal = np.arange(1.0, 24.0)
    count = 6
    padded = np.concatenate([np.zeros(before), signal, np.zeros(100)])
    expected = [padded[n * hop : n * hop + length] for n in range(count)]
    result = to_frames(jnp.asarray(signal), length, hop, before=before, count=count)
    np.testing.assert_array_equal(result, expected)


def overlap_add_loop(frames):
    """Frame by frame in float64; all but the first frame's first half windowed."""
    *lead, n_frames, length = frames.shape
    hop = length // 2
    window = scipy.signal.get_window("hann", length, fftbins=True)
    out = np.zeros((*lead, (n_frames + 1) * hop))
    for n in range(n_frames):
        weights = window.copy()
        if n == 0:
            weights[:hop] = 1.0
        out[..., n * hop : n * hop + length] += frames[..., n, :].astype(np.float64) * weights
    return out[..., : n_frames * hop]


@settings(max_examples=25, deadline=None)
@given(frames=st.integers(1, 6), hop=st.integers(1, 9), lead=st.sampled_from([(), (2,), (2, 3)]))
def test_overlap_add_equals_the_loop(frames, hop, lead):
    values = np.random.default_rng(1).normal(size=(*lead, frames, 2 * hop)).astype(np.float32)
    got = overlap_add_hann(jnp.asarray(values))
    np.testing.assert_allclose(got, overlap_add_loop(values), rtol=0, atol=1e-6)


def test_frames_of_a_signal_add_up_to_it():
    signal = np.random.default_rng(2).normal(size=(3, 10 * 64)).astype(np.float32)
    back = overlap_add_hann(to_frames(jnp.asarray(signal), 128, 64))
    np.testing.assert_allclose(back, signal, rtol=0, atol=5e-7)


def test_first_half_frame_unwindowed_last_half_frame_dropped():
    frames = np.zeros((3, 8), np.float32)
    frames[0, 0] = frames[2, 7] = 1.0
    got = np.asarray(overlap_add_hann(jnp.asarray(frames)))
    expected = np.zeros(12)
    expected[0] = 1.0
    np.testing.assert_array_equal(got, expected)


def test_gradients():
    rng = np.random.default_rng(3)
    frames = jnp.asarray(rng.normal(size=(2, 4, 6)), jnp.float32)
    check_grads(overlap_add_hann, (frames,), order=1, atol=1e-2, rtol=1e-2)
    # Linear, so its transpose must be the loop's transpose, entry by entry.
    cotangent = rng.normal(size=(2, 12)).astype(np.float32)
    (slope,) = jax.vjp(overlap_add_hann, frames)[1](jnp.asarray(cotangent))
    expected = np.zeros((2, 4, 6))
    for n in range(4):
        for i in range(6):
            unit = np.zeros((2, 4, 6), np.float32)
            unit[:, n, i] = 1.0
            expected[:, n, i] = np.sum(overlap_add_loop(unit) * cotangent, axis=-1)
    np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", [2, 8, 512, 2048])
def test_window_is_the_periodic_hann(length):
    expected = scipy.signal.get_window("hann", length, fftbins=True)
    np.testing.assert_allclose(hann_window(length), expected, rtol=0, atol=6e-8)
    assert hann_window(length).dtype == np.float32


def test_window_halves_add_up_to_one():
    window = hann_window(512).astype(np.float64)
    np.testing.assert_allclose(window[:256] + window[256:], 1.0, rtol=0, atol=1e-7)
