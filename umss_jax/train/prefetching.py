"""Items made ahead on a thread of their own: batches while the devices compute."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

from umss_jax.interruption import check

_PATIENCE_S = 0.1  # between looks at whether to stop, where a thread waits for the other


class Prefetched:
    """Items made on a thread of their own, two ahead: batches while the devices compute.

    What making them raises is raised again where they are taken.
    """

    def __init__(self, items: Iterator[Any]) -> None:
        self._queue: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(2)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(items,), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        item, error = self._get()
        if error is not None:
            self._queue.put((None, error))  # so that it ends again when asked again
            raise error
        return item

    def _get(self) -> tuple[Any, BaseException | None]:
        while True:
            check()
            try:
                return self._queue.get(timeout=_PATIENCE_S)
            except queue.Empty:
                continue

    def close(self) -> None:
        """Ends the thread, whatever is left."""
        self._stopped.set()
        self._thread.join()

    def _fill(self, items: Iterator[Any]) -> None:
        try:
            for item in items:
                if not self._put((item, None)):
                    return
            self._put((None, StopIteration()))
        except BaseException as error:
            self._put((None, error))

    def _put(self, entry: tuple[Any, BaseException | None]) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(entry, timeout=_PATIENCE_S)
                return True
            except queue.Full:
                continue
        return False
