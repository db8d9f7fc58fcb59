"""Metadata of stored weights: read and checked before anything relies on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from umss_jax.errors import WeightsError
from umss_jax.files import regular_bytes
from umss_jax.trees import MAX_BYTES
from umss_jax.weights.stored_file import MAX_METADATA_BYTES

FORMAT = 2
"""Of the metadata that are written."""

_TEXTS = ("architecture", "kind", "licence", "origin", "package_version")
"""Metadata that are text wherever they are."""


def read_json(path: Path) -> Any:
    """What lies beside the tensors where an earlier version wrote them.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, too large or no JSON.
        RecursionError: it is nested too deep.
    """
    if regular_bytes(path, MAX_BYTES) > MAX_METADATA_BYTES:
        raise ValueError("it is too large for metadata")
    return json.loads(path.read_text(encoding="utf-8"))


def reason_of(error: Exception) -> str:
    """Why, in a line that stays short whatever the file holds."""
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return (reason or type(error).__name__)[:300]


def checked(metadata: Any, path: Path, remedy: str) -> dict[str, Any]:
    """Metadata in which everything that is used has its type.

    Raises:
        WeightsError: they are none, or of a later version.
    """
    if (
        not isinstance(metadata, dict)
        or not isinstance(metadata.get("tensors_sha256"), str)
        or not isinstance(metadata.get("parts"), list)
    ):
        raise WeightsError(f"{path} holds no metadata of weights", remedy)
    if type(metadata.get("format")) is not int or metadata["format"] not in (1, FORMAT):
        raise WeightsError(
            f"{path} has format {repr(metadata.get('format'))[:100]}, this version reads 1 to "
            f"{FORMAT}",
            f"update umss-jax or {remedy}",
        )
    wrong = [key for key in _TEXTS if not isinstance(metadata.get(key, ""), str | None)]
    if not all(isinstance(part, str) for part in metadata["parts"]):
        wrong.append("parts")
    if not isinstance(metadata.get("parameters", 0), int):
        wrong.append("parameters")
    if wrong:
        raise WeightsError(
            f"{path} has metadata of a wrong type ({', '.join(sorted(wrong))})", remedy
        )
    return metadata


def architecture_of(metadata: dict[str, Any]) -> str | None:
    """What the weights are of: as their origin calls it, else their networks, then other parts.

    ``metadata`` are checked ones; None where they do not say.
    """
    if metadata.get("architecture"):
        return str(metadata["architecture"])
    configuration = metadata.get("configuration")
    if not isinstance(configuration, dict):
        return None
    networks = {part: configuration.get(f"{part}_network") for part in metadata["parts"]}
    named = [str(network) for network in networks.values() if network]
    return ", ".join([*named, *(part for part, network in networks.items() if not network)])
