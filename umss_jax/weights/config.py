"""Names of weights that the package knows."""

from __future__ import annotations

DEFAULT_MODEL = "starter"
"""The weights that are part of the package: F0 networks and synthesiser."""
