"""The Hann window against SciPy's."""

import numpy as np
import pytest
import scipy.signal

from umss_jax.dsp.windows import hann_window


@pytest.mark.parametrize("length", [2, 8, 512, 2048])
def test_window_is_the_periodic_hann(length):
    expected = scipy.signal.get_window("hann", length, fftbins=True)
    np.testing.assert_allclose(hann_window(length), expected, rtol=0, atol=6e-8)
    assert hann_window(length).dtype == np.float32


def test_window_halves_add_up_to_one():
    window = hann_window(512).astype(np.float64)
    np.testing.assert_allclose(window[:256] + window[256:], 1.0, rtol=0, atol=1e-7)
