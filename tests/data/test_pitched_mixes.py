"""What the assignment network learns from: kept saliences, transposed with their F0."""

import jax.numpy as jnp
import numpy as np
import pytest

from umss_jax.config import HcqtConfig
from umss_jax.data.pitched_mixes import PitchedExample, SalienceMixes, shifted
from umss_jax.pitch.targets import mixture_target, pitch_targets

GRID = HcqtConfig()


class Mixes:
    """Four steady voices a mix, whose number is in the samples."""

    def example(self, index):
        hz = np.asarray([400.0, 300.0, 200.0, 100.0]) * 2 ** (index / 60)
        return PitchedExample(
            np.full(16, index, np.float32), np.repeat(hz[:, None], 3, axis=1).astype(np.float32)
        )


class Ear:
    """Hears the targets themselves, and counts."""

    def __init__(self):
        self.heard = []

    def __call__(self, mixture):
        index = int(mixture[0, 0])
        self.heard.append(index)
        return mixture_target(pitch_targets(jnp.asarray(Mixes().example(index).f0_hz_cqt), 1.0))[
            None
        ]


def test_every_pass_takes_every_mix_and_hears_it_once():
    ear = Ear()
    mixes = SalienceMixes(Mixes(), ear, seed=3, distinct=6, grid=GRID)
    orders = []
    for first in (0, 6, 12):
        f0_hz = mixes.batch(first, 6).f0_hz_cqt[:, 0, 0]
        orders.append(tuple(np.round(60 * np.log2(f0_hz / 400)).astype(int)))
        assert sorted(orders[-1]) == list(range(6))
    assert len(set(orders)) > 1
    assert sorted(ear.heard) == list(range(6))


def test_without_a_number_of_mixes_each_is_new():
    ear = Ear()
    SalienceMixes(Mixes(), ear, seed=3, grid=GRID).batch(4, 3)
    assert ear.heard == [4, 5, 6]


@pytest.mark.parametrize("index", range(8))
def test_salience_and_f0_move_together(index):
    example = SalienceMixes(
        Mixes(), Ear(), seed=3, distinct=2, transposed_bins=20, grid=GRID
    ).example(index)
    expected = mixture_target(pitch_targets(jnp.asarray(example.f0_hz_cqt), 1.0))
    np.testing.assert_allclose(example.salience, expected, atol=0.5 / 255)


def test_an_example_does_not_depend_on_those_before():
    one = SalienceMixes(Mixes(), Ear(), seed=3, distinct=6, transposed_bins=20, grid=GRID)
    other = SalienceMixes(Mixes(), Ear(), seed=3, distinct=6, transposed_bins=20, grid=GRID)
    one.batch(0, 9)
    for ours, theirs in zip(one.example(10), other.example(10), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    moves = {float(one.example(index).f0_hz_cqt[0, 0]) for index in range(24)}
    assert len(moves) > 6


def test_what_moves_in_is_silent():
    salience = np.ones((5, 2), np.float32)
    np.testing.assert_array_equal(shifted(salience, 2)[:, 0], [0, 0, 1, 1, 1])
    np.testing.assert_array_equal(shifted(salience, -1)[:, 0], [1, 1, 1, 1, 0])
    np.testing.assert_array_equal(shifted(salience, 0), salience)
