"""What the experiment with scores counts, on frames that are counted by hand."""

import numpy as np
import pytest

from experiments.scores import false_alarms_in_rests


def test_only_long_rests_count_for_false_alarms():
    reference = np.full((2, 100), 200.0)
    reference[0, 10:30] = 0  # 0.2 s: a consonant
    reference[0, 40:90] = 0  # 0.5 s: a rest
    reference[1, 50:] = 0  # the same at the end
    found = np.full((2, 100), 200.0)
    found[0, 40:80] = 0
    found[1, 60:] = 0
    assert false_alarms_in_rests(reference, found, 0.01) == pytest.approx((10 + 10) / 100)
    assert np.isnan(false_alarms_in_rests(np.ones((1, 9)), np.ones((1, 9)), 0.01))
