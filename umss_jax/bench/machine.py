"""What figures are measured on: the machine, the commit, the memory in use."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import jax

from umss_jax.environment import cores, processor


def machine_name() -> str:
    """Processor and number of cores, or the accelerator, fit for a file name."""
    device = jax.devices()[0]
    kind = device.device_kind if device.platform != "cpu" else processor()
    words = "".join(c if c.isalnum() else " " for c in kind).split()
    count = jax.local_device_count() if device.platform != "cpu" else cores()
    return "-".join([*words, f"x{count}"])


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
