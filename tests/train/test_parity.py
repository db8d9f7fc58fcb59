"""The recorded gradients and the three recorded Adam steps, replayed.

Only the oscillator bank (see `reference_bank`) and the change of frame rate of F0 run in PyTorch,
so that the phases round as they did in the recorded run; everything else is this package's, through
`make_train_step` itself.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from comparison import relative_error

from umss_jax import model
from umss_jax.config import ModelConfig
from umss_jax.pitch.extractor import extract_f0
from umss_jax.synth import source_filter as synth
from umss_jax.synth.harmonic import harmonic_controls
from umss_jax.train import step as training
from umss_jax.train.config import LossConfig, OptimiserConfig
from umss_jax.train.objectives import Batch, LossInput, objective_for
from umss_jax.train.optimiser import make_optimiser
from weights_convert import import_file
from weights_convert.torch_2024 import UMSS_2024

torch = pytest.importorskip("torch")
bank = pytest.importorskip("reference_bank")

TRAINABLE = ("assignment", "encoder", "decoder")
TERMS = ("total", "rec", "l1", "l2", "l3")
# Last layers of the two voices that are mostly unvoiced. Their gradients are sums over frames of
# dF0 of either sign, which nearly cancel: rounding the mixture by half an ulp moves their norms by
# up to 9 % (`test_what_float32_determines`), so the recorded value is one draw of that.
UNDETERMINED = frozenset(
    f"F0Assigner.{layer}"
    for layer in (
        *("branch1.3.weight", "branch1.3.bias", "post_process1.0.weight", "post_process1.0.bias"),
        *("branch2.2.weight", "branch2.2.bias", "branch2.3.weight", "branch2.3.bias"),
        *("post_process2.0.weight", "post_process2.0.bias"),
    )
)


@pytest.fixture(scope="module")
def variables(shared):
    """All but the salience network, which the recorded steps begin after."""
    loaded = import_file(shared / "weights" / "umss_reference_random.pth").variables
    return {
        collection: {part: tree for part, tree in parts.items() if part != "salience"}
        for collection, parts in loaded.items()
    }


@pytest.fixture(scope="module")
def batches(golden):
    mixture = jnp.asarray(golden("train_steps")["mixture"])[None]
    salience = jnp.asarray(golden("full_forward")["salience"])[None]

    def batch(step):
        draws = golden(f"train_step_{step}_noise")["uniform_voiced"]  # of [0, 1)
        return Batch(mixture=mixture, salience=salience, uniform=jnp.asarray(2 * draws - 1)[None])

    return [batch(step) for step in range(3)]


class Replay(NamedTuple):
    """The training step, compiled once for all tests of the recorded run."""

    fresh_state: Callable
    step: Callable


@pytest.fixture(scope="module")
def replay(variables):
    """The real step on the reference's phases.

    ``nudge`` is added to the assigned saliences where F0 is picked from them, and nowhere else.
    """
    optimiser = make_optimiser(TRAINABLE)
    train_step = training.make_train_step(optimiser, TRAINABLE)

    def step(state, batch, nudge):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(synth, "harmonic_signal", bank.harmonic_signal_by_bank(torch.float32))
            patch.setattr(model, "f0_to_synth_frames", bank.f0_to_synth_frames_by_torch())
            patch.setattr(model, "extract_f0", lambda a, *rest: extract_f0(a + nudge, *rest))
            return train_step(state, batch, jax.random.key(0))

    return Replay(lambda: training.init_state(variables, optimiser), jax.jit(step))


NO_NUDGE = np.zeros((1, 4, 360, 344), np.float32)


def gradient_of_first_step(before, after):
    """From Adam's first moment, (1 − β₁) (gradient + L2 penalty)."""
    is_adam = lambda x: isinstance(x, optax.ScaleByAdamState)  # noqa: E731
    adams = [x for x in jax.tree.leaves(after.opt_state, is_leaf=is_adam) if is_adam(x)]
    config = OptimiserConfig()
    gradient = {}
    for part in TRAINABLE:
        (moment,) = [x.mu[part] for x in adams if not isinstance(x.mu[part], optax.MaskedNode)]
        gradient[part] = jax.tree.map(
            lambda m, p: np.asarray(m, np.float64) / 0.1 - config.l2_penalty * np.asarray(p),
            moment,
            before.params[part],
        )
    return gradient


def by_source_name(gradient, names):
    """Gradients under the reference's names, in the reference's layout."""
    rows = {row.source: row for row in UMSS_2024.rows}
    found = {}
    for name in names:
        leaf = {"params": gradient}
        for part in rows[name].path.split("/"):
            leaf = leaf[part]
        found[name] = rows[name].layout.to_source(np.asarray(leaf, np.float64))
    return found


@pytest.fixture(scope="module")
def recorded_gradients(golden):
    return golden("gradients_step0")


@pytest.fixture(scope="module")
def norms(recorded_gradients):
    names, norms = recorded_gradients["names"], recorded_gradients["norms"]
    return dict(zip(map(str, names), map(float, norms), strict=True))


def test_the_bank_is_the_references(golden):
    recorded = golden("harmonic")
    f0_hz, raw = (jnp.asarray(recorded[name][None, ..., 0]) for name in ("f0_hz", "amplitude_raw"))
    controls = harmonic_controls(raw, f0_hz, ModelConfig().synth)
    got = bank.harmonic_signal_by_bank(torch.float32)(controls, None)
    assert relative_error(got[0], recorded["harmonic"]) < 1e-6


def test_f0_is_bit_equal(variables, batches, golden, monkeypatch):
    monkeypatch.setattr(model, "f0_to_synth_frames", bank.f0_to_synth_frames_by_torch())
    analyse = jax.jit(lambda v, b: model.analyse(v, b.mixture, ModelConfig(), salience=b.salience))
    f0_hz = analyse(variables, batches[0]).f0_hz_synth[0]
    np.testing.assert_array_equal(f0_hz, golden("full_forward")["f0_hz"])


def test_gradient_of_every_parameter(replay, batches, recorded_gradients, norms):
    before = replay.fresh_state()
    after, _ = replay.step(before, batches[0], NO_NUDGE)
    ours = by_source_name(gradient_of_first_step(before, after), norms)
    assert len(ours) == 116 == len(jax.tree.leaves([before.params[part] for part in TRAINABLE]))
    error = {name: abs(np.linalg.norm(ours[name]) / norms[name] - 1) for name in norms}
    assert {name: e for name, e in error.items() if e > 0.02 and name not in UNDETERMINED} == {}
    assert {name: e for name, e in error.items() if e > 0.15} == {}
    # Where the gradient itself was recorded: its direction as well, not only its norm.
    for key, whole in recorded_gradients.items():
        name = key.removeprefix("grad:")
        if name != key and name not in UNDETERMINED:
            assert relative_error(ours[name], whole) < 0.03, name


def relative_to_recorded(metrics, row):
    return {term: float(metrics[term]) / value - 1 for term, value in zip(TERMS, row, strict=True)}


def test_three_adam_steps(replay, batches, golden):
    """Every term within 1 %, but for one choice that 1e-3 of salience does not determine.

    After the first step, the two largest bins of the bass in frame 191 differ by 4e-4 and lie 7e-5
    from the threshold. Which one is taken moves L2 two losses later by 2 %, and nothing else by
    more than 0.2 %. With the second bin taken all fifteen terms are within 1 %; with the first one
    fourteen are.
    """
    recorded = golden("train_steps")
    assert tuple(recorded["columns"]) == TERMS
    assert recorded["learning_rate"] == OptimiserConfig().learning_rate
    assert recorded["weight_decay"] == OptimiserConfig().l2_penalty
    history = recorded["history"]
    state, metrics = replay.step(replay.fresh_state(), batches[0], NO_NUDGE)
    first = relative_to_recorded(metrics, history[0])
    assert max(map(abs, first.values())) < 1e-4
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    assigned = model.analyse(
        variables, batches[1].mixture, ModelConfig(), salience=batches[1].salience
    ).assigned
    column = np.asarray(assigned[0, 3, :, 191])
    second_bin, first_bin = np.argsort(column)[-2:]
    assert column[first_bin] - column[second_bin] < 1e-3
    nudge = NO_NUDGE.copy()
    nudge[0, 3, second_bin, 191] = 1e-3
    for given, loose in ((nudge, {}), (NO_NUDGE, {"l2": 0.03})):
        after, metrics = replay.step(state, batches[1], given)
        second = relative_to_recorded(metrics, history[1])
        assert {term: e for term, e in second.items() if abs(e) > 0.01} == {}
        _, metrics = replay.step(after, batches[2], NO_NUDGE)
        third = relative_to_recorded(metrics, history[2])
        assert {term: e for term, e in third.items() if abs(e) > loose.get(term, 0.01)} == {}


@pytest.mark.slow
def test_what_float32_determines(replay, batches, norms):
    """Half an ulp on the mixture moves the listed norms by more than 2 %, and no other."""
    rng = np.random.default_rng(0)
    draws = []
    before = replay.fresh_state()
    for _ in range(6):
        mixture = np.asarray(batches[0].mixture)
        mixture = mixture * (1 + rng.uniform(-6e-8, 6e-8, mixture.shape))
        batch = batches[0]._replace(mixture=jnp.asarray(mixture, jnp.float32))
        after, _ = replay.step(before, batch, NO_NUDGE)
        ours = by_source_name(gradient_of_first_step(before, after), norms)
        draws.append([np.linalg.norm(ours[name]) / norms[name] for name in norms])
    spread = dict(zip(norms, np.ptp(draws, axis=0), strict=True))
    assert max(e for name, e in spread.items() if name not in UNDETERMINED) < 0.02
    assert max(e for name, e in spread.items() if name in UNDETERMINED) > 0.04


@pytest.mark.slow
def test_gradients_equal_those_of_a_float64_oscillator_bank(variables, batches, monkeypatch):
    """Where the recorded gradients hang on the reference's rounding, ours are the true ones."""

    def gradient():
        # A new function each time, so that it is traced with what is patched in.
        def total(params, batch_stats, batch):
            objective = objective_for(TRAINABLE, ModelConfig(), LossConfig())
            own = {"params": params, "batch_stats": batch_stats}
            return objective(LossInput(own, batch, jax.random.key(0), 0, True)).terms["total"]

        return jax.jit(jax.grad(total))(variables["params"], variables["batch_stats"], batches[0])

    ours = gradient()
    monkeypatch.setattr(synth, "harmonic_signal", bank.harmonic_signal_by_bank(torch.float64))
    exact = gradient()
    flat, _ = jax.tree_util.tree_flatten_with_path({part: exact[part] for part in TRAINABLE})
    values = jax.tree.leaves({part: ours[part] for part in TRAINABLE})
    error = {
        jax.tree_util.keystr(path): relative_error(value, leaf)
        for (path, leaf), value in zip(flat, values, strict=True)
    }
    assert {name: e for name, e in error.items() if e > 0.02} == {}
