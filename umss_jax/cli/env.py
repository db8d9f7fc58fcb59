"""``umss-jax env``: what a bug report should say of the machine."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

import umss_jax
from umss_jax.environment import cores, processor
from umss_jax.errors import UmssError, one_line, printable
from umss_jax.files import home

_VARIABLES = re.compile(
    "(UMSS|JAX|XLA|CUDA|NVIDIA|HIP|ROCR|TPU|OMP|OPENBLAS|MKL|TF_CPP)_|LD_LIBRARY_PATH$|TMPDIR$"
)
_SECRET = re.compile("TOKEN|KEY|SECRET|PASSW|CREDENTIAL|AUTH")
_FOR_DEVELOPERS = re.compile("extra == .(test|lint|docs|release)")
_REQUIRED = re.compile(r"^[A-Za-z0-9._-]+")


def env(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Show versions, devices, folders with their sizes, and settings from the environment.

    Made to be pasted into a bug report: the home folder is shown as ~, and of variables that look
    like secrets it is only said that they are set.
    """
    about = environment()
    if as_json:
        typer.echo(json.dumps(about, indent=2))
        return
    for line in _lines(about):
        typer.echo(printable(line))


def environment() -> dict[str, Any]:
    """What is told, as JSON holds it; sizes in bytes."""
    return {
        "umss_jax": umss_jax.__version__,
        "installed_in": _shown(Path(umss_jax.__file__).parent),
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "executable": _shown(Path(sys.executable or "")),
        "system": platform.platform(),
        "processor": processor(),
        "cores": {"usable": cores(), "all": os.cpu_count()},
        "devices": _devices(),
        "packages": _packages(),
        "libraries": _libraries(),
        "home": _shown(home()),
        "kept_bytes": _kept(home()),
        "variables": {
            name: "(set)" if _SECRET.search(name) else _shown(value)
            for name, value in sorted(os.environ.items())
            if _VARIABLES.match(name)
        },
    }


def _lines(about: dict[str, Any]) -> list[str]:
    kept = about["kept_bytes"]
    usable = about["cores"]
    parts = {
        "devices": about["devices"],
        "packages": [f"{name} {version or '–'}" for name, version in about["packages"].items()],
        "libraries": [f"{name} {version}" for name, version in about["libraries"].items()],
        f"kept in {about['home']}": [f"{name} {_size(size)}" for name, size in kept.items()],
        "variables": [f"{name}={value}" for name, value in about["variables"].items()],
    }
    lines = [
        f"umss-jax {about['umss_jax']} in {about['installed_in']}",
        f"Python {about['python']}, {about['executable']}",
        about["system"],
        f"{about['processor']}, {usable['usable']} of {usable['all']} cores",
    ]
    for title, entries in parts.items():
        lines += [f"{title}:", *(f"  {entry}" for entry in entries or ["none"])]
    return lines


def _devices() -> list[str]:
    """The devices that JAX finds, or why it finds none."""
    from umss_jax.device import start_jax

    try:
        start_jax()
        import jax

        return [f"{one.platform}:{one.id} ({one.device_kind})" for one in jax.devices()]
    except UmssError as error:
        return [one_line(str(error))]
    except Exception as error:  # whatever is wrong with JAX is what a report is about
        return [one_line(f"{type(error).__name__}: {error}")]


def _packages() -> dict[str, str | None]:
    """What this package asks for, extras too, by name; None where it is not installed."""
    try:
        asked = metadata.requires("umss-jax") or []
    except metadata.PackageNotFoundError:  # run from a checkout
        asked = [*("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")]
        asked += ["mir_eval", "soundfile", "soxr", "av", "safetensors", "h5py", "typer"]
    asked = [name for name in asked if not _FOR_DEVELOPERS.search(name)]
    found: dict[str, str | None] = {}
    for name in ["jax", "jaxlib", *asked, "jax-cuda12-plugin", "jax-cuda13-plugin"]:
        package = _REQUIRED.findall(name)[0]
        version = None
        with contextlib.suppress(metadata.PackageNotFoundError):
            version = metadata.version(package)
        if version is not None or not package.startswith("jax-cuda"):
            found[package] = version
    return found


def _libraries() -> dict[str, str]:
    found = {}
    with contextlib.suppress(ImportError, OSError):
        import soundfile

        found["libsndfile"] = soundfile.__libsndfile_version__
    with contextlib.suppress(ImportError, AttributeError):
        import av

        found["FFmpeg"] = str(av.ffmpeg_version_info)
    return found


def _kept(folder: Path) -> dict[str, int]:
    """Bytes of every folder and file that this package keeps, by name."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return {}
    return {entry.name: _bytes(entry) for entry in entries}


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    total = 0
    for file in files:
        with contextlib.suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total


def _size(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def _shown(text: str | Path) -> str:
    """A path without the name of its user."""
    own = os.path.expanduser("~")
    return str(text) if own in ("/", "~", "") else str(text).replace(own, "~")
