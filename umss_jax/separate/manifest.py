"""The manifest of separated stems: what is needed to know their origin and make them again."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING

import soundfile

import umss_jax
from umss_jax.audio.recording import Recording
from umss_jax.files import file_sha256
from umss_jax.separate.config import ClipMode, SeparationConfig
from umss_jax.separate.outputs import F0_TABLE, SOUNDS
from umss_jax.separate.stem_writer import Encoding, Level

if TYPE_CHECKING:
    from umss_jax.inference import ModelEngine


def manifest(
    recording: Recording,
    engine: ModelEngine,
    config: SeparationConfig,
    clip_mode: ClipMode,
    encoding: Encoding,
    level: Level,
) -> dict[str, object]:
    """What is written as JSON beside the stems of a recording."""
    return {
        "model": engine.name,
        **engine.provenance,
        "versions": _versions(),
        "input": {
            "file": recording.path.name,
            "sha256": file_sha256(recording.path),
            "sample_rate_hz": recording.sample_rate_hz,
            "channels": recording.channels,
            "samples": recording.samples,
            "peak": recording.peak,
            "downmix": list(recording.downmix),
        },
        "options": {
            "segment_s": config.segment_s,
            "overlap": config.overlap,
            "clip_mode": clip_mode,
            "format": f"{encoding.container} {encoding.subtype}",
        },
        "seed": config.seed,
        "gain": level.gain,
        "clipped_samples": level.clipped_samples,
        "outputs": [f"{name}.{encoding.extension}" for name in SOUNDS] + [F0_TABLE],
    }


def _versions() -> Mapping[str, str]:
    versions = {"umss_jax": umss_jax.__version__, "python": platform.python_version()}
    for package in ("jax", "flax", "numpy", "soundfile", "soxr"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    versions["libsndfile"] = soundfile.__libsndfile_version__
    return versions
