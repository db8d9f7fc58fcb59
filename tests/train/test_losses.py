"""Losses against the recorded reference, float64 and numerical gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from comparison import relative_error
from jax.test_util import check_grads

from umss_jax.config import AudioConfig, RefinerConfig
from umss_jax.pitch.extractor import extract_f0
from umss_jax.train.config import LossConfig
from umss_jax.train.losses import (
    assignment_sum_loss,
    full_loss,
    one_voice_loss,
    refinement_loss,
    spectral_loss,
    spectral_loss_per_scale,
    voice_band_loss,
    voice_band_mask,
)
from umss_jax.train.objectives import mistaken_f0

CONFIG = LossConfig()
loss_of, loss_per_scale = jax.jit(spectral_loss), jax.jit(spectral_loss_per_scale)


def spectral_loss_float64(target, estimate, fft_size):
    hop = fft_size // 4
    window = scipy.signal.get_window("hann", fft_size, fftbins=True)

    def magnitude(signal):
        padded = np.concatenate([signal.astype(np.float64), np.zeros(fft_size)])
        starts = range(0, len(signal), hop)
        frames = np.stack([padded[s : s + fft_size] * window for s in starts])
        return np.sqrt(np.abs(np.fft.rfft(frames)) ** 2 + 1e-10)

    a, b = magnitude(target), magnitude(estimate)
    return np.mean(np.abs(a - b)), np.mean(np.abs(np.log(a) - np.log(b)))


@pytest.fixture(scope="module")
def spectral(golden):
    return golden("spectral_loss")


@pytest.fixture(scope="module")
def saliences(golden):
    values = golden("salience_assignment_f0")
    return jnp.asarray(values["assigned_nnaudio"])[None], jnp.asarray(values["salience_nnaudio"])[
        None
    ]


def test_spectral_loss_equals_the_recorded_one(spectral):
    assert CONFIG.fft_sizes == tuple(spectral["fft_sizes"])
    target, estimate = (
        jnp.asarray(spectral["target"])[None],
        jnp.asarray(spectral["estimate"])[None],
    )
    got = loss_per_scale(target, estimate)
    np.testing.assert_allclose(got, spectral["lin_log_per_scale"], rtol=1e-4)
    assert float(loss_of(target, estimate)) == pytest.approx(float(spectral["total"]), rel=1e-4)


def test_spectral_loss_equals_float64(spectral):
    target, estimate = spectral["target"], spectral["estimate"]
    got = loss_per_scale(jnp.asarray(target)[None], jnp.asarray(estimate)[None])
    expected = [spectral_loss_float64(target, estimate, n) for n in CONFIG.fft_sizes]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_spectral_loss_averages_over_the_batch():
    rng = np.random.default_rng(0)
    target, estimate = (jnp.asarray(rng.normal(size=(3, 4096)), jnp.float32) for _ in range(2))
    alone = [loss_per_scale(t[None], e[None]) for t, e in zip(target, estimate, strict=True)]
    together = loss_per_scale(target, estimate)
    np.testing.assert_allclose(together, np.mean(alone, axis=0), rtol=1e-5)


def test_spectral_loss_of_equals_is_zero_and_of_silence_finite():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(1, 4096)), jnp.float32)
    assert float(loss_of(x, x)) == 0.0
    value, slope = jax.jit(jax.value_and_grad(spectral_loss, argnums=1))(x, jnp.zeros((1, 4096)))
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    assert float(loss_of(jnp.zeros((1, 4096)), jnp.zeros((1, 4096)))) == 0.0


def test_spectral_loss_gradient_is_numerically_right():
    """The estimate is louder than the target in every cell, so no |Δ| changes its sign."""
    rng = np.random.default_rng(2)
    estimate = jnp.asarray(rng.normal(size=(1, 200)), jnp.float32)
    target = 1e-3 * estimate
    config = LossConfig(fft_sizes=(64, 32))
    check_grads(
        lambda e: spectral_loss(target, e, config),
        (estimate,),
        order=1,
        modes=["rev"],
        eps=1e-3,
        atol=2e-2,
        rtol=2e-2,
    )


def test_no_gradient_into_targets(saliences):
    assigned, salience = (x[..., :4] for x in saliences)
    rng = np.random.default_rng(3)
    x, y = (jnp.asarray(rng.normal(size=(1, 512)), jnp.float32) for _ in range(2))
    np.testing.assert_array_equal(jax.jit(jax.grad(spectral_loss, argnums=0))(x, y), 0.0)
    np.testing.assert_array_equal(jax.grad(assignment_sum_loss, argnums=1)(assigned, salience), 0.0)
    np.testing.assert_array_equal(
        jax.grad(one_voice_loss, argnums=1)(assigned, assigned * 0.5), 0.0
    )


def test_salience_losses_equal_the_recorded_ones(golden, saliences):
    recorded = golden("f0_losses")
    assigned, salience = saliences
    binary = extract_f0(assigned).binary
    np.testing.assert_array_equal(CONFIG.voice_bands_bins, recorded["band_bins"])
    got = (
        assignment_sum_loss(assigned, salience),
        voice_band_loss(assigned),
        one_voice_loss(assigned, binary),
    )
    for value, name in zip(got, ("l1", "l2", "l3"), strict=True):
        assert float(value) == pytest.approx(float(recorded[name]), rel=1e-4), name


def test_salience_losses_equal_float64():
    rng = np.random.default_rng(4)
    assigned, salience = rng.uniform(size=(2, 4, 360, 7)), rng.uniform(size=(2, 360, 7))
    binary = (rng.uniform(size=assigned.shape) > 0.99).astype(np.float64)
    inside = np.zeros((4, 360, 1))
    for voice, (low, high) in enumerate(((179, 285), (152, 260), (129, 225), (88, 189))):
        inside[voice, low : high + 1] = 1.0
    a, s, b = (jnp.asarray(x, jnp.float32) for x in (assigned, salience, binary))
    sum_error = np.mean((assigned.sum(axis=1) - salience) ** 2)
    assert float(assignment_sum_loss(a, s)) == pytest.approx(sum_error, rel=1e-5)
    assert float(voice_band_loss(a)) == pytest.approx(
        np.mean((assigned * (1 - inside)) ** 2), rel=1e-5
    )
    assert float(one_voice_loss(a, b)) == pytest.approx(np.mean((assigned - binary) ** 2), rel=1e-5)
    np.testing.assert_array_equal(voice_band_mask(a)[0], inside)


def test_gradients_of_salience_losses():
    rng = np.random.default_rng(5)
    assigned = jnp.asarray(rng.uniform(size=(1, 4, 360, 2)), jnp.float32)
    salience = jnp.asarray(rng.uniform(size=(1, 360, 2)), jnp.float32)
    binary = extract_f0(assigned).binary
    for loss in (
        lambda a: 1e2 * assignment_sum_loss(a, salience),
        lambda a: 1e2 * one_voice_loss(a, binary),
    ):
        check_grads(loss, (assigned,), order=1, modes=["rev"], eps=1e-1, atol=2e-2, rtol=2e-2)
    # L2 is not the derivative of its value: inside the band the target moves along, without slope.
    slope = jax.grad(voice_band_loss)(assigned)
    inside = np.asarray(voice_band_mask(assigned))
    assert relative_error(slope, 2 / assigned.size * np.asarray(assigned) * (1 - inside)) < 1e-6


def full_arguments():
    rng = np.random.default_rng(6)
    x, y = (jnp.asarray(rng.normal(size=(1, 2048)), jnp.float32) for _ in range(2))
    assigned = jnp.asarray(rng.uniform(size=(1, 4, 360, 3)), jnp.float32)
    salience = jnp.asarray(rng.uniform(size=(1, 360, 3)), jnp.float32)
    return x, y, salience, assigned, extract_f0(assigned).binary


def test_total_is_the_weighted_sum():
    x, y, salience, assigned, binary = full_arguments()
    terms = jax.jit(full_loss)(x, y, salience, assigned, binary)
    expected = {
        "rec": loss_of(x, y),
        "l1": assignment_sum_loss(assigned, salience),
        "l2": voice_band_loss(assigned),
        "l3": one_voice_loss(assigned, binary),
    }
    for name, value in expected.items():
        assert float(getattr(terms, name)) == pytest.approx(float(value), rel=1e-6)
    total = terms.rec + 1e4 * terms.l1 + 1e5 * terms.l2 + 1e4 * terms.l3
    assert float(terms.total) == pytest.approx(float(total), rel=1e-6)


@pytest.mark.parametrize("name", ["rec", "l1", "l2", "l3"])
def test_a_term_of_weight_zero_is_not_computed(name):
    arguments = full_arguments()
    with_all = full_loss(*arguments)
    config = LossConfig(**{f"{name}_weight": 0.0})
    terms = full_loss(*arguments, config)
    assert float(getattr(terms, name)) == 0.0
    others = [other for other in ("rec", "l1", "l2", "l3") if other != name]
    for other in others:
        assert float(getattr(terms, other)) == float(getattr(with_all, other))
    weights = {other: getattr(CONFIG, f"{other}_weight") for other in others}
    expected = sum(weight * float(getattr(with_all, other)) for other, weight in weights.items())
    assert float(terms.total) == pytest.approx(expected, rel=1e-6)


WEIGHTS = np.float32([[4 / 3, 4 / 3], [4 / 3, 0]])  # three examples and a copy, on two devices


def on_two_devices(function, *arguments):
    """Mean over devices of a function of three examples, the last of which is there twice."""
    halves = [jnp.stack([x[:2], x[jnp.asarray([2, 2])]]) for x in arguments]
    mapped = jax.vmap(lambda weights, *given: function(*given, weights), axis_name="data")
    return jax.tree.map(lambda x: np.mean(x, axis=0), mapped(jnp.asarray(WEIGHTS), *halves))


def test_copies_that_fill_up_a_batch_count_nothing():
    """Every term, and its gradient."""
    rng = np.random.default_rng(8)
    x, y = (jnp.asarray(rng.normal(size=(3, 2048)), jnp.float32) for _ in range(2))
    assigned = jnp.asarray(rng.uniform(size=(3, 4, 360, 3)), jnp.float32)
    salience = jnp.asarray(rng.uniform(size=(3, 360, 3)), jnp.float32)
    binary = extract_f0(assigned).binary
    config = LossConfig(fft_sizes=(256, 64))

    def terms(*given):
        return full_loss(*given[:5], config, *given[5:])

    found = on_two_devices(terms, x, y, salience, assigned, binary)
    for one, other in zip(found, terms(x, y, salience, assigned, binary), strict=True):
        assert float(one) == pytest.approx(float(other), rel=1e-6)

    def pull(*given):
        return jax.grad(lambda gain: terms(given[0], gain * given[1], *given[2:]).total)(1.0)

    divided = on_two_devices(pull, x, y, salience, assigned, binary)
    assert divided == pytest.approx(float(pull(x, y, salience, assigned, binary)), rel=1e-5)


def test_the_refinement_loss_of_a_divided_batch_is_that_of_the_whole():
    """Though devices have different numbers of silent seconds, and copies among their examples."""
    rng = np.random.default_rng(9)
    sources = rng.standard_normal((3, 2, 32_000)).astype(np.float32)
    sources[0] *= 1e-4
    sources[2, 1, :16_000] = 0
    mixture = sources.sum(axis=1) + 0.1 * rng.standard_normal((3, 32_000)).astype(np.float32)
    masks = rng.uniform(size=(3, 3, 1025, 63)).astype(np.float32)

    def loss(mixture, sources, masks, weights=None, axis="data"):
        settings = RefinerConfig(), AudioConfig(), 0.05
        return refinement_loss(mixture, sources, masks, *settings, weights, axis)

    given = [jnp.asarray(one) for one in (mixture, sources, masks)]
    found = on_two_devices(loss, *given)
    assert found == pytest.approx(float(loss(*given, axis=None)), rel=1e-5)


def test_all_weights_zero_and_given_f0():
    x, y, *_ = full_arguments()
    nothing = LossConfig(rec_weight=0.0, l1_weight=0.0, l2_weight=0.0, l3_weight=0.0)
    assert [float(term) for term in full_loss(*full_arguments(), nothing)] == [0.0] * 5
    terms = full_loss(x, y, None, None, None)
    assert float(terms.total) == float(terms.rec) == pytest.approx(float(spectral_loss(x, y)))
    assert (float(terms.l1), float(terms.l2), float(terms.l3)) == (0.0, 0.0, 0.0)


def _refinement(masks, mixture, sources, silence_weight=0.05):
    return refinement_loss(
        jnp.asarray(mixture),
        jnp.asarray(sources),
        jnp.asarray(masks),
        RefinerConfig(),
        AudioConfig(),
        silence_weight,
    )


def test_refinement_loss_by_closed_form():
    """Masks of 1 for the one voice that sings: nothing but the floors; of ½: a quarter is error."""
    rng = np.random.default_rng(0)
    sources = np.zeros((1, 2, 32_000), np.float32)
    sources[0, 0] = rng.standard_normal(32_000)
    mixture = sources.sum(axis=1)
    perfect = np.zeros((1, 3, 1025, 63), np.float32)
    perfect[:, 0] = 1
    # One voice at −25 dB of its energy, two silent ones at the floor: 0 dB each.
    for weight in (0.0, 0.05, 1.0):
        assert float(_refinement(perfect, mixture, sources, weight)) == pytest.approx(
            10 * np.log10(3e-3 / (1 + 3e-3)) / (1 + 2 * weight), abs=1e-3
        )
    half = perfect.copy()
    half[:, :2] = 0.5
    sings, silent = 10 * np.log10((0.25 + 3e-3) / np.array([1 + 3e-3, 3e-3]))
    for weight in (0.0, 0.05, 1.0):
        expected = (sings + weight * silent) / (1 + 2 * weight)
        assert float(_refinement(half, mixture, sources, weight)) == pytest.approx(
            expected, abs=1e-2
        )


def test_refinement_loss_of_silence_is_finite():
    masks = np.full((1, 3, 1025, 63), 1 / 3, np.float32)
    mixture, sources = np.zeros((1, 32_000), np.float32), np.zeros((1, 2, 32_000), np.float32)
    for weight in (0.0, 0.05):
        assert float(_refinement(masks, mixture, sources, weight)) == 0


def test_mistaken_f0_changes_whole_stretches_at_the_rate_asked_for():
    key = jax.random.key(3)
    f0_hz = jnp.asarray(np.float32([[400.0], [300], [200], [100]])) * jnp.ones((4, 250), np.float32)
    keys = jax.random.split(key, 40)
    changed = np.asarray(jax.vmap(lambda k: mistaken_f0(k, f0_hz, 0.3))(keys))
    is_wrong = changed != np.asarray(f0_hz)
    # A fifteenth of the other notes is the same one.
    assert is_wrong.mean() == pytest.approx(0.3, abs=0.04)
    borders = np.count_nonzero(np.diff(changed, axis=-1), axis=-1)
    assert borders.max() <= 9  # of stretches of half a second
    assert (changed == 0).mean() == pytest.approx(0.1, abs=0.03)
    np.testing.assert_array_equal(mistaken_f0(key, f0_hz, 1e-9), f0_hz)
