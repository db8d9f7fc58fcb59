"""Unsupervised choir separation with a fully differentiable source-filter model, in JAX/Flax.

>>> import umss_jax
>>> umss_jax.separate("choir.wav").folder
>>> result = umss_jax.load().separate(audio, 44_100)

What stands in :mod:`umss_jax.api` is found here too, imported when it is first used.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from umss_jax import separate

__version__ = "0.1.0"

__all__ = ["Separator", "__version__", "load", "load_tracker", "separate"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from umss_jax import api

    return getattr(api, name)


class _CallablePackage(ModuleType):
    """The package of the name `separate`, which is that of the function as well."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """As :func:`umss_jax.api.separate`."""
        from umss_jax import api

        return api.separate(*arguments, **options)


separate.__class__ = _CallablePackage
