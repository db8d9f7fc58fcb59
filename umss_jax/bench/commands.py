"""Commands that are run to be measured: waited for, bounded, and ended with all that they began."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from umss_jax.errors import UmssError
from umss_jax.interruption import check

_MISSING, _NOT_EXECUTABLE = 127, 126
"""Exit codes by which a shell says that there is no such command, or that it cannot be run."""


class Finished(NamedTuple):
    """A command that ended well."""

    printed: str
    """On its standard output."""
    wall_s: float
    """From its start to its end."""


def run_command(
    command: str | Sequence[str],
    name: str,
    timeout_s: float | None = None,
    variables: Mapping[str, str] | None = None,
) -> Finished:
    """Runs a command to its end: words, or a line for the shell.

    Args:
        command: what to run.
        name: what messages call it.
        timeout_s: after so long it is ended.
        variables: added to the environment.

    Raises:
        UmssError: it is not there, failed, was ended, or took too long; one line that says why.
        Interrupted: a signal came, and the command was ended.
    """
    started = time.perf_counter()
    try:
        process = subprocess.Popen(
            command,
            shell=isinstance(command, str),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **(variables or {})},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UmssError(f"{name} cannot be run ({reason})", "check the command") from error
    with process:
        try:
            printed, messages = _waited_for(process, started, timeout_s, name)
            wall_s = time.perf_counter() - started
        finally:
            _end(process)
    if process.returncode:
        last = (messages.strip().splitlines() or ["no message"])[-1].strip()
        raise UmssError(f"{name} {_why(process.returncode)}: {last}", "run it by itself")
    return Finished(printed, wall_s)


def _waited_for(
    process: subprocess.Popen[str], started: float, timeout_s: float | None, name: str
) -> tuple[str, str]:
    """What a process printed on stdout and stderr until its end."""
    while True:
        check()
        try:
            return process.communicate(timeout=0.05)
        except subprocess.TimeoutExpired:
            if timeout_s is not None and time.perf_counter() - started > timeout_s:
                raise UmssError(
                    f"{name} was ended after {timeout_s:g} s", "give it longer (--timeout)"
                ) from None


def _end(process: subprocess.Popen[str]) -> None:
    """Ends what a process began as well: what holds its pipes would be waited for."""
    if os.name == "posix":
        # Also after its end: what it left in the background would disturb the next measurement.
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.poll() is None:
        process.kill()


def _why(code: int) -> str:
    # A shell says by 128 and its number which signal ended what it ran.
    number = -code if code < 0 else code - 128
    if code == _MISSING:
        return "is missing"
    if code == _NOT_EXECUTABLE:
        return "cannot be run"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(number).name}"
    return f"failed with exit code {code}"
