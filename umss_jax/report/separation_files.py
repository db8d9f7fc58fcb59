"""The files of a folder that `separate` wrote: its manifest, its stems, and true voices beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from umss_jax.config import VOICES
from umss_jax.documents import read_json
from umss_jax.errors import ReportError, UsageError
from umss_jax.range_checks import check_voice_names
from umss_jax.report.config import ReportConfig
from umss_jax.report.sounds import read_header
from umss_jax.separation.outputs import sounds_of

AGAIN = "separate the recording again"
"""Remedy where a folder is not what `separate` wrote."""
_LONGEST_NAME = 255
_AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a separation says of itself.

    Raises:
        ReportError: it is none, or damaged.
    """
    path = folder / "manifest.json"
    try:
        manifest = read_json(path)
        named = [manifest["input"]["file"], *manifest["outputs"]]
        if not all(isinstance(name, str) and _is_file_name(Path(name).name) for name in named):
            raise ValueError("names that are none")
        manifest = {"voices": list(VOICES), **manifest}  # earlier versions knew no others
        check_voice_names(manifest["voices"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, UsageError) as error:
        raise ReportError(f"{path} is not the manifest of a separation", AGAIN) from error
    return dict(manifest)


def _is_file_name(name: str) -> bool:
    return "\0" not in name and 0 < len(name.encode("utf-8", "replace")) <= _LONGEST_NAME


def stem_files(folder: Path, manifest: dict[str, Any], voices: tuple[str, ...]) -> dict[str, Path]:
    """Voices and residual by name, as the manifest names their files.

    Raises:
        ReportError: one is missing.
    """
    by_stem = {Path(str(name)).stem: folder / Path(str(name)).name for name in manifest["outputs"]}
    missing = [name for name in sounds_of(voices) if name not in by_stem]
    if missing:
        raise ReportError(f"{folder / 'manifest.json'} names no {', '.join(missing)}", AGAIN)
    return {name: by_stem[name] for name in sounds_of(voices)}


def target_files(
    folder: Path,
    given: Path | None,
    duration_s: float,
    voices: tuple[str, ...],
    config: ReportConfig,
) -> dict[str, Path]:
    """True voices by name, as many as there are, in the folder given or in ``targets``.

    Raises:
        ReportError: there is none in the folder given, or one is of another length.
    """
    place = given or folder / "targets"
    if not place.is_dir():
        if given is None:
            return {}
        raise ReportError(
            f"{place} is not a folder", f"name the folder that holds {voices[0]}.wav …"
        )
    named = {voice.casefold(): voice for voice in voices}
    found = {
        named[path.stem.casefold()]: path
        for path in sorted(place.iterdir())
        if path.stem.casefold() in named and path.suffix.lower() in _AUDIO_SUFFIXES
    }
    if not found:
        raise ReportError(
            f"{place} holds no {', '.join(voices[:-1])} or {voices[-1]}",
            f"name the true voices so ({voices[0]}.wav)",
        )
    for path in found.values():
        rate, _, samples = read_header(path)
        if abs(samples / rate - duration_s) > config.length_tolerance_s:
            raise ReportError(
                f"{path} is {samples / rate:.2f} s long, the stems {duration_s:.2f} s",
                "cut it to the recording that was separated",
            )
    return {voice: found[voice] for voice in voices if voice in found}
