"""Is a compressed file whole? What the decoder does not tell of Ogg and MP3 files.

libsndfile plays what is there of a cut Ogg file, and believes the length in the header of an MP3,
however much audio follows it; so both are looked through here, page by page and frame by frame.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, NamedTuple

_LARGEST_OGG_PAGE = 27 + 255 + 255 * 255
# Kilobits per second of layer III by the header's index, MPEG 1 and MPEG 2/2.5 (ISO 11172-3).
_KBPS = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


class Mp3Length(NamedTuple):
    """What the frames of an MP3 say."""

    samples: int
    """Samples per channel in complete frames, encoder delay included."""
    stated_frames: int | None
    """Frames that the file says it has; None where it does not say."""
    frames: int
    """Complete frames of audio."""


def ogg_is_cut(path: Path) -> bool:
    """Whether an Ogg file ends in the middle of a page or without its last one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 2 * _LARGEST_OGG_PAGE))
        tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0 or len(tail) < at + 27:
        return True
    segments = tail[at + 27 : at + 27 + tail[at + 26]]
    is_complete = len(segments) == tail[at + 26]
    is_complete &= len(tail) >= at + 27 + len(segments) + sum(segments)
    is_last = bool(tail[at + 5] & 4)
    return not (is_complete and is_last)


def mp3_length(path: Path) -> Mp3Length | None:
    """Counts the frames of an MP3 file (not empty) without decoding them.

    Returns:
        None where the file is not plain layer III, of which nothing is claimed.
    """
    at, samples, frames, stated, first = 0, 0, 0, None, True
    size = path.stat().st_size
    # Not mapped into memory: where a mapped file is cut by another program, this one is ended.
    with path.open("rb") as file:

        def bytes_at(at: int, count: int) -> bytes:
            file.seek(at)
            return file.read(count)

        at = _after_tags(file)
        while (header := _frame(bytes_at(at, 4))) is not None:
            length, frame_samples = header
            if at + length > size:
                break
            found = _stated_frames(bytes_at(at, min(length, 256))) if first else None
            if found is not None:
                stated = found
            else:
                samples += frame_samples
                frames += 1
            first = False
            at += length
    return None if first else Mp3Length(samples, stated, frames)


def begins_with_mpeg_frame(path: Path) -> bool:
    """Whether a file begins, after its tags, as MPEG audio of layer I, II or III does."""
    with path.open("rb") as file:
        file.seek(_after_tags(file))
        head = file.read(2)
    return len(head) == 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 6 != 0


def _after_tags(file: IO[bytes]) -> int:
    """Where the sound of a file with ID3 tags begins."""
    at = 0
    while True:
        file.seek(at)
        tag = file.read(10)
        if tag[:3] != b"ID3" or len(tag) < 10:
            return at
        at += 10 + sum((tag[6 + k] & 0x7F) << (21 - 7 * k) for k in range(4))


def _frame(header: bytes) -> tuple[int, int] | None:
    """Bytes and samples per channel of the frame that begins with these four bytes."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None  # no layer III frame
    version = header[1] >> 3 & 3
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return None
    kbps = _KBPS[0 if version == 3 else 1][bitrate]
    samples = 1152 if version == 3 else 576
    length = samples * kbps * 125 // _RATES_HZ[version][rate] + (header[2] >> 1 & 1)
    return length, samples


def _stated_frames(frame: bytes) -> int | None:
    """Number of frames in a Xing, Info or VBRI header, which takes the place of the first frame."""
    for tag in (b"Xing", b"Info"):
        at = frame.find(tag, 0, 48)
        if at >= 0 and len(frame) >= at + 12 and frame[at + 7] & 1:
            return int.from_bytes(frame[at + 8 : at + 12], "big")
    at = frame.find(b"VBRI", 0, 48)
    return int.from_bytes(frame[at + 14 : at + 18], "big") if at >= 0 else None
