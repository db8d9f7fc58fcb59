"""The page on this computer with a worker that needs no model."""

import contextlib
import threading
import time

import numpy as np
import soundfile
import uvicorn
from stub_engine import StubEngine

from umss_jax.app.config import AppConfig
from umss_jax.app.job_queue import JobQueue
from umss_jax.app.server import make_app
from umss_jax.app.shelf import Shelf
from umss_jax.app.work import do, told_of
from umss_jax.app.worker import Refused, StoppedError
from umss_jax.errors import UmssError


class StubWorker:
    """Does all of a job but the networks; where it is `held` it waits in the middle of it."""

    def __init__(self):
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.stopped = threading.Event()
        self.asked = []
        self.held_stage = ""

    def hold(self, stage="separating"):
        self.held_stage = stage
        self.goes_on.clear()

    def run(self, task, tell):
        self.asked.append(task.recording.name)
        self.stopped.clear()

        def told(how_far):
            tell(how_far)
            if how_far.stage == self.held_stage and how_far.done_s > 0:
                while not self.goes_on.wait(0.01):
                    if self.stopped.is_set():
                        raise StoppedError

        try:
            return do(task, StubEngine, told)
        except UmssError as error:
            return Refused(told_of(error, task))

    def stop(self):
        self.stopped.set()


def write_song(path, seconds=8.0, rate=8_000):
    """A noise."""
    noise = np.random.default_rng(3).normal(0, 0.1, round(seconds * rate)).clip(-0.8, 0.8)
    soundfile.write(path, noise, rate, subtype="PCM_16")
    return path


def wait_until(condition, seconds=60.0):
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it took too long"
        time.sleep(0.02)


@contextlib.contextmanager
def served(folder, worker, config=AppConfig(port=0, spare_megabytes=0.0)):
    """Address of the page, as a browser asks for it, and its queue."""
    shelf = Shelf(folder)
    with shelf.locked():
        queue = JobQueue(shelf, worker, config.page_s)
        closing = threading.Event()
        app = make_app(shelf, queue, config, closing=closing)
        server = uvicorn.Server(
            uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none")
        )
        thread = threading.Thread(target=server.run)
        queue.start()
        thread.start()
        try:
            wait_until(lambda: server.started)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}/", queue
        finally:
            closing.set()
            server.should_exit = True
            thread.join()
            queue.close()
