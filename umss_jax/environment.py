"""The machine, and the environment that JAX reads: what it does not take is named in time."""

from __future__ import annotations

import functools
import os
import platform
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from umss_jax.errors import DeviceError, one_line
from umss_jax.files import is_remembered, remember

CHOOSING = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "JAX_NUM_CPU_DEVICES", "CUDA_VISIBLE_DEVICES")
"""Variables by which JAX chooses its devices."""
_FLAGS = "xla_flags"
"""Under which it is remembered that XLA takes some."""


def named_variables(names: Iterable[str]) -> str:
    """Those of some variables that are set, with their values."""
    return ", ".join(f"{name}={os.environ[name]}" for name in names if os.environ.get(name))


def explained(error: BaseException) -> DeviceError | None:
    """What an error of JAX has to do with its environment; None where nothing.

    JAX reads some hundred variables; what it does not take it names in its error, or it fails where
    it makes devices.
    """
    words = str(error).lower()
    variables = [name for name in os.environ if name.startswith(("JAX_", "XLA_"))]
    named = named_variables(
        name
        for name in variables
        if name.lower() in words
        or (name.count("_") > 1 and name.lower().removeprefix("jax_") in words)
    )
    frames = traceback.extract_tb(error.__traceback__)
    is_start = bool(frames) and Path(frames[-1].filename).name in ("xla_bridge.py", "config.py")
    if not named and is_start and "jax" in Path(frames[-1].filename).parts:
        named = named_variables(CHOOSING)
    if not named:
        return None
    reason = one_line(f"{type(error).__name__}: {error}".strip(": "))
    return DeviceError(f"JAX fails by {named} ({reason[:200]})", "unset it or choose another value")


def check_flags() -> None:
    """Finds out in a process of its own whether XLA takes ``XLA_FLAGS``: otherwise it aborts.

    Flags that were taken once are remembered, by a file below :func:`umss_jax.files.home`.

    Raises:
        DeviceError: it does not.
    """
    if os.environ.get("XLA_FLAGS", "").strip():
        _check_flags(os.environ["XLA_FLAGS"].strip())


@functools.cache
def _check_flags(flags: str) -> None:
    import subprocess
    from importlib import metadata

    known = f"{metadata.version('jaxlib')} {flags}".encode()
    is_file = not flags.startswith("--")  # whose contents may change
    if not sys.executable or (is_remembered(_FLAGS, known) and not is_file):
        return
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    tried = subprocess.run(
        [sys.executable, "-c", "import jax; jax.devices()"],
        env={**kept, "JAX_PLATFORMS": "cpu"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if tried.returncode < 0 or "XLA_FLAGS" in tried.stderr:
        found = re.search(r"\] (.*XLA_FLAGS.*)", tried.stderr)
        reason = f" ({found[1]})" if found else ""
        raise DeviceError(f"XLA does not take XLA_FLAGS={flags}{reason}", "mend or unset it")
    if not is_file:
        remember(_FLAGS, known)


def processor() -> str:
    """Kind of the processor, as the system calls it."""
    return _told_by_linux("model name") or platform.processor() or platform.machine()


def instruction_sets() -> tuple[str, ...]:
    """All that the processor says it can do, sorted; on Linux alone, elsewhere none is known."""
    return tuple(sorted({*_told_by_linux("flags").split(), *_told_by_linux("Features").split()}))


_VECTORS = re.compile(r"avx.*|fma|f16c|sse4_2|amx.*|asimd.*|neon|sve.*|sme.*|bf16|i8mm")


def vector_instructions() -> tuple[str, ...]:
    """Those of :func:`instruction_sets` by which products are computed."""
    return tuple(name for name in instruction_sets() if _VECTORS.fullmatch(name))


@functools.cache
def _told_by_linux(what: str) -> str:
    """What Linux says of the first processor; empty where it says nothing."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == what:
                return value.strip()
    return ""


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
