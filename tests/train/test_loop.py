"""Batches made ahead on a thread of their own."""

import threading

import pytest

from umss_jax.errors import UmssError
from umss_jax.train.loop import Prefetched


def test_prefetching_is_ahead_in_order_and_passes_errors_on():
    made, main = [], threading.get_ident()

    def items():
        for number in range(3):
            made.append(threading.get_ident())
            yield number
        raise UmssError("broken", "mend it")

    prefetched = Prefetched(items())
    assert [next(prefetched) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UmssError, match="broken"):
        next(prefetched)
    assert set(made) == {made[0]} != {main}
    prefetched.close()


def test_prefetching_can_be_left_early():
    def endless():
        while True:
            yield 0

    prefetched = Prefetched(endless())
    next(prefetched)
    prefetched.close()
    assert not prefetched._thread.is_alive()
