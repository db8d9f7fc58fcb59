"""What was asked for, and what became of it: a record per recording, kept as JSON."""

from __future__ import annotations

import enum
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from umss_jax.separation.outputs import plain_name
from umss_jax.words import readable

_LONGEST_NAME_BYTES = 120
"""Of a file as it is kept: names of results are longer, and the shortest limit in use is 143."""
_LONGEST_SUFFIX = 12


class State(enum.StrEnum):
    """Of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The program ended before the job did."""


ENDED = (State.FAILED, State.CANCELLED, State.INTERRUPTED)
"""May be tried again."""


class Page(NamedTuple):
    """A page to listen to."""

    file: str
    label: str
    """Which part of the recording it holds; empty: all."""


class Outcome(NamedTuple):
    """What a job has made."""

    place: str
    """Folder of the files, from that of the job."""
    files: tuple[str, ...]
    pages: tuple[Page, ...]
    notes: tuple[str, ...] = ()
    """Lines that the owner should read."""


class Job(NamedTuple):
    """A recording and what is to be done with it."""

    id: str
    """Name of its folder."""
    recording: str
    """Name of the file as it is kept, and nothing else of a path."""
    added_s: float
    """Seconds since 1970."""
    score: str = ""
    practice: bool = True
    """Whether practice files are made."""
    state: State = State.WAITING
    error: str = ""
    outcome: Outcome | None = None


def kept_name(name: str, otherwise: str) -> str:
    """A name that a browser sent, as that of a file in a folder of ours on any system.

    Folders in it are dropped, and so is what a system or a terminal would obey; what is too long
    is cut before the suffix.
    """
    last = re.split(r"[/\\]", readable(name))[-1]
    plain = plain_name(last.replace("\N{REPLACEMENT CHARACTER}", "_"), windows=True).strip()
    stem, suffix = os.path.splitext(plain)
    if len(suffix) > _LONGEST_SUFFIX or not suffix.isascii():
        stem, suffix = plain, ""
    room = _LONGEST_NAME_BYTES - len(suffix)
    stem = stem.encode()[:room].decode(errors="ignore").rstrip(". ")
    return f"{stem or otherwise}{suffix}"


def as_tree(job: Job) -> dict[str, Any]:
    """As JSON holds it."""
    tree = job._asdict()
    if job.outcome is not None:
        pages = [page._asdict() for page in job.outcome.pages]
        tree["outcome"] = {**job.outcome._asdict(), "pages": pages}
    return tree


def from_tree(tree: Any, name: str) -> Job:
    """The job of a folder of this name.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    outcome = tree["outcome"]
    if outcome is not None:
        pages = tuple(Page(str(one["file"]), str(one["label"])) for one in outcome["pages"])
        files = tuple(map(str, outcome["files"]))
        place = str(outcome["place"])
        names = [*files, *(page.file for page in pages)]
        if not all(map(_is_name, names)) or not all(map(_is_name, Path(place).parts)):
            raise ValueError("names of other places")
        outcome = Outcome(place, files, pages, tuple(map(str, outcome["notes"])))
    recording, score = str(tree["recording"]), str(tree["score"])
    if tree["id"] != name or not _is_name(recording) or (score and not _is_name(score)):
        raise ValueError("names of other places")
    return Job(
        name,
        recording,
        float(tree["added_s"]),
        score,
        bool(tree["practice"]),
        State(tree["state"]),
        str(tree["error"]),
        outcome,
    )


def _is_name(text: str) -> bool:
    """Whether a text names something in a folder and nothing outside of it."""
    return text not in ("", ".", "..") and not set("/\\\0") & set(text)
