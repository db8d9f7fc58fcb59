"""Names of weights that the package knows."""

STARTER = "starter"
"""The weights that are part of the package; see ``starter/MODEL_CARD.md``."""

PUBLISHED = "published"
"""The published Late/Deep and VoasCNN, together."""

DEFAULT_MODEL = STARTER
"""What commands take where no model is named."""
