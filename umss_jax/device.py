"""How JAX is started: its device, settings, and compiled programs that are kept."""

from __future__ import annotations

import ctypes
import enum
import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from umss_jax.environment import CHOOSING, check_flags, explained, named_variables
from umss_jax.errors import DeviceError

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Device(enum.StrEnum):
    """What can be asked for; *auto* is what JAX itself prefers."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"
    TPU = "tpu"


_OUR_SETTINGS = {
    "jax_enable_x64": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_transfer_guard": "allow",
    "jax_disable_jit": False,  # loops over frames and samples would take hours
}
"""What the computations of this package rely on, whatever the environment or the caller chose."""


def as_device(name: str) -> Device:
    """The device of a name, in capitals or not, as JAX calls it or not.

    Raises:
        DeviceError: nothing is called so.
    """
    kind, _, number = str(name).strip().lower().partition(":")
    kind = {"cuda": "gpu", "rocm": "gpu"}.get(kind, kind)
    if kind not in list(Device):
        raise DeviceError(f"no device is called {name!r}", f"choose from {', '.join(Device)}")
    if number:
        chosen = f" with CUDA_VISIBLE_DEVICES={number} in the environment" if kind == "gpu" else ""
        raise DeviceError(f"{name!r} names one of several devices", f"use -d {kind}{chosen}")
    return Device(kind)


def select_device(name: str = "auto") -> str:
    """Makes JAX compute on one kind of :class:`Device` from here on.

    Returns:
        Platform and kind of the device in use, for the manifest.

    Raises:
        DeviceError: There is no such name, or no such device on this machine.
    """
    kind = as_device(name)
    check_flags()
    import jax

    try:
        if kind == Device.AUTO:
            device = jax.local_devices()[0]
        else:
            device = _first_device(kind)
            jax.config.update("jax_default_device", device)
    except (RuntimeError, AssertionError) as error:
        raise _no_device(kind) from error
    return f"{device.platform} ({device.device_kind})"


def _first_device(kind: Device) -> Any:
    import jax

    try:
        return jax.local_devices(backend=kind)[0]
    except (RuntimeError, AssertionError):
        if kind != Device.CPU:
            raise
        # JAX_PLATFORMS names what is not there; the CPU always is, and it is what was asked for.
        jax.config.update("jax_platforms", "cpu")
        return jax.local_devices(backend=kind)[0]


def _no_device(kind: Device) -> DeviceError:
    """Names the device that there is not, and the variables that may be why."""
    named = named_variables(CHOOSING)
    if kind == Device.AUTO:
        what = f"JAX finds no device by {named}" if named else "JAX finds no device"
        return DeviceError(what, "unset it, or use -d cpu" if named else "use -d cpu")
    why = f" ({named} may hide it)" if named else ""
    return DeviceError(
        f"no {kind} is available to JAX on this machine{why}",
        "unset it or install what JAX needs"
        if kind == Device.CPU
        else "use -d auto or -d cpu, or install JAX for that device",
    )


def start_jax() -> None:
    """Imports JAX for a command, with the settings that this package relies on.

    Raises:
        DeviceError: the environment holds what JAX does not take; it would end with a traceback,
            or by a crash.
    """
    check_flags()
    try:
        import jax
    except Exception as error:
        raise explained(error) or error from error
    for name, value in _OUR_SETTINGS.items():
        jax.config.update(name, value)


def own_settings(function: _Function) -> _Function:
    """Runs a function with the settings that this package relies on, and leaves the caller's."""

    @functools.wraps(function)
    def run(*arguments: Any, **keywords: Any) -> Any:
        import jax

        with (
            jax.enable_x64(False),
            jax.numpy_dtype_promotion("standard"),
            jax.transfer_guard("allow"),
            jax.disable_jit(False),
        ):
            return function(*arguments, **keywords)

    return cast("_Function", run)


def is_writable(folder: Path) -> bool:
    """Whether programs can be kept in a folder; it is made where it is missing."""
    try:
        # Programs are run as they are read, so nobody else may put any there.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


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

    watch_compilation()
    settings: Any = jax.config  # whose attributes type checkers do not see
    chosen = settings.jax_compilation_cache_dir
    if chosen:
        if "://" in chosen or is_writable(Path(chosen)):
            return Path(chosen)
        # JAX would warn at every program.
        jax.config.update("jax_enable_compilation_cache", False)
        text = "JAX_COMPILATION_CACHE_DIR=%s cannot be written: compiled programs are not kept"
        logging.getLogger("umss_jax").warning(text, chosen)
        return None
    folder = home() / "compiled"
    if not is_writable(folder):
        return None
    drop_damaged(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return folder


_compiling: dict[int, float] = {}
"""Threads that compile, and since when."""
_is_watched = False


def watch_compilation() -> None:
    """From here on :func:`compiling_s` knows of the programs that JAX compiles."""
    global _is_watched
    if _is_watched:
        return
    _is_watched = True
    import jax.monitoring

    def hear(event: str, duration_secs: float, **about: str | int) -> None:
        # What JAX says when a stage of a compilation is over: lowered, then compiled.
        if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":
            _compiling[threading.get_ident()] = time.monotonic()
        elif event == "/jax/core/compile/backend_compile_duration":
            _compiling.pop(threading.get_ident(), None)

    jax.monitoring.register_event_duration_secs_listener(hear)


def compiling_s() -> float:
    """For how many seconds a program has been compiled by now; 0 where none is."""
    since = list(_compiling.values())
    return time.monotonic() - min(since) if since else 0.0


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
