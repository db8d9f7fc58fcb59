"""What callers pass from Python besides sound: paths, names, options; refused before the work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

from umss_jax.errors import UsageError

T = TypeVar("T")


def path_of(value: Any, name: str) -> Path:
    """An argument that is to be a path; UsageError where it cannot be one."""
    text = text_of(value, name, "pass a path, as str or pathlib.Path")
    if not text or "\0" in text:
        raise UsageError(f"{name} {text!r:.60} is no path", "pass that of a file or folder")
    return Path(text)


def text_of(value: Any, name: str, remedy: str) -> str:
    """An argument that is to be a name or a path, as text; UsageError where it is none."""
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise UsageError(f"{name} is {_kind(value)}", remedy)
    return text


def of_kind(value: T | None, kind: type[T], name: str) -> T:
    """An argument that is a set of options, or what it is by default; UsageError otherwise."""
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise UsageError(f"{name} is {_kind(value)}", f"pass a {kind.__name__}(…)")
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    return f"of type {type(value).__name__} ({value!r:.40})"
