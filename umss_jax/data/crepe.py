"""F0 tracks of single voices by CREPE, written where the evaluation looks for references.

The network comes with ``torchcrepe`` (the extra ``crepe``), weights included, so no connection is
needed. Its decoders dither or smooth, so the pitch is read off the activations here, as CREPE's
own program does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from umss_jax.audio.cache import DecodedAudio
from umss_jax.config import AudioConfig
from umss_jax.data.config import CrepeConfig
from umss_jax.data.references import f0_files
from umss_jax.errors import UsageError
from umss_jax.files import write_array, write_text
from umss_jax.pitch.tables import track_text

_CENTS = 1997.3794084376191 + 20.0 * np.arange(360)
"""Of the network's bins, above 10 Hz."""
_REACH = 4
"""Bins on either side of the highest that its pitch is the average of."""


class CrepeTrack(NamedTuple):
    """Pitch of every frame; frame i stands at i hops."""

    frequency_hz: np.ndarray
    """float64 [frames], a value in every frame."""
    confidence: np.ndarray
    """float64 [frames] in [0, 1]; :mod:`umss_jax.pitch.config` says from where on it is voiced."""


def track(samples_16k: np.ndarray, audio: AudioConfig) -> CrepeTrack:
    """F0 of a single voice ``[S]`` at 16 kHz.

    Returns:
        1 + S // hop frames.

    Raises:
        UsageError: the extra is not installed.
    """
    try:
        import torch
        import torchcrepe
    except ImportError as error:
        raise UsageError(
            f"F0 by CREPE needs the extra crepe ({error})",
            'install it by pip install "umss-jax[crepe]"',
        ) from error
    config = CrepeConfig()
    samples = torch.from_numpy(np.array(samples_16k, np.float32))[None]
    rate_hz, hop = audio.sample_rate_hz, audio.hop_samples
    with torch.no_grad():
        batches = torchcrepe.preprocess(samples, rate_hz, hop, config.batch_frames)
        activations = [torchcrepe.infer(frames, config.model).numpy() for frames in batches]
    return pitch_of(np.concatenate(activations))


def pitch_of(activations: np.ndarray) -> CrepeTrack:
    """The pitch that activations ``[frames, 360]`` mean.

    The mean of the bins around the highest, weighted by their activations; its height is the
    confidence (CREPE's ``to_local_average_cents``).
    """
    activations = np.asarray(activations, np.float64)
    highest = activations.argmax(axis=1)
    near = highest[:, None] + np.arange(-_REACH, _REACH + 1)
    inside = (near >= 0) & (near < activations.shape[1])
    near = np.clip(near, 0, activations.shape[1] - 1)
    weights = np.where(inside, np.take_along_axis(activations, near, axis=1), 0.0)
    total = weights.sum(axis=1)
    mean = (weights * _CENTS[near]).sum(axis=1) / np.where(total > 0, total, 1.0)
    cents = np.where(total > 0, mean, _CENTS[highest])
    return CrepeTrack(10.0 * 2 ** (cents / 1200), activations.max(axis=1))


def write_track(
    recording: Path,
    audio: AudioConfig,
    as_table: bool = False,
    run: Callable[[np.ndarray, AudioConfig], CrepeTrack] = track,
) -> Path:
    """Tracks a recording of a single voice, of any rate and format, and writes its F0 beside it.

    A table is one ``.f0.csv`` as CREPE's program writes it, instead of the pair of ``.npy`` files
    that the published code reads.

    Returns:
        The file written, of two the frequency.

    Raises:
        AudioError: the recording cannot be read.
        OutputError: its F0 cannot be written.
    """
    found = run(DecodedAudio().load(recording), audio)
    table, (frequency, confidence) = f0_files(recording)
    if as_table:
        write_text(table, track_text(*found, audio.hop_s, decimals=6))
        return table
    write_array(confidence, found.confidence)
    write_array(frequency, found.frequency_hz)
    return frequency
