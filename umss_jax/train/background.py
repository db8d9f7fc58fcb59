"""Writing while the devices train: pieces of work on a thread of its own, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any


class Background:
    """Does one piece of work at a time beside the caller; used in a ``with``.

    What a piece raises is raised by the next call, at the latest at the end. Where the caller
    fails first, its own error stays. ``beside`` False: everything is done at once.
    """

    def __init__(self, beside: bool = True) -> None:
        self._pool = ThreadPoolExecutor(1, "writing") if beside else None
        self._last: Future[Any] | None = None

    def __enter__(self) -> Background:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)  # what has begun is written to its end
        if error is None:
            self.wait()

    def do(self, work: Callable[..., object], *arguments: Any) -> None:
        """Begins a piece of work as soon as the one before is done."""
        self.wait()
        if self._pool is None:
            work(*arguments)
        else:
            self._last = self._pool.submit(work, *arguments)

    def wait(self) -> None:
        """Until nothing is being done."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def check(self) -> None:
        """Raises what the last piece raised, if that is known by now."""
        if self._last is not None and self._last.done():
            self.wait()
