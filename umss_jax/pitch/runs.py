"""Stretches of frames in which something holds, such as a voice that sings."""

from __future__ import annotations

import numpy as np


def true_runs(holds: np.ndarray, largest_gap: int = 0) -> list[tuple[int, int]]:
    """First frame and frame after the last of every run of True, short gaps bridged.

    Args:
        holds: bool ``[T]``.
        largest_gap: frames that may lie between two parts of one run.
    """
    edges = np.flatnonzero(np.diff(np.pad(holds.astype(np.int8), 1)))
    runs: list[tuple[int, int]] = []
    for start, end in edges.reshape(-1, 2).tolist():
        if runs and start - runs[-1][1] <= largest_gap:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs
