"""Unsupervised choir separation with a fully differentiable source-filter model, in JAX/Flax.

>>> import umss_jax
>>> umss_jax.separate("choir.wav").folder
>>> result = umss_jax.load().separate(audio, 44_100)

What most programs need is found here and imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "AdaptationConfig": "umss_jax.train.config",
    "PitchTracker": "umss_jax.api",
    "SeparationConfig": "umss_jax.separation.config",
    "Separator": "umss_jax.api",
    "adapt": "umss_jax.train.adapt",
    "load": "umss_jax.api",
    "load_tracker": "umss_jax.api",
    "scan": "umss_jax.audio.recording",
    "separate": "umss_jax.api",
    "training_segments": "umss_jax.train.adapt",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from umss_jax.environment import explained

    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except Exception as error:  # of JAX, of what it reads in the environment
        raise explained(error) or error from error


def _version() -> str:
    """That of the installed package, which has it from the tag in git."""
    from importlib import metadata

    try:
        return metadata.version("umss-jax")
    except metadata.PackageNotFoundError:  # a copy that was never installed
        return "0+unknown"
