"""What figures are measured on: the machine, the commit, the memory in use."""

from __future__ import annotations

import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from umss_jax.environment import cores, processor, vector_instructions
from umss_jax.words import counted


def machine_name() -> str:
    """Processor and number of cores, or the accelerator, fit for a file name."""
    device = jax.devices()[0]
    kind = device.device_kind if device.platform != "cpu" else processor()
    words = "".join(c if c.isalnum() else " " for c in kind).split()
    count = jax.local_device_count() if device.platform != "cpu" else cores()
    return "-".join([*words, f"x{count}"])


def device_label(count: int) -> str:
    """The devices that a figure was measured on: ``gpu: NVIDIA H100 × 4``, ``cpu: … (2 cores)``."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        label = f"cpu: {processor()} ({counted(cores(), 'core')})"
    else:
        label = f"{device.platform}: {device.device_kind}"
    return f"{label} × {count}" if count > 1 else label


def described() -> dict[str, Any]:
    """Versions and processor, for every row: what a figure cannot be read without."""
    return {
        "jax": jax.__version__,
        "jaxlib": metadata.version("jaxlib"),
        "processor": processor(),
        "instruction_sets": list(vector_instructions()),
    }


def commit() -> str:
    """Commit of the checkout that this package runs from, ``-dirty`` where it was changed since.

    Empty where it is no checkout.
    """
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far; on an accelerator, its allocator's peak."""
    stats = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return int(stats["peak_bytes_in_use"])
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss: on Linux a new program inherits the peak of the one that started it.
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
