"""Runs of True against a frame-by-frame count."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from numpy import array, bool_

from umss_jax.pitch.runs import true_runs


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 4))
def test_runs_cover_what_holds_and_short_gaps(holds, largest_gap):
    covered = list(holds)
    places = [place for place, value in enumerate(holds) if value]
    for before, after in pairwise(places):
        if after - before - 1 <= largest_gap:
            covered[before:after] = [True] * (after - before)
    found = true_runs(array(holds, bool_), largest_gap)
    assert [any(a <= n < b for a, b in found) for n in range(len(holds))] == covered
    assert all(after[0] > before[1] + largest_gap for before, after in pairwise(found))
