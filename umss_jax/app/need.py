"""Whether the packages of the extra ``app`` are there."""

from __future__ import annotations

import importlib.util

from umss_jax.errors import UsageError


def need_server() -> None:
    """Refuses where they are not, before anything else is asked.

    Raises:
        UsageError: one is missing.
    """
    for package in ("starlette", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(
                f"the page needs {package}, which is not installed", "pip install 'umss-jax[app]'"
            )
