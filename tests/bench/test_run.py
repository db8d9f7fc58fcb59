"""What the bench measures where nothing, or everything, is asked for."""

from umss_jax.bench.measure import SEPARATION
from umss_jax.bench.run import jobs
from umss_jax.bench.stages import STAGES
from umss_jax.train.strategies import STRATEGIES


def test_everything_is_measured_where_nothing_is_named():
    chosen = jobs(None, None)
    assert [job.name for job in chosen] == [*STRATEGIES, SEPARATION, *STAGES]
    assert all(job.seconds == 4 for job in chosen)
    assert {job.batch for job in chosen if "direct" in job.name} == {1}
    assert {job.batch for job in chosen if "direct" not in job.name} == {4}
    assert len(jobs(None, None, scaling=True)) > len(chosen)


def test_batches_and_lengths_are_combined():
    chosen = jobs(["umss"], None, [1, 2], [4.0, 8.0])
    assert [job[2:] for job in chosen] == [(1, 4.0), (1, 8.0), (2, 4.0), (2, 8.0)]
