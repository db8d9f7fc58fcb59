"""What the files of a separation say about themselves in a player: the piece, the part, and how."""

from __future__ import annotations

from umss_jax.audio.recording import Recording
from umss_jax.audio.tags import read_tags, tag_text
from umss_jax.separation.outputs import IN_FRONT, MISSING, track_name
from umss_jax.separation.request import Request


def sound_tags(recording: Recording, request: Request) -> dict[str, dict[str, str]]:
    """Title, piece (as the album), part, number and description of every sound that is written.

    The piece is called as the recording's own title says, or else as its results.
    """
    own = read_tags(recording.path)
    piece = tag_text(own.get("title", "") or recording.track or track_name(recording.path))
    tags = {}
    for number, name in enumerate((*request.sounds, *request.mixes), 1):
        part = name.replace(IN_FRONT, " predominant").replace(MISSING, " missing")
        about = {"title": f"{piece} - {part}", "album": piece, "tracknumber": str(number)}
        if "artist" in own:
            about["artist"] = own["artist"]
        tags[name] = about | {"comment": _comment(recording, request, name)}
    return tags


def _comment(recording: Recording, request: Request, name: str) -> str:
    said = ["separated by umss-jax"]
    if request.practice is not None and name in request.mixes:
        if name.endswith(IN_FRONT):
            said.append(f"others at {request.practice.others_db:g} dB")
        if request.practice.tempo != 1:
            said.append(f"tempo {request.practice.tempo:g}")
    if recording.is_part:
        start_s = recording.first / recording.sample_rate_hz
        said.append(f"from {start_s:.2f} s to {start_s + recording.duration_s:.2f} s")
    return ", ".join(said)
