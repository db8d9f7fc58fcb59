"""How far the work is, on stderr: a bar on a terminal, elsewhere a line now and then.

While a program is compiled, which can take a minute and a half, that is said.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from umss_jax.device import compiling_s

_DELAY_S = 2.0  # what is over sooner shows nothing
_LINE_S = 30.0  # between lines where no bar can be drawn
_TICK_S = 0.25
COMPILING = "compiling (first run on this machine)"
_COUNTS = "{n:.0f}/{total:.0f} {unit} [{elapsed}<{remaining}{postfix}]"
_FORM = "{desc} {percentage:3.0f}%|{bar}| " + _COUNTS


class Progress:
    """One stage of the work; a thread of its own shows it, whatever the others wait for."""

    def __init__(self, label: str, total: float, unit: str, done: float, stays: bool) -> None:
        self._label, self._total, self._done, self._note = label, total, done, ""
        self._first: tuple[float, float] | None = None  # time and amount of the first advance
        self._closed = threading.Event()
        self._bar: Any = None
        if _is_terminal():
            from tqdm import tqdm

            self._bar = tqdm(
                desc=label, total=total, initial=done, unit=unit, leave=stays, bar_format=_FORM,
                delay=_DELAY_S,
            )  # fmt: skip
        show = self._draw if self._bar is not None else self._tell
        self._thread = threading.Thread(target=show, name="progress", daemon=True)
        self._thread.start()

    def advance(self, amount: float = 1) -> None:
        """So much more is done."""
        self._done += amount
        if self._first is None:
            self._first = time.monotonic(), self._done
        if self._bar is not None:
            self._bar.update(amount)

    def note(self, text: str) -> None:
        """What else is worth knowing, such as losses."""
        self._note = text

    def close(self) -> None:
        """The stage is over."""
        self._closed.set()
        self._thread.join()
        if self._bar is not None:
            self._bar.set_postfix_str(self._note, refresh=False)
            self._bar.close()

    def _draw(self) -> None:
        if self._closed.wait(_DELAY_S):
            return
        while True:
            words = COMPILING if compiling_s() > _DELAY_S else self._note
            with contextlib.suppress(OSError, ValueError):
                self._bar.set_postfix_str(words, refresh=False)
                self._bar.refresh()
            self._bar.last_print_t = time.time()  # or closing would not wipe it
            if self._closed.wait(2 * _TICK_S):
                return

    def _tell(self) -> None:
        spoken_s, has_said = time.monotonic(), False
        while not self._closed.wait(_TICK_S):
            if not has_said and compiling_s() > _DELAY_S:
                has_said = True
                _say(f"{self._label}: {COMPILING}")
            elif time.monotonic() - spoken_s >= _LINE_S:
                spoken_s = time.monotonic()
                _say(f"{self._label}: {self._words()}")

    def _words(self) -> str:
        """Percentage, seconds left as far as they can be told, and the note."""
        words = f"{100 * self._done / self._total:.0f} %" if self._total else f"{self._done:.0f}"
        if self._first is not None and self._done > self._first[1]:
            passed_s, amount = time.monotonic() - self._first[0], self._done - self._first[1]
            words += f", {max(0.0, self._total - self._done) * passed_s / amount:.0f} s left"
        return f"{words}; {self._note}" if self._note else words


class _Silence(Progress):
    """Shows nothing."""

    def __init__(self) -> None:
        pass

    def advance(self, amount: float = 1) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@contextlib.contextmanager
def progress_bar(
    label: str, total: float, unit: str, quiet: bool, done: float = 0, stays: bool = False
) -> Iterator[Progress]:
    """Shows one stage, of which ``done`` of ``total`` was done before; a bar ``stays`` if told."""
    shown = _Silence() if quiet else Progress(label, total, unit, done, stays)
    try:
        yield shown
    finally:
        shown.close()


@contextlib.contextmanager
def progress_bars(
    first_stage: str, total: float, label: str, unit: str, quiet: bool
) -> Iterator[Callable[[str, float], None]]:
    """Shows stages one after the other; is told the stage and what was done of it."""
    with contextlib.ExitStack() as stack:
        current = first_stage
        shown = stack.enter_context(progress_bar(f"{label}: {current}", total, unit, quiet))

        def advance(stage: str, amount: float) -> None:
            nonlocal shown, current
            if stage != current:
                stack.close()
                current = stage
                shown = stack.enter_context(progress_bar(f"{label}: {stage}", total, unit, quiet))
            shown.advance(amount)

        yield advance


def _is_terminal() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # it is closed
        return False


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(f"umss-jax: {text}", file=sys.stderr, flush=True)
