"""Items made ahead on a thread of their own: batches while the devices compute."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetched(Generic[T]):
    """Items made one after another on a thread of their own, a few ahead.

    Args:
        items: runs on that thread; what it raises is raised again where items are taken.
        ahead: maximum number of items waiting.
    """

    def __init__(self, items: Iterator[T], ahead: int = 2) -> None:
        self._queue: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(ahead)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(items,), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        item, error = self._queue.get()
        if error is not None:
            self._queue.put((None, error))  # so that it ends again when asked again
            raise error
        return item  # type: ignore[return-value]

    def close(self) -> None:
        """Ends the thread, whatever is left."""
        self._stopped.set()
        self._thread.join()

    def _fill(self, items: Iterator[T]) -> None:
        try:
            for item in items:
                if not self._put((item, None)):
                    return
            self._put((None, StopIteration()))
        except BaseException as error:
            self._put((None, error))

    def _put(self, entry: tuple[T | None, BaseException | None]) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False
