"""The loop in small: what it waits for, what it transfers and compiles, and how it stops."""

import itertools
import threading
import time
from typing import NamedTuple

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from umss_jax.errors import NotFiniteError, OutputError, UmssError
from umss_jax.train import pending
from umss_jax.train.background import Background
from umss_jax.train.loop import Loop, NamedBatch, run_loop
from umss_jax.train.objectives import Loss
from umss_jax.train.pending import Pending
from umss_jax.train.prefetching import Prefetched
from umss_jax.train.sharding import Devices
from umss_jax.train.step import Scalars, init_state, last_good, step_body
from umss_jax.train.validating import HeldOut


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


class Points(NamedTuple):
    """A batch of the smallest task: a mean is to be found."""

    x: np.ndarray


def distance(given):
    """Mean squared distance of the points to what is learnt."""
    away = (given.batch.x - given.variables["params"]["decoder"]["w"]) ** 2
    if given.weights is not None:
        away = away * given.weights
    return Loss({"total": jnp.mean(away)}, given.variables["batch_stats"])


RATE = optax.exponential_decay(0.1, 3, 0.5, staircase=True)


def batches(done, broken=()):
    """Batches whose values tell their step; some hold what is no number."""
    for step in itertools.count(done):
        rows = np.random.default_rng(step).normal(size=5).astype(np.float32)
        if step in broken:
            rows[2] = np.nan
        yield NamedBatch(Points(rows), (f"batch {step + 1}",))


def small_loop(steps, log, step=None, broken=(), place=None):
    optimiser = optax.sgd(RATE)
    devices = Devices()
    body = step_body(distance, optimiser, ("decoder",), rate=RATE)
    compiled = devices.mapped(body, donate=True)
    loop = Loop(
        name="small",
        steps=steps,
        batch=5,
        step=compiled if step is None else step(compiled),
        batches=lambda done: batches(done, broken),
        key=jax.random.key(0),
        log=log,
        remedy="mend it",
        devices=devices,
        quiet=True,
    )
    return loop, init_state({"params": {"decoder": {"w": jnp.zeros(())}}}, optimiser)


def by_hand(steps):
    """Losses before each step, and the value after the last, in float64."""
    w, losses = 0.0, []
    for step, (points, _) in zip(range(steps), batches(0), strict=False):
        x = np.asarray(points.x, np.float64)
        losses.append(np.mean((x - w) ** 2))
        w -= 0.1 * 0.5 ** (step // 3) * np.mean(2 * (w - x))
    return losses, w


def test_every_step_is_told_once_in_order_with_its_own_loss_and_rate():
    rows = []
    loop, fresh = small_loop(9, lambda *row: rows.append(row))
    state, _ = run_loop(loop, fresh)
    losses, w = by_hand(9)
    assert [row[1] for row in rows] == list(range(1, 10))
    np.testing.assert_allclose([row[2]["total"] for row in rows], losses, rtol=1e-5)
    rates = [row[2]["learning_rate"] for row in rows]
    np.testing.assert_allclose(rates, np.repeat([0.1, 0.05, 0.025], 3), rtol=1e-6)
    assert all(0 < row[3] < 60 for row in rows)
    np.testing.assert_allclose(state.params["decoder"]["w"], w, rtol=1e-5)


@pytest.mark.parametrize("broken", [(0,), (4,), (4, 5), (8,)])
@pytest.mark.parametrize("interval_s", [0.0, 60.0])
def test_what_is_no_number_stops_at_its_step_whenever_it_is_noticed(
    broken, interval_s, monkeypatch
):
    """The steps that were sent in between change nothing."""
    monkeypatch.setattr(pending, "INTERVAL_S", interval_s)
    rows, sent = [], []

    def counted(step):
        def call(state, batch, key):
            after, metrics = step(state, batch, key)
            sent.append(jax.tree.map(np.array, jax.device_get(after)))
            return after, metrics

        return call

    loop, fresh = small_loop(9, lambda *row: rows.append(row[1]), counted, broken)
    with pytest.raises(
        NotFiniteError, match=rf"step {broken[0] + 1} of small: gradient_norm"
    ) as raised:
        run_loop(loop, fresh)
    assert f"batch: batch {broken[0] + 1}" in str(raised.value)
    assert rows == list(range(1, broken[0] + 1))
    # At once one more step may have been sent, else all of the interval.
    assert len(sent) == (9 if interval_s else min(9, broken[0] + 2))
    kept = last_good(sent[-1])
    assert int(kept.step) == broken[0]
    np.testing.assert_allclose(kept.params["decoder"]["w"], by_hand(broken[0])[1], rtol=1e-5)


def compilations():
    """Names of what is compiled from here on."""
    names, is_over = [], []

    def hear(event, duration_secs, **about):
        if event == "/jax/core/compile/backend_compile_duration" and not is_over:
            names.append(about.get("fun_name", "?"))

    jax.monitoring.register_event_duration_secs_listener(hear)
    return names, lambda: is_over.append(True)


def test_the_steady_loop_compiles_and_transfers_nothing_unasked():
    """After the second step: what is brought and fetched is so by name, nothing by the way."""
    names, stop = compilations()
    calls, before = [], jax.config.jax_transfer_guard

    def guarded(step):
        def call(state, batch, key):
            calls.append(len(names))
            if len(calls) == 3:
                jax.config.update("jax_transfer_guard", "disallow")
            return step(state, batch, key)

        return call

    loop, fresh = small_loop(12, lambda *row: None, guarded)
    try:
        run_loop(loop, fresh)
    finally:
        jax.config.update("jax_transfer_guard", before)
        stop()
    assert calls[2:] == [calls[2]] * 10
    assert names[calls[0] : calls[2]] == ["jit(step)"]
    # The guard itself is at work:
    with jax.transfer_guard("disallow"), pytest.raises(Exception, match="Disallowed"):
        jax.jit(lambda x: x + 1)(np.ones(3, np.float32))


def test_a_validation_set_of_any_size_is_one_program_and_its_mean():
    devices = Devices()
    state, key = devices.place((small_loop(1, None)[1], jax.random.key(0)))
    rng = np.random.default_rng(0)
    for examples, batch in ((3, 5), (5, 5), (12, 5), (10, 5)):
        x = rng.normal(size=examples).astype(np.float32)
        rows = (Points(x[first : first + batch]) for first in range(0, examples, batch))
        held_out = HeldOut(devices, distance, examples, batch, rows)
        names, stop = compilations()
        with jax.transfer_guard("disallow"):
            found = [held_out.means(state, key)["total"] for _ in range(2)]
        stop()
        np.testing.assert_allclose(found, [np.mean(x.astype(np.float64) ** 2)] * 2, rtol=1e-5)
        assert names == ["jit(terms)"], (examples, batch)


def test_metrics_are_fetched_an_interval_at_a_time(monkeypatch):
    fetched = []
    real = jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda tree: fetched.append(len(tree)) or real(tree))
    steps = Pending()
    for number in range(1, 6):
        metrics = Scalars(("total",), jnp.full(1, number, jnp.float32))
        steps.add(number, metrics, time.perf_counter(), ())
    assert not steps.is_due
    monkeypatch.setattr(pending, "INTERVAL_S", 0.0)
    assert steps.is_due
    assert [one.number for one in steps.fetch()] == [1, 2, 3, 4]
    (last,) = steps.fetch(wait=True)
    assert (last.number, last.values, last.is_finite) == (5, {"total": 5.0}, True)
    assert fetched == [4, 1]


def test_writing_beside_is_in_order_and_fails_where_it_is_noticed():
    done, held = [], threading.Event()

    def work(number):
        held.wait()
        done.append(number)

    def fail():
        raise OutputError("no room", "make some")

    with Background() as writing:
        writing.do(work, 1)
        assert done == []
        held.set()
        writing.do(work, 2)
        writing.wait()
        assert done == [1, 2]
        writing.do(fail)
        with pytest.raises(OutputError, match="no room"):
            writing.do(work, 3)
    with pytest.raises(OutputError, match="no room"), Background() as writing:
        writing.do(fail)

    def fail_first():
        with Background() as writing:
            writing.do(fail)
            raise KeyError

    with pytest.raises(KeyError):
        fail_first()
    assert done == [1, 2]
