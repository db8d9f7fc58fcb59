"""A file as FFmpeg (PyAV) opens it: its container, the track to take, and why there is none."""

from __future__ import annotations

import contextlib
import functools
import importlib
from pathlib import Path
from typing import Any

from umss_jax.audio.containers import container_is_cut, is_protected, lacks_index
from umss_jax.audio.decoder import EXPORT_AGAIN
from umss_jax.errors import AudioError
from umss_jax.words import counted

_FORMATS = (
    *("mov", "matroska", "asf", "aac", "aiff", "caf", "amr", "amrnb", "amrwb", "ogg", "wav", "w64"),
    *("mp3", "flac", "avi", "flv", "mpegts", "mpeg", "ac3", "eac3", "dts", "dtshd", "truehd"),
    *("ape", "wv", "tta", "tak", "mpc", "mpc8", "rm", "loas", "oma", "qcp", "dsf", "iff", "dss"),
)
"""Demultiplexers of FFmpeg that hold recordings. No others: playlists and scripts would have it
open other files, or addresses in the network."""
_PROTECTED_TAGS = ("drms", "drmi", "enca", "encv", "aavd")
EXPORT = "open it in the program that made it, and export WAV, FLAC or M4A"


def has_pyav() -> bool:
    """Whether FFmpeg is there."""
    try:
        pyav()
    except ImportError:
        return False
    return True


@functools.cache
def pyav() -> Any:
    """The package PyAV, whose parts are as untyped as this."""
    av = importlib.import_module("av")
    importlib.import_module("av.error")
    return av


def open_container(path: Path, file: Any) -> Any:
    """The container in an opened file: of a name FFmpeg would take parts for a protocol.

    Raises:
        AudioError: it is no audio, cut or protected.
    """
    av = pyav()
    options = {"format_whitelist": ",".join(_FORMATS), "protocol_whitelist": "file"}
    try:
        return av.open(file, options=options, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError, EOFError) as error:
        what = f"{path} is not audio that can be decoded"
        raise unreadable(path, what, EXPORT) from error


def media_tags(path: Path) -> dict[str, str]:
    """What a file says about itself, by names such as ``title``; empty where FFmpeg finds none."""
    if not has_pyav():
        return {}
    try:
        with path.open("rb") as file, contextlib.closing(open_container(path, file)) as container:
            return {name.lower(): text for name, text in container.metadata.items()}
    except (AudioError, OSError):
        return {}


def choose_track(path: Path, container: Any) -> tuple[Any, str]:
    """The sound track to take, and a line that says so where there are several.

    Raises:
        AudioError: there is none, or none that can be decoded.
    """
    tracks = list(container.streams.audio)
    if not tracks:
        raise unreadable(path, f"{path} has no sound", "choose the file that has the sound")
    known = [track for track in tracks if track.codec_context is not None]
    if is_protected(path) or any(_tag(track) in _PROTECTED_TAGS for track in known):
        raise _protected(path)
    if not known:
        what = f"the sound of {path} is in a format that is not known"
        raise unreadable(path, what, EXPORT)
    default = pyav().stream.Disposition.default
    chosen = next((track for track in known if default & track.disposition), known[0])
    chosen.codec_context.thread_count = 1
    for stream in container.streams:
        if stream is not chosen:
            stream.discard = pyav().stream.Discard.all
    if len(tracks) == 1:
        return chosen, ""
    number = tracks.index(chosen) + 1
    note = f"{path} has {counted(len(tracks), 'sound track')}: {_named(number, chosen)} is taken"
    return chosen, f"{note} (export another one by itself to have that)"


def _tag(track: Any) -> str:
    try:
        return str(track.codec_context.codec_tag)
    except UnicodeDecodeError:
        return ""


def _named(number: int, track: Any) -> str:
    language = track.metadata.get("language", "und")
    about = [] if language == "und" else [language]
    if track.metadata.get("title"):
        about.append(track.metadata["title"])
    return f"number {number}" + (f" ({', '.join(about)})" if about else "")


def _protected(path: Path) -> AudioError:
    return AudioError(
        f"{path} is protected against copying (DRM)",
        "take a copy without protection, such as from a CD or a recording of your own",
    )


def unreadable(path: Path, what: str, remedy: str) -> AudioError:
    """Why there is nothing to read: damage and locks look like other things to FFmpeg."""
    if is_protected(path):
        return _protected(path)
    if lacks_index(path):
        return AudioError(
            f"{path} is an MP4 without its index: it is truncated, or its recording never ended",
            "copy it again, or repair it by the program that recorded it",
        )
    if container_is_cut(path):
        return AudioError(f"{path} is truncated", EXPORT_AGAIN)
    return AudioError(what, remedy)
