"""The voices of an ABC tune, told apart, since `music21` reads a tune of one voice."""

from __future__ import annotations

import re

_FIELD = re.compile(r"^([A-Za-z]):\s*(.*)$")
_INLINE = re.compile(r"^\[V:\s*(\S+?)\s*\]\s*(.*)$")
TEMPO = re.compile(r"\[?Q:\s*(\d+)/(\d+)\s*=\s*(\d+)\]?")
"""``Q:1/4=90``: unit of a beat, and beats a minute."""


def split_voices(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Fields of the header, and the music of every voice, of the first tune of a file."""
    header: dict[str, str] = {}
    voices: dict[str, str] = {}
    current, is_header = "", True
    for raw in text.splitlines():
        line = raw.split("%")[0].strip()
        field, inline = _FIELD.match(line), _INLINE.match(line)
        if field and field[1] == "X" and "X" in header:
            break
        if is_header and field:
            key, value = field.groups()
            if key == "C" and value.lower().startswith("copyright"):
                header["copyright"] = value
            elif key == "V" and value.split():
                voices.setdefault(value.split()[0], "")
            else:
                header.setdefault(key, value)
            is_header = key != "K"
        elif inline:
            current = inline[1]
            voices[current] = f"{voices.get(current, '')}{_plain(inline[2])}\n"
        elif field and field[1] == "V" and field[2].split():
            current = field[2].split()[0]
        elif line and not field and current and not is_header:
            voices[current] = f"{voices.get(current, '')}{_plain(line)}\n"
    return header, {name: body for name, body in voices.items() if body.strip()}


def voice_source(header: dict[str, str], body: str) -> str:
    """An ABC tune of one voice of a file."""
    top = "\n".join(f"{key}: {header[key]}" for key in ("X", "T", "M", "L") if key in header)
    return f"{top}\nK: {header.get('K', 'C')}\n{body}\n"


def _plain(music: str) -> str:
    """Without decorations, annotations and tempo marks."""
    music = re.sub(r"![^!]*!|\+[^+]*\+|\"[^\"]*\"", "", music)
    return re.sub(r"\[[QIr]:[^\]]*\]", "", music).replace("\\", "")
