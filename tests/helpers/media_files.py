"""Recordings in every container and codec that PyAV's own FFmpeg can encode."""

from pathlib import Path
from typing import NamedTuple

import av
import numpy as np


class Kind(NamedTuple):
    """A kind of file; a name beside it tells several of one suffix apart."""

    suffix: str
    codec: str
    rate: int = 44_100
    channels: int = 2
    more: int = 0
    """Samples that FFmpeg reads more than were written: padding of which the file does not tell."""
    lossless: bool = False
    lag: int = 0
    """Samples that come before the sound: delay of the encoder of which the file does not tell."""
    format: str | None = None


KINDS = {
    "m4a": Kind("m4a", "aac"),
    "m4a 48k mono": Kind("m4a", "aac", 48_000, 1),
    "mp4": Kind("mp4", "aac"),
    "mov": Kind("mov", "aac"),
    "alac": Kind("m4a", "alac", lossless=True),
    "mp4 flac": Kind("mp4", "flac", lossless=True),
    "mp4 opus": Kind("mp4", "libopus", 48_000),
    "mp4 mp3": Kind("mp4", "libmp3lame", more=-22),
    "mov pcm": Kind("mov", "pcm_s24le", lossless=True),
    "3gp": Kind("3gp", "libopencore_amrnb", 8_000, 1),
    "amr": Kind("amr", "libopencore_amrnb", 8_000, 1, more=204),
    "aac": Kind("aac", "aac", more=1879, lag=1024, format="adts"),
    "wma": Kind("wma", "wmav2", more=-1193, lag=-2048, format="asf"),
    "wma 1": Kind("wma", "wmav1", more=-1193, lag=-2048, format="asf"),
    "webm": Kind("webm", "libopus", 48_000),
    "mka aac": Kind("mka", "aac", more=855),
    "mkv ac3": Kind("mkv", "ac3", more=599),
    "mka flac": Kind("mka", "flac", lossless=True),
    "ts": Kind("ts", "aac", more=1879, lag=1024, format="mpegts"),
    "flv": Kind("flv", "aac", more=1879, lag=1024),
    "avi": Kind("avi", "libmp3lame", more=2007, lag=1105),
    "mpg": Kind("mpg", "mp2", more=855, lag=481),
    "ac3": Kind("ac3", "ac3", more=855, lag=256),
    "eac3": Kind("eac3", "eac3", more=855, lag=256),
    "wavpack": Kind("wv", "wavpack", lossless=True),
    "tta": Kind("tta", "tta", lossless=True),
    "aiff": Kind("aiff", "pcm_s16be", lossless=True),
    "caf alac": Kind("caf", "alac", lossless=True),
}


def song(seconds=1.2345, channels=2, rate=44_100):
    """Glides that correlate with themselves at one lag alone, float32 ``[C, n]``, ±0.5."""
    t = np.arange(round(seconds * rate)) / rate
    waves = [np.sin(2 * np.pi * (300 + 150 * k + 200 * t) * t) for k in range(1, channels + 1)]
    return (0.5 * np.stack(waves)).astype(np.float32)


def encode(path: Path, sounds, kind: Kind, video=False, languages=(), default=0) -> Path:
    """Writes tracks, each ``[C, n]``, and perhaps a film beside them."""
    with av.open(str(path), "w", format=kind.format) as out:
        film = out.add_stream("mpeg4", rate=25) if video else None
        if film is not None:
            film.width = film.height = 64
            film.pix_fmt = "yuv420p"
        tracks = [_add_track(out, kind, sound) for sound in sounds]
        for number, (track, language) in enumerate(zip(tracks, languages, strict=False)):
            track.metadata["language"] = language
            if number == default:
                track.disposition = av.stream.Disposition.default
            else:
                track.disposition = av.stream.Disposition(0)
        if film is not None:
            for _ in range(40):
                out.mux(film.encode(av.VideoFrame(64, 64, "yuv420p")))
            out.mux(film.encode(None))
        for track, sound in zip(tracks, sounds, strict=True):
            _mux(out, track, sound, kind.rate)
    return path


def write_track(out, codec, sound, rate, step):
    """Adds a track ``[C, n]`` to an open container, in frames of that many samples."""
    layout = "mono" if len(sound) == 1 else "stereo"
    _mux(out, out.add_stream(codec, rate=rate, layout=layout), sound, rate, step)


def _mux(out, track, sound, rate, step=1000):
    for at in range(0, sound.shape[1], step):
        out.mux(track.encode(_frame(sound[:, at : at + step], at, rate)))
    out.mux(track.encode(None))


def _add_track(out, kind, sound):
    track = out.add_stream(kind.codec, rate=kind.rate)
    track.layout = "mono" if len(sound) == 1 else "stereo"
    if kind.codec in ("tta", "wavpack"):  # whose first formats are of 8 bits
        track.format = {"tta": "s16", "wavpack": "s16p"}[kind.codec]
    if kind.codec in ("aac", "wmav1", "wmav2", "ac3", "eac3"):
        track.bit_rate = 128_000
    return track


def _frame(sound, at, rate):
    layout = "mono" if len(sound) == 1 else "stereo"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=layout)
    frame.sample_rate, frame.pts = rate, at
    return frame


def make(folder: Path, name: str, seconds=1.2345) -> Path:
    """A recording of a kind in a folder."""
    kind = KINDS[name]
    path = folder / f"{name.replace(' ', '_')}.{kind.suffix}"
    return encode(path, [song(seconds, kind.channels, kind.rate)], kind)
