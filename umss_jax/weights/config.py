"""Names of weights that the package knows."""

from collections.abc import Mapping
from types import MappingProxyType

STARTER = "starter"
"""The weights that are part of the package; see ``starter/MODEL_CARD.md``."""

STARTER_SMALL = "starter-small"
"""Smaller, faster F0 networks for the starter weights: ``starter+starter-small``."""

PACKAGED: Mapping[str, str] = MappingProxyType(
    {STARTER: "weights.safetensors", STARTER_SMALL: "small.safetensors"}
)
"""Files in the package's folder ``starter``, by name."""

PUBLISHED = "published"
"""The published Late/Deep and VoasCNN, together."""

DEFAULT_MODEL = STARTER
"""What commands take where no model is named."""
