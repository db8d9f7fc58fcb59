"""For which kind of device a program is traced, and which kernels of our own it may use there."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import jax

KERNELS = "UMSS_JAX_KERNELS"
"""The variable that is ``off`` where XLA shall make all kernels."""

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])
_LEAST_CAPABILITY = 8.0
"""Of a GPU, for kernels by Triton: Ampere."""
_LEAST_OF_MOSAIC = 9.0
"""For kernels by Mosaic GPU: Hopper."""
_told: ContextVar[bool | None] = ContextVar("accelerator", default=None)


def for_accelerator() -> bool:
    """Whether what is traced now is meant for a GPU or a TPU rather than for the CPU.

    That is the kind of JAX's default device, unless :func:`tracing_for` says otherwise. It decides
    between forms that run everywhere and are fast on one kind; what runs on one kind alone is
    chosen as it is lowered, by ``jax.lax.platform_dependent``.
    """
    told = _told.get()
    if told is not None:
        return told
    return preferred_device().platform != "cpu"


def preferred_device() -> jax.Device:
    """Where JAX computes what is said to be computed nowhere else; of this process."""
    settings: Any = jax.config  # whose attributes type checkers do not see
    chosen = settings.jax_default_device
    if isinstance(chosen, jax.Device):
        return chosen
    device: jax.Device = jax.local_devices(backend=chosen)[0]
    return device


@contextmanager
def tracing_for(accelerator: bool) -> Iterator[None]:
    """Has :func:`for_accelerator` say so within, to compile for a device that is not there.

    JAX does not know of it: only functions that were never traced before are traced anew.
    """
    token = _told.set(accelerator)
    try:
        yield
    finally:
        _told.reset(token)


def on_gpu(kernel: _Kernel, warps: int = 4) -> dict[str, Any]:
    """A Pallas kernel that takes ``parameters``, for ``jax.lax.platform_dependent``.

    Empty where it is not wanted, where this JAX does not lower by Triton, or where a GPU at hand is
    older than Ampere, which XLA's Triton does not know.
    """
    if os.environ.get(KERNELS) == "off":
        return {}
    try:
        from jax.experimental.pallas import triton

        if _oldest_gpu() < _LEAST_CAPABILITY:
            return {}
        parameters = triton.CompilerParams(num_warps=warps, num_stages=1)
    except (ImportError, AttributeError, TypeError, ValueError):
        return {}
    return {"cuda": functools.partial(kernel, parameters=parameters)}


def on_hopper(kernel: _Kernel) -> dict[str, Any]:
    """A Pallas kernel by Mosaic GPU likewise, for where :func:`on_gpu` has none.

    Empty where it is not wanted, where this JAX has no Mosaic GPU, or where a GPU at hand is older
    than Hopper.
    """
    if os.environ.get(KERNELS) == "off" or _oldest_gpu() < _LEAST_OF_MOSAIC:
        return {}
    try:
        from jax.experimental.pallas import mosaic_gpu
    except ImportError:
        return {}
    return {"cuda": kernel} if hasattr(mosaic_gpu, "kernel") else {}


def _oldest_gpu() -> float:
    """The least capability of the GPUs at hand; infinite where there are none."""
    gpus = (one for one in jax.local_devices() if one.platform == "gpu")
    return min((float(one.compute_capability) for one in gpus), default=math.inf)


def on_tpu(kernel: _Kernel) -> dict[str, Any]:
    """A Pallas kernel likewise; empty where it is not wanted."""
    return {} if os.environ.get(KERNELS) == "off" else {"tpu": kernel}
