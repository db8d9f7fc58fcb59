"""Resampling block by block: without delay, and as long as promised."""

import numpy as np
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from umss_jax.audio.resampling import StreamResampler, resampled_samples


@settings(max_examples=40, deadline=None)
@given(
    rates=st.tuples(*[st.sampled_from([8000, 11_025, 16_000, 32_000, 44_100, 48_000, 96_000])] * 2),
    samples=st.integers(1, 30_000),
    channels=st.integers(1, 3),
    block=st.integers(1, 5000),
    seed=st.integers(0, 99),
)
def test_streamed_resampling_equals_resampling_the_whole(rates, samples, channels, block, seed):
    from_hz, to_hz = rates
    block = max(block, samples // 50)
    audio = np.random.default_rng(seed).standard_normal((channels, samples)).astype(np.float32)
    promised = resampled_samples(samples, from_hz, to_hz)
    stream = StreamResampler(from_hz, to_hz, channels, promised)
    pieces = [stream.push(audio[:, k : k + block]) for k in range(0, samples, block)]
    streamed = np.concatenate([*pieces, stream.finish()], axis=1)
    # One shot over the same audio followed by silence, whose end is known to be complete.
    padded = np.pad(audio, ((0, 0), (0, 2000)))
    whole = soxr.resample(padded.T, from_hz, to_hz).T[:, :promised]
    assert streamed.shape == (channels, promised)
    np.testing.assert_allclose(streamed, whole, atol=2e-5)


def test_resampling_there_and_back_has_no_delay():
    rate = 44_100
    tone = 0.5 * np.sin(2 * np.pi * 220 * np.arange(2 * rate) / rate)
    audio = tone[None].astype(np.float32)
    there = StreamResampler(rate, 16_000, 1, 32_000)
    at_16k = np.concatenate([there.push(audio), there.finish()], axis=1)
    back = StreamResampler(16_000, rate, 1, audio.shape[1])
    returned = np.concatenate([back.push(at_16k), back.finish()], axis=1)
    inside = slice(2000, -2000)
    np.testing.assert_allclose(returned[:, inside], audio[:, inside], atol=1e-5)
