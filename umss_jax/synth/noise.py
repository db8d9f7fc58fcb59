"""Noise source: uniform white noise through a time-invariant FIR, with a gain per frame.

Raw gain and magnitudes → :func:`noise_controls` → :func:`noise_signal`. The random numbers are an
argument, so that recorded noise replays; :func:`sample_noise` makes them from a key.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from umss_jax.config import SynthConfig
from umss_jax.dsp.fir import fir_filter, linear_phase_fir
from umss_jax.dsp.framing import overlap_add_hann, to_frames
from umss_jax.synth.activations import exp_sigmoid


class NoiseControls(NamedTuple):
    """Physical controls of the noise source."""

    gain: jax.Array
    """[..., frames] at 250 frames per 4 s, in (0, 1)."""
    magnitudes: jax.Array
    """[..., bands] from 0 to Nyquist, in (0, 2), one set for all frames."""


def noise_controls(
    gain_raw: jax.Array, magnitudes_raw: jax.Array, config: SynthConfig
) -> NoiseControls:
    """Bounds the raw network outputs, shaped as in :class:`NoiseControls`."""
    return NoiseControls(
        gain=exp_sigmoid(gain_raw, config.noise_gain_max),
        magnitudes=exp_sigmoid(config.noise_magnitude_scale * magnitudes_raw),
    )


def sample_noise(
    key: jax.Array, shape: tuple[int, ...], samples: int, hop_samples: int
) -> jax.Array:
    """Uniform noise in [−1, 1) for :func:`noise_signal`, [*shape, samples + hop]."""
    return jax.random.uniform(key, (*shape, samples + hop_samples), minval=-1.0, maxval=1.0)


def noise_signal(
    controls: NoiseControls,
    uniform: jax.Array,
    config: SynthConfig,
    *,
    voiced: jax.Array | None = None,
    uniform_unvoiced: jax.Array | None = None,
) -> jax.Array:
    """Filtered noise in Hann-overlapped frames (reference: ``ddsp/synths.py``).

    Args:
        controls: gain [..., frames] and magnitudes [..., bands].
        uniform: [..., frames · hop + hop], uniform in [−1, 1).
        config: sizes and constants.
        voiced: [..., frames], > 0 where voiced. Given together with ``uniform_unvoiced``
            [..., frames · hop], unvoiced frames take that noise unfiltered. Left out, one noise
            model serves all frames, which is the paper's setting.
        uniform_unvoiced: [..., frames · hop], uniform in [−1, 1), for ``voiced``.

    Returns:
        [..., frames · hop].
    """
    hop = config.hop_samples
    # Filtered with its extra hop, so that the last frame is full: only then cut.
    filtered = fir_filter(uniform, linear_phase_fir(controls.magnitudes))
    noise_frames = to_frames(filtered, 2 * hop, hop, count=controls.gain.shape[-1])
    if voiced is not None and uniform_unvoiced is not None:
        unfiltered = to_frames(uniform_unvoiced, 2 * hop, hop)
        noise_frames = jnp.where(voiced[..., None] > 0, noise_frames, unfiltered)
    return overlap_add_hann(noise_frames * controls.gain[..., None])
