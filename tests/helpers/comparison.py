"""How far values are from those of a reference."""

import numpy as np


def relative_error(value, reference) -> float:
    """‖value − reference‖ / ‖reference‖ in float64."""
    value = np.asarray(value, np.float64)
    reference = np.asarray(reference, np.float64)
    assert value.shape == reference.shape, (value.shape, reference.shape)
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))
