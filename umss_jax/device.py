"""Choice of the device that JAX computes on."""

from __future__ import annotations

import enum

from umss_jax.errors import DeviceError


class Device(enum.StrEnum):
    """What can be asked for; *auto* is what JAX itself prefers."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"
    TPU = "tpu"


def select_device(name: str = "auto") -> str:
    """Makes JAX compute on one kind of device from here on.

    Args:
        name: ``auto``, ``cpu``, ``gpu`` or ``tpu``.

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
