"""Scores: read, aligned with a recording, and what they say of the pitches of its voices."""
