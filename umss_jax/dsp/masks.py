"""Soft masks on the mixture's STFT: from synthesised voices to stems that sum to the mixture.

The synthesised voices sound like a synthesiser; the stems are the mixture itself, shared out among
the voices bin by bin in the ratio of the synthesised magnitudes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.config import MaskConfig

_FLOOR = 1e-12
"""Added to the denominator by the reference; here every voice also gets its J-th part of it."""


def _hann(fft_size: int) -> np.ndarray:
    """Periodic Hann window of ``fft_size`` samples, float32."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(fft_size) / fft_size)).astype(np.float32)


def centred_stft(audio: jax.Array, config: MaskConfig) -> jax.Array:
    """STFT with frames centred on multiples of the hop, the ends mirrored.

    Args:
        audio: ``[..., S]``, any rate; S > fft_size / 2.
        config: FFT size and hop; the hop divides the FFT size.

    Returns:
        complex64 ``[..., fft_size // 2 + 1, 1 + S // hop]``.

    Raises:
        ValueError: if the hop does not divide the FFT size or the audio is too short to mirror.

    Source: PyTorch's ``stft(center=True)`` as the reference calls it.
    """
    fft_size, hop = config.fft_size, config.hop_samples
    if fft_size % hop or hop <= 0:
        raise ValueError(f"hop {hop} does not divide the FFT size {fft_size}")
    samples = audio.shape[-1]
    if samples <= fft_size // 2:
        raise ValueError(
            f"audio of {samples} samples is too short: it needs more than {fft_size // 2}"
        )
    frames = 1 + samples // hop
    hops_per_frame = fft_size // hop
    leading = audio.shape[:-1]
    padding = [(0, 0)] * len(leading) + [(fft_size // 2, fft_size // 2)]
    padded = jnp.pad(audio, padding, mode="reflect")
    padded = padded[..., : (frames - 1 + hops_per_frame) * hop]
    blocks = padded.reshape(*leading, frames - 1 + hops_per_frame, hop)
    framed = jnp.concatenate([blocks[..., k : k + frames, :] for k in range(hops_per_frame)], -1)
    window = jnp.asarray(_hann(fft_size)).reshape((1,) * (framed.ndim - 1) + (fft_size,))
    return jnp.swapaxes(jnp.fft.rfft(framed * window), -1, -2)


def inverse_centred_stft(stft: jax.Array, samples: int, config: MaskConfig) -> jax.Array:
    """Least-squares inverse of :func:`centred_stft`.

    Args:
        stft: complex ``[..., fft_size // 2 + 1, 1 + samples // hop]``.
        samples: length of the audio to return.
        config: FFT size and hop of the analysis.

    Returns:
        float32 ``[..., samples]``: windowed overlap-add divided by the summed squared windows.

    Raises:
        ValueError: if the number of frames does not fit ``samples``.
    """
    fft_size, hop = config.fft_size, config.hop_samples
    frames = stft.shape[-1]
    if frames != 1 + samples // hop:
        raise ValueError(
            f"{frames} frames do not fit {samples} samples: expected {1 + samples // hop}"
        )
    hops_per_frame = fft_size // hop
    leading = stft.shape[:-2]
    window = _hann(fft_size)
    framed = jnp.fft.irfft(jnp.swapaxes(stft, -1, -2), n=fft_size)
    framed = framed * jnp.asarray(window).reshape((1,) * (framed.ndim - 1) + (fft_size,))
    blocks = framed.reshape(*leading, frames, hops_per_frame, hop)
    keep = [(0, 0)] * len(leading)
    total = sum(
        jnp.pad(blocks[..., k, :], [*keep, (k, hops_per_frame - 1 - k), (0, 0)])
        for k in range(hops_per_frame)
    )
    # The envelope depends on shapes alone: float64 on the host, a constant of the traced program.
    squares = np.zeros((frames - 1 + hops_per_frame, hop))
    for k in range(hops_per_frame):
        squares[k : k + frames] += window[k * hop : (k + 1) * hop].astype(np.float64) ** 2
    cut = slice(fft_size // 2, fft_size // 2 + samples)
    envelope = jnp.asarray(squares.reshape(-1)[cut], jnp.float32)
    audio = jnp.asarray(total).reshape(*leading, -1)[..., cut]
    return audio / envelope.reshape((1,) * len(leading) + (samples,))


def soft_masks(sources: jax.Array, config: MaskConfig | None = None) -> jax.Array:
    """Share of each voice in the summed magnitudes, bin by bin.

    Args:
        sources: synthesised voices ``[..., J, S]``.
        config: FFT size and hop.

    Returns:
        float32 ``[..., J, F, T]`` in [0, 1], summing to 1 over the voices.

    Source: the reference's ``masking_from_synth_signals_torch``. Deviation: where every voice is
    silent its masks are all zero, so that its stems lose that part of the mixture; here each voice
    then gets 1 / J, and elsewhere the two differ by less than 1e-12 of the summed magnitude.
    """
    return ratio_masks(jnp.abs(centred_stft(sources, config or MaskConfig())))


def ratio_masks(magnitudes: jax.Array) -> jax.Array:
    """Share of each voice in the sum, as :func:`soft_masks`, from magnitudes ``[..., J, F, T]``."""
    voices = magnitudes.shape[-3]
    total = jnp.sum(magnitudes, axis=-3, keepdims=True)
    return (magnitudes + _FLOOR / voices) / (total + _FLOOR)


def apply_masks(
    mixture: jax.Array, masks: jax.Array, config: MaskConfig | None = None
) -> jax.Array:
    """Filters a mixture by time-frequency masks.

    Args:
        mixture: ``[..., S]``.
        masks: ``[..., J, F, T]`` for the same leading axes.
        config: FFT size and hop of the masks.

    Returns:
        stems ``[..., J, S]``, float32; they sum to the mixture where the masks sum to 1.

    Raises:
        ValueError: if masks and mixture differ in bins or frames.
    """
    config = config or MaskConfig()
    stft = centred_stft(mixture, config)
    _check_grid(stft, masks)
    return inverse_centred_stft(stft[..., None, :, :] * masks, mixture.shape[-1], config)


def soft_mask_stems(
    mixture: jax.Array, sources: jax.Array, config: MaskConfig | None = None
) -> jax.Array:
    """Stems of a mono mixture by the soft masks of synthesised voices.

    Args:
        mixture: ``[..., S]``.
        sources: synthesised voices ``[..., J, S]``, aligned with the mixture.
        config: FFT size and hop (2048/256).

    Returns:
        stems ``[..., J, S]``, float32, that sum to the mixture.
    """
    return apply_masks(mixture, soft_masks(sources, config), config)


def soft_mask_channels(
    channels: jax.Array, sources: jax.Array, config: MaskConfig | None = None
) -> jax.Array:
    """Stems of a multi-channel mixture, every channel filtered by the same masks.

    The masks come from voices that were synthesised for the mono mixture, so the image of each
    voice keeps its place between the channels.

    Args:
        channels: ``[..., C, S]``.
        sources: synthesised voices ``[..., J, S]``.
        config: FFT size and hop (2048/256).

    Returns:
        stems ``[..., J, C, S]``, float32, that sum to the channels over J.
    """
    config = config or MaskConfig()
    masks = soft_masks(sources, config)
    stft = centred_stft(channels, config)
    _check_grid(stft, masks)
    filtered = stft[..., None, :, :, :] * masks[..., :, None, :, :]
    return inverse_centred_stft(filtered, channels.shape[-1], config)


def _check_grid(stft: jax.Array, masks: jax.Array) -> None:
    """Refuses masks of another number of bins or frames than the mixture's."""
    if stft.shape[-2:] != masks.shape[-2:]:
        raise ValueError(
            f"masks of {masks.shape[-2:]} bins and frames for a mixture of {stft.shape[-2:]}"
        )
