"""What a sound file says about itself: title, piece, part; read and written.

libsndfile writes these texts into WAV, FLAC and OGG. Into MP3 it writes UTF-8 and calls it Latin-1,
so that other programs show accents as two letters; there the tag is made here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import soundfile

from umss_jax.audio.media_container import media_tags
from umss_jax.audio.sndfile import system_name
from umss_jax.words import readable

LONGEST = 200
"""Characters of a text; what is longer is cut."""
_FRAMES = {"title": "TIT2", "album": "TALB", "artist": "TPE1", "tracknumber": "TRCK"}
_LANGUAGE = b"und"


def read_tags(path: Path) -> dict[str, str]:
    """Title, album and artist of a recording, as far as it says them; empty of any other file."""
    try:
        with soundfile.SoundFile(system_name(path)) as file:
            found = file.copy_metadata()
    except (soundfile.SoundFileError, OSError, ValueError, TypeError):  # .raw: TypeError
        found = {}
    found = found or media_tags(path)
    texts = {name: tag_text(found.get(name, "")) for name in ("title", "album", "artist")}
    return {name: text for name, text in texts.items() if text}


def tag_text(text: str) -> str:
    """A text that any player shows on one line."""
    return readable(text).strip()[:LONGEST].rstrip()


def set_tags(file: soundfile.SoundFile, tags: Mapping[str, str]) -> None:
    """Gives a file that is open for writing its texts, before any sample; not for MP3."""
    for name, text in tags.items():
        setattr(file, name, text)


def id3(tags: Mapping[str, str]) -> bytes:
    """The tag at the beginning of an MP3, in version 2.3, with texts in UTF-16.

    Layout by M. Nilsson, *ID3 tag version 2.3.0* (1999), sections 3.1, 4.2 and 4.11.
    """
    if not tags:
        return b""
    frames = b""
    for name, text in tags.items():
        coded = text.encode("utf-16")  # with its byte order mark
        if name == "comment":
            frames += _frame("COMM", b"\x01" + _LANGUAGE + "".encode("utf-16") + b"\0\0" + coded)
        else:
            frames += _frame(_FRAMES[name], b"\x01" + coded)
    size = len(frames)
    seven_bits = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + seven_bits + frames


def _frame(name: str, content: bytes) -> bytes:
    return name.encode("ascii") + struct.pack(">IH", len(content), 0) + content
