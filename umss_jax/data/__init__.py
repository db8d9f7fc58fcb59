"""Data sets: layouts, pieces, training mixes, test excerpts."""
