"""The image of a salience, at the width of a picture."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from umss_jax.separation.pitch_plot import SalienceImage


@given(blocks=st.lists(st.integers(1, 40), min_size=1, max_size=6), columns=st.integers(1, 50))
def test_the_image_keeps_the_largest_salience_of_each_column(blocks, columns):
    frames = sum(blocks)
    salience_synth = np.random.default_rng(frames).random((5, frames), np.float32)
    image = SalienceImage(5, frames, columns)
    for part in np.split(salience_synth, np.cumsum(blocks)[:-1], axis=1):
        image.push(part)
    width = image.frames_per_column
    expected = [
        salience_synth[:, start : start + width].max(axis=1) for start in range(0, frames, width)
    ]
    assert len(expected) <= columns
    np.testing.assert_array_equal(image.image, np.stack(expected, axis=1))
