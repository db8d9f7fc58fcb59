"""Programs lowered and compiled for devices that are not at hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax

from umss_jax.accelerators import tracing_for
from umss_jax.errors import UsageError

_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84929347584 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 } registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 }
runtime_version { major: 13 minor: 0 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
_V5E = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
"""What libtpu would ask of the machines around it, where no TPU is."""

Options = dict[str, Any] | None
"""Of the compiler."""


def _h100() -> tuple[Any, Options]:
    """Of ``jax-cuda13-plugin[with-cuda]``; ``JAX_PLATFORMS`` must not exclude CUDA.

    Which implementations cuBLAS and cuDNN offer is not tried, so that convolutions and products may
    be compiled otherwise than on the card itself.
    """
    from jax.experimental import topologies

    described = topologies.get_topology_desc(
        platform="cuda", topology_name="", target_config=_H100, topology="1x1x1"
    )
    # Triton's products fail for some shapes where no card is there to choose among them.
    return described.devices[0], {"xla_gpu_enable_triton_gemm": False}


def _v5e() -> tuple[Any, Options]:
    """One of the four chips of a host, of ``libtpu``."""
    from jax.experimental import topologies

    for name, value in _V5E.items():
        os.environ.setdefault(name, value)
    described = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2")
    return described.devices[0], None


_DEVICES: dict[str, tuple[str, Callable[[], tuple[Any, Options]]]] = {
    "h100": ("cuda", _h100),
    "v5e": ("tpu", _v5e),
}


def lower_for(platform: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """A function that was never traced before, as JAX lowers it for ``cuda`` or ``tpu``."""
    with tracing_for(accelerator=platform != "cpu"), _said_to_be_there(platform):
        return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,))


def _said_to_be_there(platform: str) -> AbstractContextManager[Any]:
    """Where Pallas by Triton finds what it asks for: since JAX 0.11, a GPU to lower for."""
    if platform != "cuda" or jax.__version_info__ < (0, 11):
        return nullcontext()
    sharding: Any = jax.sharding
    device = sharding.AbstractDevice("NVIDIA H100 80GB HBM3", 132, "cuda")
    automatic = (sharding.AxisType.Auto,)
    mesh = sharding.AbstractMesh((1,), ("device",), automatic, abstract_device=device)
    found: AbstractContextManager[Any] = sharding.use_abstract_mesh(mesh)
    return found


def compile_for(device: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """A function compiled for an ``h100`` (NVIDIA) or a ``v5e`` (TPU) that is not there.

    Needs JAX's plugin of that kind of device, of JAX's version, and no driver.

    Raises:
        UsageError: neither is meant.
    """
    if device not in _DEVICES:
        raise UsageError(
            f"nothing is compiled for {device!r}", f"choose from {', '.join(_DEVICES)}"
        )
    platform, describe = _DEVICES[device]
    chosen, options = describe()
    sharding = jax.sharding.SingleDeviceSharding(chosen)
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), arguments
    )
    return lower_for(platform, function, shapes).compile(options)
