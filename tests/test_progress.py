"""What is said of long work: on a terminal, and where no bar can be drawn."""

import io
import sys
import time

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest

from umss_jax import device, progress

LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"
COMPILED = "/jax/core/compile/backend_compile_duration"


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def hasty(monkeypatch):
    """Seconds as hundredths of seconds; nothing is being compiled."""
    monkeypatch.setattr(progress, "_DELAY_S", 0.05)
    monkeypatch.setattr(progress, "_LINE_S", 0.3)
    monkeypatch.setattr(progress, "_TICK_S", 0.01)
    monkeypatch.setattr(device, "_compiling", {})
    device.watch_compilation()


def work(total, steps, quiet=False, done=0.0):
    with progress.progress_bar("choir.wav: separating", total, "s", quiet, done) as shown:
        for _ in range(steps):
            time.sleep(0.1)
            shown.advance(10)
            shown.note("total 0.5")


def test_without_a_terminal_a_line_now_and_then(hasty, capsys):
    start_s = time.monotonic()
    work(100, 10)
    elapsed_s = time.monotonic() - start_s
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= elapsed_s / 0.3 + 1
    for line in lines:
        assert line.startswith("umss-jax: choir.wav: separating: ")
        assert line.endswith("; total 0.5")
        percentage = int(line.split(": ")[3].split(" %")[0])
        left_s = int(line.split(", ")[1].split(" s left")[0])
        assert 10 <= percentage <= 100
        # No more than if all this time had passed by then, and rounded.
        assert 0 <= left_s <= elapsed_s * (100 - percentage) / percentage + 1


@pytest.mark.parametrize("quiet", [True, False])
def test_nothing_is_said_when_asked_or_when_it_is_soon_over(hasty, capsys, quiet, monkeypatch):
    if not quiet:
        monkeypatch.setattr(progress, "_LINE_S", 30.0)
    work(100, 4, quiet)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.parametrize("quiet", [True, False])
def test_compiling_is_said_and_no_longer_when_it_is_over(hasty, monkeypatch, is_terminal, quiet):
    screen = Screen() if is_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress.progress_bar("phase 1/3", 10, "ex", quiet) as shown:
        jax.monitoring.record_event_duration_secs(LOWERED, 0.1)
        time.sleep(0.4)
        said = screen.getvalue()
        jax.monitoring.record_event_duration_secs(COMPILED, 0.1)
        time.sleep(0.2)
        since = len(screen.getvalue())
        shown.advance(5)
        time.sleep(0.2)
        later = screen.getvalue()[since:]
    assert ("compiling (first run on this machine)" in said) != quiet
    assert said.count("compiling") <= 1 or is_terminal
    assert "compiling" not in later
    assert quiet or not is_terminal or "50%" in later


def test_jax_says_what_is_listened_to(hasty):
    """Both ends of a compilation, in this order, and nothing is left over."""
    heard = []
    device.watch_compilation()

    def hear(event, duration_s, **about):
        if event in (LOWERED, COMPILED):
            heard.append((event, device.compiling_s() > 0))

    jax.monitoring.register_event_duration_secs_listener(hear)
    try:
        number = np.random.default_rng().uniform()
        jax.jit(lambda x: jnp.sin(x) * number)(1.0).block_until_ready()
    finally:
        jax.monitoring.unregister_event_duration_listener(hear)
    assert (LOWERED, True) in heard
    assert heard[-1] == (COMPILED, False)
    assert device.compiling_s() == 0


@pytest.mark.parametrize("stream", [None, "closed"])
def test_a_missing_stderr_stops_nothing(hasty, monkeypatch, stream):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed if stream else None)
    work(40, 4)


def test_stages_follow_each_other(hasty, monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress.progress_bars("separating", 10, "choir.wav", "s", quiet=False) as advance:
        for stage in ("separating", "writing"):
            for _ in range(5):
                time.sleep(0.03)
                advance(stage, 2)
    assert screen.getvalue().index("separating") < screen.getvalue().index("writing")
