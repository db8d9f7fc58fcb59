"""Settings of F0 tables."""

from __future__ import annotations

CONFIDENCE = 0.4
"""Minimum confidence of a voiced frame, on CREPE's scale of 0 to 1 (reference)."""
