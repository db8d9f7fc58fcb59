"""The reference's oscillator bank in PyTorch's arithmetic, callable from within JAX.

The recorded training steps depend on how float32 rounds the phases of that bank. In unvoiced
frames F0 is 1e-5 Hz: the phase freezes wherever it happens to be, and the sum of 101 harmonics at a
frozen phase magnifies an error of 1e-3 rad in the highest of them; gradients with respect to F0 add
up such values over all later samples. So a test that replays the steps needs the same rounding, in
this one place. In float64 the same function is the truth that both are measured against.
"""

import jax
import jax.numpy as jnp
import numpy as np
import torch

HARMONICS, RATE_HZ, HOP = 101, 16_000, 256


def bank(f0_hz, amplitude):
    """One voice, [frames] each, in the precision of the arguments → [frames · 256]."""
    dtype, samples = f0_hz.dtype, f0_hz.shape[0] * HOP
    harmonic_hz = f0_hz[:, None] * torch.arange(1, HARMONICS + 1, dtype=dtype)
    audible = (harmonic_hz < RATE_HZ / 2).to(dtype)
    strength = amplitude[:, None] * (audible / audible.sum(dim=1, keepdim=True))
    rows = torch.cat([strength, strength[-1:]])
    window = torch.hann_window(2 * HOP, dtype=dtype)[:, None]
    envelope = rows[:-1, None] * window[HOP:] + rows[1:, None] * window[:HOP]
    envelope = envelope.reshape(samples, HARMONICS)
    # Interpolated per harmonic, as an image of one column, because that fixes the rounding.
    column = harmonic_hz.T[None, :, :, None]
    at_samples = torch.nn.functional.interpolate(
        column, size=[samples, 1], mode="bilinear", align_corners=False
    )[0, :, :, 0].T
    envelope = torch.where(at_samples >= RATE_HZ / 2, torch.zeros_like(envelope), envelope)
    phase = torch.cumsum(at_samples * (2.0 * np.pi) / RATE_HZ, dim=0)
    return (envelope * torch.sin(phase)).sum(dim=1)


def synth_frames(f0_hz_cqt):
    """Change of frame rate by PyTorch, [..., 344] → [..., 250]."""
    return torch.nn.functional.interpolate(
        f0_hz_cqt[..., None], size=[250, 1], mode="bilinear", align_corners=False
    )[..., 0]


def _for_each_voice(function, dtype):
    """``function`` of 1-d tensors on arrays [batch, voice, …], and its gradient."""

    def tensors(arrays, index, requires_grad):
        rows = (torch.tensor(np.asarray(x)[index], dtype=dtype) for x in arrays)
        return [row.requires_grad_(requires_grad) for row in rows]

    def forward(*arrays):
        lead = np.shape(arrays[0])[:2]
        rows = [function(*tensors(arrays, i, False)).numpy() for i in np.ndindex(lead)]
        return np.stack(rows).reshape(*lead, -1).astype(np.float32)

    def backward(cotangent, *arrays):
        slopes = [np.zeros(np.shape(x), np.float32) for x in arrays]
        for index in np.ndindex(np.shape(cotangent)[:2]):
            rows = tensors(arrays, index, True)
            function(*rows).backward(torch.tensor(np.asarray(cotangent)[index], dtype=dtype))
            for slope, row in zip(slopes, rows, strict=True):
                slope[index] = row.grad.numpy()
        return tuple(slopes)

    return forward, backward


def _in_jax(function, dtype, samples_per_frame):
    forward, backward = _for_each_voice(function, dtype)

    def shape(x, frames):
        return jax.ShapeDtypeStruct((*x.shape[:2], frames), jnp.float32)

    @jax.custom_vjp
    def call(*arrays):
        frames = samples_per_frame(arrays[0].shape[-1])
        return jax.pure_callback(forward, shape(arrays[0], frames), *arrays)

    def pull_back(arrays, cotangent):
        shapes = tuple(shape(x, x.shape[-1]) for x in arrays)
        return jax.pure_callback(backward, shapes, cotangent, *arrays)

    call.defvjp(lambda *arrays: (call(*arrays), arrays), pull_back)
    return call


def harmonic_signal_by_bank(dtype):
    """Stands in for `umss_jax.synth.harmonic.harmonic_signal`."""
    call = _in_jax(bank, dtype, lambda frames: frames * HOP)
    return lambda controls, config: call(controls.f0_hz_synth, controls.amplitude)


def f0_to_synth_frames_by_torch():
    """Stands in for `umss_jax.pitch.extractor.f0_to_synth_frames`."""
    call = _in_jax(lambda f: synth_frames(f[None, None])[0, 0], torch.float32, lambda _: 250)
    return lambda f0_hz_cqt, frames, floor_hz: call(jnp.maximum(f0_hz_cqt, floor_hz))
