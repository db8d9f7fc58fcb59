"""What a separation says about itself: model, input, options, levels, files."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soundfile

import umss_jax
from umss_jax.audio.recording import Recording
from umss_jax.files import file_sha256
from umss_jax.separation.config import SeparationConfig
from umss_jax.separation.likeness import Likeness
from umss_jax.separation.outputs import MANIFEST
from umss_jax.separation.request import Request
from umss_jax.separation.stem_writer import Level

if TYPE_CHECKING:
    from umss_jax.inference import ModelEngine


def manifest_of(
    recording: Recording,
    engine: ModelEngine,
    config: SeparationConfig,
    request: Request,
    level: Level,
    likeness: Likeness,
    targets: Mapping[str, Path],
) -> dict[str, Any]:
    """What is written as JSON beside the stems of a recording.

    ``outputs`` are paths from the manifest's own folder. Where not all stems are written,
    ``left_out`` names the others, which with those that are there sum to the recording.
    """
    encoding = request.encoding
    made: dict[str, Any] = {
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
            "full_band": config.full_band,
            "clip_mode": request.clip_mode,
            "format": f"{encoding.container} {encoding.subtype}",
        },
        "seed": config.seed,
        "voices": list(request.voices),
        "gain": level.gain,
        "clipped_samples": level.clipped_samples,
        "likeness": {
            **likeness._asdict(),
            "findings": likeness.findings(voices=engine.config.voices),
        },
        "outputs": _places(request.outputs, targets),
    }
    if recording.is_part:
        made["input"]["start_s"] = recording.first / recording.sample_rate_hz
        made["input"]["duration_s"] = recording.duration_s
    if request.left_out:
        made["left_out"] = list(request.left_out)
    return made


def _places(names: Sequence[str], targets: Mapping[str, Path]) -> list[str]:
    folder = targets[MANIFEST].parent
    return [Path(os.path.relpath(targets[name], folder)).as_posix() for name in names]


def _versions() -> dict[str, str]:
    versions = {"umss_jax": umss_jax.__version__, "python": platform.python_version()}
    for package in ("jax", "flax", "numpy", "soundfile", "soxr"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    versions["libsndfile"] = soundfile.__libsndfile_version__
    return versions
