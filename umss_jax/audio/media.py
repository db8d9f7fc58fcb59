"""What libsndfile cannot read: M4A, MP4, AAC, WMA, WebM, AMR, films … by FFmpeg (PyAV).

The sound is what FFmpeg makes of it: without the delay of the encoder where the file tells of it,
and of MP4 and its kin without the padding at the end, which FFmpeg leaves to its callers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from umss_jax.audio.containers import container_is_cut
from umss_jax.audio.decoder import (
    EXPORT_AGAIN,
    DamagedError,
    check_form,
    conversion,
    truncated,
)
from umss_jax.audio.media_container import (
    EXPORT,
    choose_track,
    has_pyav,
    open_container,
    pyav,
    unreadable,
)
from umss_jax.errors import AudioError
from umss_jax.interruption import check
from umss_jax.words import counted

_JOINED_MIDWAY = ("mpegts", "mpeg", "aac", "loas", "ac3", "eac3", "dts", "dtshd", "mp3", "truehd")
"""Streams without a header: what is cut out of one may start in the middle of a packet."""
_STATES_LENGTH = ("mov", "asf", "caf", "ape", "wv", "tta", "tak", "mpc", "mpc8", "dsf", "aiff")
"""Formats whose headers know the length of a track; of the others FFmpeg guesses it."""
_HEADED = (*_STATES_LENGTH, "matroska", "flv", "avi", "wav", "ogg")
_SHORTER_S = 0.25
"""Sound may end this much before the length that the header states."""
_PADDING = 16_384
"""Samples at the end that may be padding: two of the longest packets."""
_SCALES = {"u8": 2.0**-7, "s16": 2.0**-15, "s32": 2.0**-31, "s64": 2.0**-63}
_Frame = np.ndarray


class MediaDecoder:
    """A :class:`umss_jax.audio.decoder.Decoder` by FFmpeg."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self._container: Any = None
        self._end: int | None = None
        try:
            self._container = open_container(path, self._file)
            self._format: str = self._container.format.name
            self._stream, self.note = choose_track(path, self._container)
            self._frames = self._decoded()
            first = next(self._frames, None)
            if first is None:
                raise self._nothing()
            self._first: _Frame = first
            self.channels = len(first)
            check_form(path, self.sample_rate_hz, self.channels)
        except DamagedError as error:
            self.close()
            what = f"{path} is truncated or damaged from its beginning"
            raise unreadable(path, what, EXPORT_AGAIN) from error
        except BaseException:
            self.close()
            raise

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]:
        """float32 ``[channels, block_samples]`` to the end, the last one shorter."""
        held: deque[_Frame] = deque([self._first])
        length = self._first.shape[1]

        def taken(samples: int) -> np.ndarray:
            pieces = []
            while samples > 0:
                piece = held.popleft()
                if piece.shape[1] > samples:
                    held.appendleft(piece[:, samples:])
                    piece = piece[:, :samples]
                pieces.append(piece)
                samples -= piece.shape[1]
            return np.concatenate(pieces, axis=1)

        given = 0
        damage: DamagedError | AudioError | None = None
        try:
            for frame in self._frames:
                held.append(frame)
                length += frame.shape[1]
                while length >= block_samples + _PADDING:
                    length -= block_samples
                    given += block_samples
                    yield taken(block_samples)
        except (DamagedError, AudioError) as error:  # of what comes after that which is held
            damage = error
        if damage is None:
            length -= self._padding(given + length, length)
        while length > 0:
            count = min(block_samples, length)
            length -= count
            yield taken(count)
        if damage is not None:
            raise damage

    def check_whole(self, samples: int) -> None:
        """Refuses what ends before its header says."""
        stated_s = self._stated_s()
        is_short = stated_s is not None and samples / self.sample_rate_hz < stated_s - _SHORTER_S
        if is_short or container_is_cut(self._path):
            raise truncated(self._path, samples, self.sample_rate_hz)
        if samples == 0:
            raise AudioError(f"{self._path} holds no samples", EXPORT_AGAIN)

    def close(self) -> None:
        """Closes the file."""
        if self._container is not None:
            self._container.close()
        self._file.close()

    def _nothing(self) -> AudioError:
        """Why not one sample came."""
        path = self._path
        if self._stated_s():
            raise DamagedError
        if self._format.startswith(_HEADED):
            return unreadable(path, f"{path} holds no samples", EXPORT_AGAIN)
        return unreadable(path, f"{path} is not audio that can be decoded", EXPORT)

    def _decoded(self) -> Iterator[_Frame]:
        """Frames as float32 ``[C, n]``, all of one rate and number of channels."""
        av = pyav()
        form = None
        packets = self._container.demux(self._stream)
        while True:
            check()
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                if packet.is_corrupt and form is not None:
                    raise DamagedError
                frames = packet.decode()
            except (EOFError, av.error.EOFError):
                return
            except av.error.FFmpegError as error:
                if form is None and self._format in _JOINED_MIDWAY and packet is not None:
                    continue
                raise DamagedError from error
            if packet.pts is not None and packet.duration:
                self._end = packet.pts + packet.duration
            for frame in frames:
                if frame.samples == 0:
                    continue
                this = (frame.sample_rate, frame.layout.nb_channels)
                if form is None:
                    form, self.sample_rate_hz = this, frame.sample_rate
                if this != form:
                    raise _changes(self._path, form, this)
                yield _as_float(frame)

    def _padding(self, samples: int, held: int) -> int:
        """Samples at the end that are none of the recording: the rest of the last packet.

        MP4 says when its last packet ends, and how long the track is played, which may be rounded
        to milliseconds.
        """
        stream = self._stream
        if not self._format.startswith("mov") or stream.time_base is None or self._end is None:
            return 0
        start = max(0, stream.start_time or 0)
        ends = [self._end - start]
        rounded = math.ceil(0.001 / stream.time_base)
        if stream.duration and stream.duration < ends[0] - rounded:
            ends.append(stream.duration)
        last = math.ceil(min(ends) * stream.time_base * self.sample_rate_hz)
        too_many = samples - last
        return too_many if 0 < too_many < min(_PADDING, held) else 0

    def _stated_s(self) -> float | None:
        """Seconds that the header says the track has; None where it does not."""
        stream = self._stream
        if self._format.split(",")[0] in _STATES_LENGTH and stream.duration:
            return float(stream.duration * stream.time_base)
        is_alone = len(self._container.streams) == 1
        if self._format.startswith(("matroska", "flv", "asf")) and is_alone:
            duration = self._container.duration
            return duration / 1e6 if duration else None
        return None


def open_media(path: Path) -> MediaDecoder:
    """Opens a recording that libsndfile cannot read.

    Raises:
        AudioError: FFmpeg cannot either, or is not installed.
    """
    if not has_pyav():
        raise AudioError(
            f"{path} cannot be decoded without PyAV, which is not installed or broken",
            f"pip install av, or convert it to WAV ({conversion(path)})",
        )
    return MediaDecoder(path)


def _changes(path: Path, form: tuple[int, int], other: tuple[int, int]) -> AudioError:
    one, two = (f"{rate} Hz with {counted(count, 'channel')}" for rate, count in (form, other))
    return AudioError(
        f"{path} changes from {one} to {two} half-way",
        f"cut it there, or convert it to WAV ({conversion(path)})",
    )


def _as_float(frame: Any) -> _Frame:
    """A frame of any sample format, float32 ``[C, n]`` with full scale 1."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    kind = frame.format.name.removesuffix("p")
    if kind not in _SCALES:
        return np.asarray(values, np.float32)
    if kind == "u8":
        values = values.astype(np.int16) - 128
    return (values * np.float64(_SCALES[kind])).astype(np.float32)
