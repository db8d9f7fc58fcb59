"""Runs the page until it is interrupted."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from umss_jax.app.config import AppConfig
from umss_jax.app.guard import TOKEN, is_loopback
from umss_jax.app.job_queue import JobQueue
from umss_jax.app.server import make_app
from umss_jax.app.shelf import Shelf
from umss_jax.app.worker import ModelChoice, ProcessWorker, Worker
from umss_jax.errors import UsageError
from umss_jax.interruption import check

_LOOK_AGAIN_S = 0.2
_LONGEST_END_S = 5.0


def run_app(
    folder: Path,
    config: AppConfig = AppConfig(),
    choice: ModelChoice = ModelChoice(),
    tell: Callable[[str], None] = lambda address: None,
    opens_browser: bool = False,
    worker: Worker | None = None,
) -> None:
    """Serves the page until a signal comes; results are kept in the folder.

    ``tell`` is given the page's address once it answers. Another ``worker`` than the usual one
    does the jobs if given.

    Raises:
        OutputError: the folder cannot be written.
        UsageError: another process uses it, or the port, or the address is none of this computer.
        KeyboardInterrupt: a signal came.
    """
    shelf = Shelf(folder)
    with shelf.locked(), _listening(config) as listener:
        if worker is None:
            worker = ProcessWorker(choice)
            worker.warm()
        queue = JobQueue(shelf, worker, config.page_s)
        token = "" if is_loopback(config.host) else secrets.token_urlsafe(24)
        try:
            _serve(shelf, queue, config, token, listener, tell, opens_browser)
        finally:
            queue.close()
            worker.stop()


def _serve(
    shelf: Shelf,
    queue: JobQueue,
    config: AppConfig,
    token: str,
    listener: socket.socket,
    tell: Callable[[str], None],
    opens_browser: bool,
) -> None:
    import uvicorn

    closing = threading.Event()
    app = make_app(shelf, queue, config, token, closing)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )
    # In a thread of its own: the main one waits for signals, which are the command's.
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="server", daemon=True
    )
    queue.start()
    thread.start()
    told = False
    try:
        while thread.is_alive():
            if server.started and not told:
                told = True
                address = address_of(config.host, listener.getsockname()[1], token)
                tell(address)
                if opens_browser and has_browser():
                    webbrowser.open(address)
            check()
            thread.join(_LOOK_AGAIN_S)
    finally:
        closing.set()
        server.should_exit = True
        thread.join(_LONGEST_END_S)


def address_of(host: str, port: int, token: str) -> str:
    """What to open in a browser; of all addresses of this computer, its own name."""
    if host in ("0.0.0.0", "::", ""):
        host = socket.gethostname()
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?{TOKEN}={token}" if token else "")


def has_browser() -> bool:
    """Whether a window can open: else Python would start a browser inside of the terminal."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def _listening(config: AppConfig) -> socket.socket:
    """A socket that listens where the settings say.

    Raises:
        UsageError: it cannot.
    """
    try:
        family = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((config.host, config.port), family=family)
    except OSError as error:
        raise UsageError(
            f"nothing can listen at {config.host}, port {config.port} ({error.strerror or error})",
            "choose another --port (0: any that is free) or --host",
        ) from error
