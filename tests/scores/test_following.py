"""Dynamic time warping with jumps, against all paths there are."""

import itertools

import numpy as np
import pytest

from umss_jax.scores.following import OUTSIDE, Costs, best_gains, follow, follow_closely

COSTS = Costs(tempo=0.3, jump=1.5)


def gain_of(path, gains, costs):
    """Of one path, as the module's text has it; None where it is not allowed."""
    last, total = gains.shape[1] - 1, 0.0
    before = OUTSIDE
    for frame, state in enumerate(path):
        if state == OUTSIDE:
            if before not in (OUTSIDE, last):
                total -= costs.jump / 2
        elif before == OUTSIDE:
            total -= costs.jump / 2 if state else 0
        elif state - before in (0, 2):
            total -= costs.tempo
        elif state - before != 1:
            return None
        if state != OUTSIDE:
            total += gains[frame, state]
        before = state
    if before not in (OUTSIDE, last):
        total -= costs.jump / 2
    return total


@pytest.mark.parametrize("seed", range(12))
def test_the_course_is_the_best_of_all(seed):
    random = np.random.default_rng(seed)
    evidence = random.normal(size=(3, 5)).astype(np.float32)
    states = (random.uniform(size=(4, 3)) < 0.5).astype(np.float32)
    gains = evidence.T @ states.T
    paths = itertools.product(range(OUTSIDE, 4), repeat=5)
    allowed = {path: gain_of(path, gains, COSTS) for path in paths}
    best = max(gain for gain in allowed.values() if gain is not None)
    course = follow(evidence, states, COSTS)
    assert course.gain == pytest.approx(best, abs=1e-5)
    assert allowed[tuple(course.state.tolist())] == pytest.approx(best, abs=1e-5)
    several = best_gains(np.stack([-evidence, evidence]), states, COSTS)
    assert several[1] == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_near_the_diagonal_too(seed):
    random = np.random.default_rng(seed)
    evidence = random.normal(size=(2, 5)).astype(np.float32)
    states = (random.uniform(size=(5 + 2, 2)) < 0.5).astype(np.float32)
    gains = evidence.T @ states.T  # row band + s is state s

    def gain(path):
        total = 0.0
        for frame, state in enumerate(path):
            if abs(state - frame) > 1:
                return -np.inf
            if frame and state - path[frame - 1] not in (0, 1, 2):
                return -np.inf
            total -= 0.2 * (frame > 0 and state - path[frame - 1] != 1)
            total += gains[frame, state + 1]
        return total

    found = follow_closely(evidence, states, 0.2, 1)
    best = max(gain(path) for path in itertools.product(range(-1, 6), repeat=5))
    assert gain(found.tolist()) == pytest.approx(best, abs=1e-5)


def test_nothing_heard_is_outside():
    course = follow(np.full((2, 30), -1, np.float32), np.ones((10, 2), np.float32), COSTS)
    assert (course.state == OUTSIDE).all()
    assert course.gain == 0
