"""Choice of the device that JAX computes on, and what is kept of programs compiled for it."""

from __future__ import annotations

import ctypes
import enum
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from umss_jax.errors import DeviceError


class Device(enum.StrEnum):
    """What can be asked for; *auto* is what JAX itself prefers."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"
    TPU = "tpu"


def select_device(name: str = "auto") -> str:
    """Makes JAX compute on one kind of :class:`Device` from here on.

    Returns:
        Platform and kind of the device in use, for the manifest.

    Raises:
        DeviceError: There is no such name, or no such device on this machine.
    """
    import jax

    if name not in list(Device):
        raise DeviceError(f"no device is called {name!r}", f"choose from {', '.join(Device)}")
    try:
        if name == Device.AUTO:
            device = jax.devices()[0]
        else:
            device = jax.devices(name)[0]
            jax.config.update("jax_default_device", device)
    except RuntimeError as error:
        raise DeviceError(
            f"no {name} is available to JAX on this machine",
            "use -d auto or -d cpu, or install JAX for that device",
        ) from error
    return f"{device.platform} ({device.device_kind})"


def enable_compilation_cache() -> Path | None:
    """Keeps compiled programs in ``$UMSS_JAX_HOME/compiled`` from the next compilation on.

    To be called before JAX compiles anything: it decides once whether it uses a cache. A cache
    that was chosen already (``JAX_COMPILATION_CACHE_DIR``) stays. JAX tells programs of other
    versions, devices and shapes apart; only what is damaged is ever deleted, and the folder may be
    at any time.

    Returns:
        The folder in use; None where none can be written, which costs time and nothing else.
    """
    import jax

    from umss_jax.compiled_programs import drop_damaged
    from umss_jax.files import home

    settings: Any = jax.config  # whose attributes type checkers do not see
    if settings.jax_compilation_cache_dir:
        return Path(settings.jax_compilation_cache_dir)
    folder = home() / "compiled"
    try:
        # Programs are run as they are read, so nobody else may put any there.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    drop_damaged(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return folder


def compile_ahead(jitted: Any, *arguments: Any) -> Callable[..., Any]:
    """Compiles a jitted function and gives the memory that this took back to the system.

    XLA on a CPU frees what it compiles with, up to 0.7 GB for a training step, but the C library
    keeps it for later use, in the arenas of threads that will not need it again. The program is for
    arguments of these shapes and no others.
    """
    compiled: Callable[..., Any] = jitted.lower(*arguments).compile()
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if give_back is not None:  # of glibc
        give_back(0)
    return compiled


def compile_at_first_call(jitted: Any) -> Callable[..., Any]:
    """As :func:`compile_ahead`, for arguments of the shapes of the first call."""
    program: Callable[..., Any] | None = None

    def call(*arguments: Any) -> Any:
        nonlocal program
        program = program or compile_ahead(jitted, *arguments)
        return program(*arguments)

    return call
