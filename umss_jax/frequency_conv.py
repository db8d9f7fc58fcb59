"""Two-dimensional 'same' convolution over frequency and time, directly or along frequency."""

from __future__ import annotations

import jax
from jax import lax


def direct_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve with 'same' zero padding, the extra row or column after (TensorFlow's rule).

    Args:
        x: [B, F, T, C_in].
        kernel: [k_f, k_t, C_in, C_out], correlated with ``x`` (not flipped), as in Keras.

    Returns:
        [B, F, T, C_out].
    """
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )


def same_conv(x: jax.Array, kernel: jax.Array, method: str = "auto") -> jax.Array:
    """As `direct_conv`, by the given method."""
    return direct_conv(x, kernel)
