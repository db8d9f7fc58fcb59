"""The continuity rule in processes of its own, since it is Python's own loops and one core's work.

They are started as ``python -m umss_jax.pitch.rule_workers``. :mod:`multiprocessing` would run the
caller's script again in each of them, where that is not guarded. A worker ends when its standard
input does, so that none is left behind, however the caller ends.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from umss_jax.pitch.continuity import heuristic_f0_synth

_MODULE = "umss_jax.pitch.rule_workers"
_MOST = 16


def worker_count(examples: int) -> int:
    """How many processes are worth it for so many examples at once; 0: the caller's alone."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = min(examples, (cores or 1) // 2, _MOST)
    return count if count > 1 else 0


class RuleWorkers:
    """So many processes, started when they are first needed."""

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count, "continuity rule")
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes] | None] = queue.SimpleQueue()
        for _ in range(count):
            self._idle.put(None)
        self._started: list[subprocess.Popen[bytes]] = []
        weakref.finalize(self, _end, self._started, self._threads)

    def tracks(self, saliences: Sequence[np.ndarray], *details: Any) -> list[np.ndarray]:
        """:func:`~umss_jax.pitch.continuity.heuristic_f0_synth` of each, with these details."""
        return list(self._threads.map(lambda one: self._track(one, details), saliences))

    def _track(self, salience: np.ndarray, details: tuple[Any, ...]) -> np.ndarray:
        worker = self._idle.get()
        try:
            worker = worker or self._start()
            assert worker.stdin is not None
            assert worker.stdout is not None
            pickle.dump((salience, *details), worker.stdin)
            worker.stdin.flush()
            result: np.ndarray = pickle.load(worker.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            worker = None  # killed, or never begun: the work is done here
            result = heuristic_f0_synth(salience, *details)
        finally:
            self._idle.put(worker)
        return result

    def _start(self) -> subprocess.Popen[bytes]:
        worker = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
            },
            start_new_session=True,  # Ctrl-C is the caller's
        )
        self._started.append(worker)
        return worker


def _end(workers: list[subprocess.Popen[bytes]], threads: ThreadPoolExecutor) -> None:
    threads.shutdown(wait=True)
    for worker in workers:
        for stream in (worker.stdin, worker.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        worker.wait()


def _serve() -> None:
    """Answers until the standard input ends."""
    while True:
        try:
            given = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(heuristic_f0_synth(*given), sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
