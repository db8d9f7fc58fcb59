"""What the page asks for, and what it gets: the list of jobs, news of them, uploads and files."""

from __future__ import annotations

import asyncio
import functools
import importlib.resources
import json
import mimetypes
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

import umss_jax
from umss_jax.app.archive import zipped
from umss_jax.app.config import AppConfig
from umss_jax.app.guard import Guard
from umss_jax.app.job_queue import JobQueue
from umss_jax.app.jobs import Job
from umss_jax.app.shelf import Shelf
from umss_jax.app.uploads import UploadError, drain, read_headers, receive
from umss_jax.app.work import ARCHIVE
from umss_jax.scores.reading import SUFFIXES
from umss_jax.separation.outputs import track_name

_TICK_S = 1.0
"""Between news of a job that runs, whose time goes on within a stage."""
_SILENCE_S = 15.0
"""After which open pages are sent a word, so that a lost connection is noticed."""
_PAGE_POLICY = "frame-ancestors 'none'"
"""Of listening pages, which say themselves what they may load: nothing."""
_TYPES = {"/app.js": "text/javascript", "/app.css": "text/css"}


def make_app(
    shelf: Shelf,
    queue: JobQueue,
    config: AppConfig,
    token: str = "",
    closing: threading.Event | None = None,
) -> Guard:
    """The page as an ASGI application; where a token is given nothing goes without it.

    ``closing`` ends the streams of news, which would last for ever.
    """
    service = _Service(shelf, queue, config, closing or threading.Event())
    routes = [
        Route("/", service.page),
        Route("/app.js", service.asset),
        Route("/app.css", service.asset),
        Route("/state", service.state),
        Route("/news", service.news),
        Route("/jobs", service.upload, methods=["POST"]),
        Route("/jobs/{id}", service.remove, methods=["DELETE"]),
        Route("/jobs/{id}/cancel", service.cancel, methods=["POST"]),
        Route("/jobs/{id}/retry", service.retry, methods=["POST"]),
        Route(f"/jobs/{{id}}/{ARCHIVE}", service.archive),
        Route("/jobs/{id}/{name}", service.file),
    ]
    return Guard(Starlette(routes=routes), config.host, token)


class _Service:
    def __init__(
        self, shelf: Shelf, queue: JobQueue, config: AppConfig, closing: threading.Event
    ) -> None:
        self._shelf, self._queue, self._config, self._closing = shelf, queue, config, closing

    async def page(self, request: Request) -> Response:
        """The page of all recordings."""
        return Response(_rendered(self._config.upload_megabytes), media_type="text/html")

    async def asset(self, request: Request) -> Response:
        """Its program, or its style."""
        path = request.url.path
        return Response(_asset(path), media_type=_TYPES[path])

    async def state(self, request: Request) -> Response:
        """All jobs as JSON."""
        return JSONResponse(self._queue.snapshot())

    async def news(self, request: Request) -> Response:
        """All jobs, and again whenever something has changed (server-sent events)."""
        return StreamingResponse(self._news(), media_type="text/event-stream")

    async def _news(self) -> AsyncIterator[str]:
        known, sent_s = -1, 0.0
        while not self._closing.is_set():
            version, now_s = self._queue.version, time.monotonic()
            if version != known or (self._queue.is_busy and now_s - sent_s > _TICK_S):
                known, sent_s = version, now_s
                yield f"data: {json.dumps(self._queue.snapshot())}\n\n"
            elif now_s - sent_s > _SILENCE_S:
                sent_s = now_s
                yield ": still there\n\n"
            await asyncio.sleep(self._config.beat_s)

    async def upload(self, request: Request) -> Response:
        """Takes a recording, and perhaps its score, and puts it into the queue."""
        body = request.stream()
        try:
            free = shutil.disk_usage(self._shelf.folder).free
            given = read_headers(request.headers, self._config, free)
            job = await receive(body, given, self._shelf, self._config)
        except UploadError as error:
            await drain(body, self._config.drain_s)
            return JSONResponse({"error": str(error)}, error.status)
        except ClientDisconnect:
            return Response(status_code=499)
        self._queue.add(job)
        return JSONResponse({"id": job.id}, 201)

    async def cancel(self, request: Request) -> Response:
        """Ends a job that waits or runs."""
        return await self._ask(self._queue.cancel, request)

    async def retry(self, request: Request) -> Response:
        """Tries a job again."""
        return await self._ask(self._queue.retry, request)

    async def remove(self, request: Request) -> Response:
        """Removes a job that has ended, with its files."""
        return await self._ask(self._queue.remove, request)

    async def _ask(self, change: Callable[[str], bool], request: Request) -> Response:
        name = request.path_params["id"]
        if self._queue.get(name) is None:
            return _missing()
        if await asyncio.to_thread(change, name):
            return Response(status_code=204)
        return JSONResponse({"error": "the recording has moved on: look again"}, 409)

    async def file(self, request: Request) -> Response:
        """A page or a file of a job: only what it has listed, whatever is asked for."""
        job, name = self._queue.get(request.path_params["id"]), request.path_params["name"]
        if job is None or job.outcome is None:
            return _missing()
        path = self._place(job) / name
        is_listening = name in {page.file for page in job.outcome.pages}
        if not (is_listening or name in job.outcome.files) or not path.is_file():
            return _missing()
        if is_listening:
            headers = {"content-security-policy": _PAGE_POLICY}
            return FileResponse(path, media_type="text/html", headers=headers)
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        called = f"{track_name(Path(job.recording))} {name}"
        return FileResponse(path, media_type=kind, filename=called)

    async def archive(self, request: Request) -> Response:
        """All files of a job."""
        job = self._queue.get(request.path_params["id"])
        if job is None or job.outcome is None:
            return _missing()
        track = track_name(Path(job.recording))
        files = [self._place(job) / name for name in job.outcome.files]
        called = FileResponse(files[0], filename=f"{track}.zip").headers["content-disposition"]
        present = [path for path in files if path.is_file()]
        return StreamingResponse(
            zipped(present, track),
            media_type="application/zip",
            headers={"content-disposition": called},
        )

    def _place(self, job: Job) -> Path:
        assert job.outcome is not None
        return self._shelf.folder_of(job) / job.outcome.place


def _missing() -> Response:
    return PlainTextResponse("There is nothing of this name here.\n", 404)


@functools.cache
def _asset(path: str) -> str:
    """The style, with that of the listening page; or the program, with its switch of colours."""
    ours = importlib.resources.files("umss_jax.app") / "templates"
    theirs = importlib.resources.files("umss_jax.report") / "templates"
    parts = {
        "/app.css": (theirs / "report.css", ours / "app.css"),
        "/app.js": (theirs / "theme.js", ours / "app.js"),
    }
    return "\n".join(part.read_text(encoding="utf-8") for part in parts[path])


@functools.cache
def _rendered(most_megabytes: float) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("umss_jax.app"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("app.html").render(
        version=umss_jax.__version__,
        most_megabytes=most_megabytes,
        score_suffixes=SUFFIXES,
    )
