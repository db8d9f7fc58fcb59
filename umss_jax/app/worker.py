"""Jobs are done by a process of their own: it keeps the model, and can be stopped at any moment.

What stops it, such as a lack of memory, leaves the page and its other results alone.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, NamedTuple, Protocol

from umss_jax.app.jobs import Outcome
from umss_jax.app.stages import Told
from umss_jax.app.work import Task, Tell, do, told_of
from umss_jax.config import Assigner, Chain, VoicesConfig
from umss_jax.errors import UmssError
from umss_jax.weights.config import DEFAULT_MODEL

if TYPE_CHECKING:
    from umss_jax.inference import ModelEngine

_LONGEST_END_S = 5.0


class Refused(NamedTuple):
    """A job that could not be done: one line."""

    line: str


class StoppedError(Exception):
    """The worker was stopped, or has died, before its job was done."""


class Worker(Protocol):
    """Does one job at a time."""

    def run(self, task: Task, tell: Tell) -> Outcome | Refused:
        """Does a job; raises :class:`StoppedError` where it was stopped meanwhile."""

    def stop(self) -> None:
        """Stops at once, from any thread; the next job may begin all the same."""


class ModelChoice(NamedTuple):
    """Which model does the work, and where."""

    name: str = DEFAULT_MODEL
    assigner: str = Assigner.AUTO
    chain: str = Chain.IMPROVED
    device: str = "auto"
    voices: VoicesConfig | None = None
    """None: those that the weights were trained with."""


class ProcessWorker:
    """Does jobs in a process that is started with the first one, or by :meth:`warm`."""

    def __init__(self, choice: ModelChoice = ModelChoice()) -> None:
        self._choice = choice
        self._lock = threading.Lock()
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None

    def warm(self) -> None:
        """Starts the process, which loads the model, so that the first job need not wait."""
        self._started()

    def _started(self) -> Connection:
        with self._lock:
            if self._connection is None or self._process is None or not self._process.is_alive():
                context = multiprocessing.get_context("spawn")
                ours, theirs = context.Pipe()
                self._process = context.Process(
                    target=serve, args=(theirs, self._choice), name="umss-jax worker", daemon=True
                )
                self._process.start()
                theirs.close()
                self._connection = ours
            return self._connection

    def run(self, task: Task, tell: Tell) -> Outcome | Refused:
        """Does a job; raises :class:`StoppedError` where the process was stopped, or has died."""
        connection = self._started()
        try:
            connection.send(task)
            while True:
                message = connection.recv()
                if not isinstance(message, Told):
                    return message
                tell(message)
        except (EOFError, OSError) as error:
            raise StoppedError from error

    def stop(self) -> None:
        """Ends the process, whatever it does."""
        with self._lock:
            process, connection = self._process, self._connection
            self._process = self._connection = None
        if process is not None:
            process.kill()
            process.join(_LONGEST_END_S)
        if connection is not None:
            connection.close()


def serve(connection: Connection, choice: ModelChoice) -> None:
    """What the process does: loads the model, then job after job, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's is for the parent, which ends us
    engine: list[ModelEngine] = []

    def loaded() -> ModelEngine:
        if not engine:
            engine.append(_load(choice))
        return engine[0]

    with contextlib.suppress(UmssError):  # said when there is a job
        loaded()
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send(_answer(connection.recv(), loaded, connection))
    os._exit(0)


def _answer(
    task: Task, engine: Callable[[], ModelEngine], connection: Connection
) -> Outcome | Refused:
    try:
        return do(task, engine, connection.send)
    except (BrokenPipeError, ConnectionError):
        os._exit(0)  # nobody listens any more
    except Exception as error:
        return Refused(told_of(error, task))


def _load(choice: ModelChoice) -> ModelEngine:
    from umss_jax.device import enable_compilation_cache, start_jax

    start_jax()
    enable_compilation_cache()
    from umss_jax.api import load

    return load(**choice._asdict()).engine
