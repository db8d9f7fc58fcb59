"""Half-pixel interpolation against JAX's and PyTorch's."""

import jax
import numpy as np
import pytest

from umss_jax.dsp.interpolation import interpolation_matrix, resample_linear


def test_upsampling_is_linear_between_the_middles_of_cells():
    values = np.random.default_rng(5).normal(size=9).astype(np.float32)
    expected = jax.image.resize(values, (36,), "linear")
    np.testing.assert_allclose(interpolation_matrix(9, 36) @ values, expected, atol=1e-6)
    np.testing.assert_array_equal(interpolation_matrix(1, 4), np.ones((4, 1)))


@pytest.mark.parametrize(("count", "frames"), [(344, 250), (250, 344), (1, 7), (5, 5)])
def test_resampling_equals_pytorch(count, frames):
    values = np.random.default_rng(1).random((4, count)).astype(np.float32)
    torch = pytest.importorskip("torch")
    expected = torch.nn.functional.interpolate(
        torch.tensor(values)[None], frames, mode="linear", align_corners=False
    )[0]
    np.testing.assert_allclose(resample_linear(values, frames), expected.numpy(), atol=1e-4)
