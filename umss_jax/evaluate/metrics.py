"""What is measured of separated voices, per second and voice.

NumPy in and out, float64 inside, every leading axis a batch. A second or voice for which a measure
has no meaning (a silent target or estimate) is NaN; `umss_jax.evaluate.statistics` counts these.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.fft

from umss_jax.dsp.framing import hann_window
from umss_jax.evaluate.config import EvaluationConfig

_DEFAULT = EvaluationConfig()
_RATIO_FLOOR = 1e-8
"""Added by the reference to every power ratio before the logarithm: nothing is below -80 dB."""
_RATIO_CEILING = 1e16
"""A residual smaller than float32 audio can hold counts as this: nothing is above 160 dB."""


class SeparationScores(NamedTuple):
    """Separation quality of every second; NaN where target or estimate is silent."""

    si_sdr_db: np.ndarray
    spectral_snr_db: np.ndarray
    spectral_si_snr_db: np.ndarray
    mel_cepstral_distance: np.ndarray


def seconds(audio: np.ndarray, config: EvaluationConfig = _DEFAULT) -> np.ndarray:
    """Cuts audio ``[..., S]`` into evaluation frames: float64 ``[..., N, frame_samples]``.

    N = ceil(S / frame_samples), the last frame being padded with zeros. (The reference measures a
    shorter last frame; its examples have none.)

    Raises:
        ValueError: if the audio is empty.
    """
    audio = np.asarray(audio, np.float64)
    samples = audio.shape[-1]
    if samples == 0:
        raise ValueError("audio is empty")
    frames = -(-samples // config.frame_samples)
    missing = frames * config.frame_samples - samples
    padded = np.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(0, missing)])
    return padded.reshape(*audio.shape[:-1], frames, config.frame_samples)


def frame_energy(target: np.ndarray, config: EvaluationConfig = _DEFAULT) -> np.ndarray:
    """Energy Σx² of every second of a target ``[..., S]``: float64 ``[..., N]``.

    The target is scaled with its mixture to the mixture's peak of 1. The protocol leaves out frames
    below ``config.minimum_energy`` (10).
    """
    return np.sum(seconds(target, config) ** 2, axis=-1)


def _decibels(signal: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Power ratio in dB within [-80, 160]; NaN where both are zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.minimum(signal / residual, _RATIO_CEILING)
    return 10 * np.log10(ratio + _RATIO_FLOOR)


def paired_seconds(
    target: np.ndarray, estimate: np.ndarray, config: EvaluationConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both signals in :func:`seconds`, and where neither is silent ``[..., N]``.

    Raises:
        ValueError: if the shapes differ, or there is no audio.
    """
    if np.shape(target) != np.shape(estimate):
        raise ValueError(
            f"target {np.shape(target)} and estimate {np.shape(estimate)} differ in shape"
        )
    target, estimate = seconds(target, config), seconds(estimate, config)
    return target, estimate, np.any(target != 0, axis=-1) & np.any(estimate != 0, axis=-1)


def _si_sdr_db(target: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Of seconds, as the reference's ``evaluation_metrics.si_sdr``: no mean is removed."""
    energy = np.sum(target**2, axis=-1, keepdims=True)
    scale = np.sum(target * estimate, axis=-1, keepdims=True) / np.where(energy > 0, energy, 1.0)
    scaled = scale * target
    return _decibels(np.sum(scaled**2, axis=-1), np.sum((scaled - estimate) ** 2, axis=-1))


def _power_spectrogram(framed: np.ndarray, fft_size: int, hop: int, pad_end: bool) -> np.ndarray:
    """|STFT|² of every second, ends mirrored, ``[..., N, T, bins]``.

    ``pad_end`` first appends the zeros that let the last window slide fully beyond the signal,
    as the reference's ``pad_for_stft`` does even where the frames are centred.
    """
    samples = framed.shape[-1]
    if pad_end:
        missing = max(0, fft_size + hop * (-(-samples // hop) - 1) - samples)
        framed = np.pad(framed, [(0, 0)] * (framed.ndim - 1) + [(0, missing)])
    centred = [(0, 0)] * (framed.ndim - 1) + [(fft_size // 2, fft_size // 2)]
    framed = np.pad(framed, centred, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(framed, fft_size, axis=-1)[..., ::hop, :]
    spectrum = scipy.fft.rfft(windows * hann_window(fft_size, np.float64), axis=-1)
    return spectrum.real**2 + spectrum.imag**2


def _spectral_db(target: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spectral SNR and SI-SNR of magnitudes ``[..., N, T, bins]``, dB ``[..., N]`` each."""
    axes = (-2, -1)
    energy = np.sum(target**2, axis=axes)
    snr = _decibels(energy, np.sum((estimate - target) ** 2, axis=axes))
    scale = np.sum(target * estimate, axis=axes) / (energy + 1e-12)
    scaled = target * scale[..., None, None]
    residual = np.sum((estimate - scaled) ** 2, axis=axes)
    return snr, _decibels(np.sum(scaled**2, axis=axes), residual)


def mel_filterbank(config: EvaluationConfig = _DEFAULT) -> np.ndarray:
    """Triangular filters, equally spaced on the mel scale of HTK, peak 1, 0 Hz to Nyquist.

    Returns:
        float64 ``[mel_bands, fft_size // 2 + 1]``. With 512 bins some of the lowest filters fall
        between two bins and are empty, as in the reference (torchaudio's defaults).
    """
    nyquist_hz = config.sample_rate_hz / 2
    edges_mel = np.linspace(0, 2595 * np.log10(1 + nyquist_hz / 700), config.mel_bands + 2)
    edges_hz = 700 * (10 ** (edges_mel / 2595) - 1)
    bins_hz = np.linspace(0, nyquist_hz, config.fft_size // 2 + 1)
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (bins_hz - low) / (centre - low)
    falling = (high - bins_hz) / (high - centre)
    return np.maximum(0, np.minimum(rising, falling))


def _mel_cepstral_distance(
    target: np.ndarray, estimate: np.ndarray, config: EvaluationConfig
) -> np.ndarray:
    filters = np.ascontiguousarray(mel_filterbank(config).T)

    def cepstrum(framed: np.ndarray) -> np.ndarray:
        power = _power_spectrogram(framed, config.fft_size, config.hop_samples, pad_end=False)
        # One matrix product: NumPy runs a stack of small ones many times slower.
        mel = (power.reshape(-1, len(filters)) @ filters).reshape(*power.shape[:-1], -1)
        coefficients = scipy.fft.dct(np.log(mel + 1e-6), type=2, norm="ortho")
        return coefficients[..., : config.cepstral_coefficients]

    return np.mean(np.linalg.norm(cepstrum(target) - cepstrum(estimate), axis=-1), axis=-1)


def separation_scores(
    target: np.ndarray, estimate: np.ndarray, config: EvaluationConfig = _DEFAULT
) -> SeparationScores:
    """All separation measures of every second.

    Args:
        target: true voices ``[..., S]`` at ``config.sample_rate_hz``, the mixture's peak being 1.
        estimate: the same shape.
        config: frames, transforms.

    Returns:
        Four float64 arrays ``[..., N]``: SI-SDR, spectral SNR and spectral SI-SNR in dB (512/256,
        centred, magnitudes), and the mean Euclidean distance of 13 mel-cepstral coefficients
        (128 HTK mel bands of power, natural logarithm of the value plus 1e-6).

    Raises:
        ValueError: if the shapes differ.

    Source: the reference's ``evaluation_metrics.py``. Deviation: a silent target or estimate gives
    NaN in all four, where the reference gives the spectral SNR of a silent estimate as 0 dB.
    """
    target, estimate, sounding = paired_seconds(target, estimate, config)
    magnitudes = [
        np.sqrt(_power_spectrogram(x, config.fft_size, config.hop_samples, pad_end=True))
        for x in (target, estimate)
    ]
    snr, si_snr = _spectral_db(*magnitudes)
    scores = (
        _si_sdr_db(target, estimate),
        snr,
        si_snr,
        _mel_cepstral_distance(target, estimate, config),
    )
    return SeparationScores(*(np.where(sounding, score, np.nan) for score in scores))
