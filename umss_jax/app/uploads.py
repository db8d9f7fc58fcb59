"""What a browser sends goes to the disk as it comes: never in memory, and whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from umss_jax.app.config import AppConfig
from umss_jax.app.jobs import Job, kept_name
from umss_jax.app.shelf import GIVEN, Shelf
from umss_jax.aside import hidden_folder
from umss_jax.errors import UmssError

RECORDING, SCORE = "umss-recording", "umss-score"
SCORE_BYTES, PRACTICE = "umss-score-bytes", "umss-practice"
"""Headers of an upload: names (percent-encoded), the length of the score, which comes first, and
whether there shall be practice files."""
_MEGA = 1_000_000


class UploadError(UmssError):
    """An upload is refused."""

    def __init__(self, status: int, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.status = status


class Given(NamedTuple):
    """What the headers of an upload say."""

    recording: str
    score: str
    score_bytes: int
    practice: bool
    total_bytes: int | None


def read_headers(headers: Mapping[str, str], config: AppConfig, free_bytes: int) -> Given:
    """Checks an upload before its body is read.

    Raises:
        UploadError: it cannot be taken.
    """
    recording = kept_name(unquote(headers.get(RECORDING, "")), "recording")
    if not headers.get(RECORDING):
        raise UploadError(400, "the upload does not say what the recording is called", "name it")
    score = kept_name(unquote(headers[SCORE]), "score") if headers.get(SCORE) else ""
    score_bytes = _number(headers.get(SCORE_BYTES, "0")) or 0
    if bool(score) != bool(score_bytes):
        raise UploadError(400, f"the score of {recording} is empty", "choose another")
    total = _number(headers["content-length"]) if "content-length" in headers else None
    if total is not None:
        if total > config.upload_megabytes * _MEGA:
            raise too_large(recording, config)
        if total <= score_bytes:
            raise UploadError(400, f"{recording} is empty", "choose another recording")
        if total > free_bytes - config.spare_megabytes * _MEGA:
            raise no_room(recording)
    same = score.casefold() == recording.casefold()
    practice = headers.get(PRACTICE, "1") != "0"
    return Given(recording, f"score of {score}" if same else score, score_bytes, practice, total)


def too_large(name: str, config: AppConfig) -> UploadError:
    """The one line of an upload above the limit."""
    limit = f"{config.upload_megabytes:.15g} MB"
    return UploadError(
        413,
        f"{name} is larger than {limit}, the most that is taken",
        "cut it, or start umss-jax app with a higher --max-upload-mb",
    )


def no_room(name: str) -> UploadError:
    """The one line of an upload that the disk has no room for."""
    return UploadError(507, f"there is no room on the disk for {name}", "free some space")


async def receive(body: AsyncIterator[bytes], given: Given, shelf: Shelf, config: AppConfig) -> Job:
    """Writes an upload into a folder of its own, which appears when all is there.

    Raises:
        UploadError: it is too large, it ends too early, or the disk is full; nothing is left of it.
    """
    try:
        with hidden_folder(shelf.folder) as made:
            place = made / "job" / GIVEN
            place.mkdir(parents=True)
            await _write(body, given, place, config)
            job = Job(shelf.new_id(), given.recording, time.time(), given.score, given.practice)
            (made / "job").rename(shelf.folder_of(job))
            return job
    except OSError as error:
        raise no_room(given.recording) from error


async def _write(body: AsyncIterator[bytes], given: Given, place: Path, config: AppConfig) -> None:
    most, come = config.upload_megabytes * _MEGA, 0
    with contextlib.ExitStack() as stack:
        score = None
        if given.score:
            score = stack.enter_context((place / given.score).open("xb"))
        recording = stack.enter_context((place / given.recording).open("xb"))
        async for data in body:
            here = max(0, min(len(data), given.score_bytes - come))
            come += len(data)
            if come > most:
                raise too_large(given.recording, config)
            if score is not None and here:
                await asyncio.to_thread(score.write, data[:here])
            await asyncio.to_thread(recording.write, data[here:])
            if shutil.disk_usage(place).free < config.spare_megabytes * _MEGA:
                raise no_room(given.recording)
    if come <= given.score_bytes:
        raise UploadError(400, f"{given.recording} is empty", "choose another recording")
    if given.total_bytes is not None and come != given.total_bytes:
        raise UploadError(400, f"{given.recording} did not come whole", "send it again")


async def drain(body: AsyncIterator[bytes], seconds: float) -> None:
    """Reads on what was refused, for a while: a browser shows no answer before it has sent all."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(seconds):
            async for _ in body:
                pass


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
