"""Compiled programs of the model, kept whole: run again they are neither traced nor compiled.

JAX's own cache is asked by what a program was lowered to, so that tracing and lowering, two thirds
of the wait before a short recording, are done every time, and with them the import of all networks.
A program kept here is found by what it is made from: the sources, settings, versions, machine,
configuration and shapes. Whatever lies in its place and is no such program is made again.

Like the entries of JAX's cache these are programs that are run as they are read: the folder must
belong to the user, and nobody else may write there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from umss_jax.accelerators import preferred_device
from umss_jax.config import ModelConfig
from umss_jax.device import compile_ahead, is_writable
from umss_jax.environment import cores, instruction_sets, processor
from umss_jax.files import home

if TYPE_CHECKING:
    from umss_jax.kept_arrays import KeptArrays

SOURCES: tuple[str, ...] = (
    *("dsp", "synth", "pitch", "networks"),
    *("accelerators.py", "config.py", "device.py", "inference.py", "kept_programs.py", "model.py"),
    *("precision.py", "segment_programs.py", "trees.py"),
)
"""Files and folders of the package that say what a program computes."""
_VARIABLES = (
    *("JAX_", "XLA_", "TF_XLA_", "LIBTPU_", "NVIDIA_TF32"),
    *("UMSS_JAX_KERNELS", "UMSS_JAX_TENSOR_CORES"),
)
"""Of the environment, by their beginnings: what else says how."""
_LENGTH = 8
"""Bytes that tell how long the names are that come before a program."""
_MOST = 16
"""Programs, of some 11 MB each, that are kept; those not used for longest go."""

_kept: KeptArrays | None = None
"""Where programs are kept; None where they are not."""
_loaded: dict[str, Program | None] = {}
"""By key; None is that of a program that cannot be kept."""


class Program(NamedTuple):
    """A compiled function of arrays."""

    names: tuple[str, ...]
    """Of its results, by their place in what the function returns: ``output.f0_hz_cqt``."""
    call: Any
    """Of the function's arguments, without the configuration; returns arrays in that order."""


def keep_programs() -> None:
    """From here on :func:`results` keeps what it compiles below :func:`umss_jax.files.home`.

    To be called once JAX is started, by a command: settings that a program of somebody else makes
    in JAX are not looked at. Nothing is kept where JAX itself is told to keep nothing.
    """
    global _kept
    import jax

    from umss_jax.kept_arrays import KeptArrays

    folder = home() / "programs"
    settings: Any = jax.config
    is_wanted = settings.jax_enable_compilation_cache and is_writable(folder) and _is_own(folder)
    _kept = KeptArrays(folder, "compiled programs") if is_wanted else None


def _is_own(folder: Path) -> bool:
    if os.name != "posix":
        return True
    found = folder.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def results(jitted: Any, arguments: tuple[Any, ...], config: ModelConfig) -> dict[str, Any]:
    """Calls a jitted function, by a program that was kept where there is one.

    Args:
        jitted: of arrays, or trees of them, and of a static argument ``config``.
        arguments: all but that.
        config: that.

    Returns:
        The arrays of what the function returns, by their places: ``output.f0_hz_cqt``.
    """
    from jax.errors import JaxRuntimeError

    key = _key(jitted.__name__, arguments, config) if _kept is not None else None
    if key is not None and key not in _loaded:
        _loaded[key] = _program(key, jitted, arguments, config)
    program = _loaded.get(key) if key is not None else None
    if program is None:
        return _named(jitted(*arguments, config))
    try:
        found = program.call(*arguments)
        # What a program lacks is found out as it runs.
        return {
            name: array.block_until_ready()
            for name, array in zip(program.names, found, strict=True)
        }
    except JaxRuntimeError as error:
        if key is None or "RESOURCE_EXHAUSTED" in str(error):
            raise
        _give_up(key)
        return _named(jitted(*arguments, config))


def _named(result: Any) -> dict[str, Any]:
    import jax

    leaves = jax.tree_util.tree_leaves_with_path(result)
    return {".".join(map(_place, path)): leaf for path, leaf in leaves}


def _place(key: Any) -> str:
    return str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key))))


def _key(name: str, arguments: tuple[Any, ...], config: ModelConfig) -> str | None:
    """What tells a program from all others; None where arrays lie on other devices than one."""
    import jax

    device = preferred_device()
    leaves, tree = jax.tree.flatten(arguments)
    for leaf in leaves:
        if isinstance(leaf, jax.Array) and leaf.devices() != {device}:
            return None
    types = [
        [list(leaf.shape), leaf.dtype.name, bool(getattr(leaf, "weak_type", False))]
        for leaf in leaves
    ]
    asked = [name, repr(config), str(tree), types, device.id]
    said = json.dumps([made_from(), _machine(), asked])
    return f"{name.strip('_')}-{hashlib.sha256(said.encode()).hexdigest()[:40]}"


@functools.cache
def made_from() -> tuple[str, ...]:
    """Hash of the sources that say what is computed, and the versions of what computes it."""
    from importlib import metadata

    digest = hashlib.sha256()
    for path in _source_files():
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    versions = [f"{name} {metadata.version(name)}" for name in ("jax", "jaxlib", "flax", "numpy")]
    return (digest.hexdigest(), *versions)


def _source_files() -> Iterator[Path]:
    package = Path(__file__).parent
    for name in SOURCES:
        yield from sorted((package / name).rglob("*.py")) or [package / name]


@functools.cache
def _machine() -> tuple[str, ...]:
    """All that a program may be bound to."""
    chosen = [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name.startswith(_VARIABLES) and name != "JAX_COMPILATION_CACHE_DIR"
    ]
    device: Any = preferred_device()
    client = device.client
    described = (client.platform, client.platform_version, device.device_kind)
    counts = (str(cores()), str(client.device_count()))
    return (*described, *counts, processor(), *instruction_sets(), *chosen)


def _program(
    key: str, jitted: Any, arguments: tuple[Any, ...], config: ModelConfig
) -> Program | None:
    """As it was kept, or made and kept; None where that cannot be."""
    assert _kept is not None
    kept = _kept.get(key)
    if kept is None:
        return _made(key, jitted, arguments, config)
    if not kept.array.size:
        return None
    try:
        program = _opened(kept.array.tobytes(), arguments)
    except Exception:  # of whatever kind a runtime raises that does not take it
        _give_up(key)
        return None
    with contextlib.suppress(OSError):
        os.utime(_kept.path(key))
    return program


def _opened(content: bytes, arguments: tuple[Any, ...]) -> Program:
    import jax
    from jax.experimental import serialize_executable

    length = int.from_bytes(content[:_LENGTH], "little")
    names = tuple(json.loads(content[_LENGTH : _LENGTH + length]))
    takes, gives = jax.tree.structure((arguments, {})), jax.tree.structure(names)
    call = serialize_executable.deserialize_and_load(
        content[_LENGTH + length :], takes, gives, execution_devices=[preferred_device()]
    )
    return Program(names, call)


def _made(key: str, jitted: Any, arguments: tuple[Any, ...], config: ModelConfig) -> Program:
    """Compiles, and keeps what comes of it: the next process has it, or knows that it has not."""
    import jax
    from jax.experimental import serialize_executable

    with _without_the_cache_of_jax():
        compiled: Any = compile_ahead(jitted, *arguments, config)
    places = range(compiled.out_tree.num_leaves)
    names = tuple(_named(jax.tree.unflatten(compiled.out_tree, places)))
    try:
        payload, _, _ = serialize_executable.serialize(compiled)
    except Exception:  # of whatever kind a runtime raises that cannot
        _give_up(key)
    else:
        said = json.dumps(names).encode()
        _put(key, len(said).to_bytes(_LENGTH, "little") + said + payload)
    return Program(names, lambda *given: jax.tree.leaves(compiled(*given)))


@contextlib.contextmanager
def _without_the_cache_of_jax() -> Iterator[None]:
    """What JAX has from its cache cannot be kept on a CPU: parts of it are missing when it runs."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
        compilation_cache.reset_cache()


def _give_up(key: str) -> None:
    """From now on JAX does this program by itself, in later processes too."""
    _loaded[key] = None
    _put(key, b"")


def _put(key: str, content: bytes) -> None:
    import numpy as np

    assert _kept is not None
    _kept.put(key, np.frombuffer(content, np.uint8))
    _kept.drop_all_but(_MOST)
