"""The continuity rule in other processes gives what it gives here, whatever becomes of them."""

import os

import numpy as np
import pytest

from umss_jax.config import HcqtConfig
from umss_jax.pitch import rule_workers
from umss_jax.pitch.continuity import heuristic_f0_synth, heuristic_tracks
from umss_jax.pitch.rule_workers import RuleWorkers, worker_count

DETAILS = (60, 0.5, HcqtConfig(), 2)


def saliences(count):
    """Four voices that come and go on a noisy ground."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        salience = rng.uniform(0, 0.4, (360, 80)).astype(np.float32)
        for bin_ in rng.integers(20, 340, 4):
            salience[bin_, rng.uniform(size=80) < 0.8] = 0.9
        yield salience


def test_workers_give_what_the_rule_gives_also_after_one_was_killed():
    heard = list(saliences(5))
    expected = [heuristic_f0_synth(one, *DETAILS) for one in heard]
    workers = RuleWorkers(2)
    started = workers._started

    def check(workers):
        for one, other in zip(expected, workers.tracks(heard, *DETAILS), strict=True):
            np.testing.assert_array_equal(one, other)

    check(workers)
    assert len(started) == 2
    for worker in started:
        worker.kill()
        worker.wait()
    check(workers)  # what they were asked is done here, and others are started for the rest
    assert len(started) == 4
    assert np.count_nonzero(expected[0])
    del workers
    assert all(worker.poll() is not None for worker in started)


def test_where_none_can_be_started_the_work_is_done_here(monkeypatch):
    def refused(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(rule_workers.subprocess, "Popen", refused)
    heard = list(saliences(2))
    found = RuleWorkers(2).tracks(heard, *DETAILS)
    np.testing.assert_array_equal(found, heuristic_tracks(heard, *DETAILS))


@pytest.mark.parametrize(
    ("cores", "examples", "count"), [(1, 8, 0), (2, 8, 0), (8, 8, 4), (16, 3, 3), (64, 1, 0)]
)
def test_one_process_alone_is_not_worth_it(monkeypatch, cores, examples, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores), raising=False)
    assert worker_count(examples) == count
