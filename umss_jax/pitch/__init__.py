"""Pitches: the grid, the straight-through F0, the continuity rule, targets, tables."""
