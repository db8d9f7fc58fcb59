"""Examples for the assignment network: what the salience network hears in mixes with known F0.

The salience network is trained by then, so each of a number of mixes is heard once and kept; every
time it comes again it is transposed by another number of bins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from umss_jax.config import HcqtConfig
from umss_jax.data.pitched_mixes import PitchedExample, PitchedMixes

_KEPT = 255.0  # saliences are kept in steps of 1/255


class SalienceExample(NamedTuple):
    """A salience and the F0 of the voices in it."""

    salience: np.ndarray
    """float32 [bins, frames] in [0, 1]."""
    f0_hz_cqt: np.ndarray
    """float32 [J, frames], 0 = unvoiced."""


class SalienceMixes:
    """Examples by index; the same index gives the same example, whatever came before.

    Args:
        mixes: what is heard.
        hear: salience [B, bins, frames] of mixtures [B, samples].
        seed: of order and transposition.
        distinct: number of mixes; each pass takes all of them in another order. 0 for a new mix
            every time.
        transposed_bins: maximum number of bins up or down.
        grid: of the bins.
    """

    def __init__(
        self,
        mixes: PitchedMixes,
        hear: Callable[[np.ndarray], np.ndarray],
        seed: int,
        distinct: int = 0,
        transposed_bins: int = 0,
        *,
        grid: HcqtConfig,
    ) -> None:
        self._mixes, self._hear, self._seed = mixes, hear, seed
        self._distinct, self._transposed_bins, self._grid = distinct, transposed_bins, grid
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def batch(self, first: int, count: int) -> SalienceExample:
        """Some examples, stacked."""
        examples = [self.example(first + number) for number in range(count)]
        return SalienceExample(*map(np.stack, zip(*examples, strict=True)))

    def example(self, index: int) -> SalienceExample:
        """The example of an index."""
        which = index
        if self._distinct:
            passed, place = divmod(index, self._distinct)
            order = np.random.default_rng([self._seed, passed, 0]).permutation(self._distinct)
            which = int(order[place])
        kept, f0_hz = self._mix(which)
        salience = kept.astype(np.float32) / np.float32(_KEPT)
        reach = self._transposed_bins
        bins = int(np.random.default_rng([self._seed, index, 1]).integers(-reach, reach + 1))
        ratio = np.float32(2 ** (bins / self._grid.bins_per_octave))
        return SalienceExample(shifted(salience, bins), f0_hz * ratio)

    def _mix(self, which: int) -> tuple[np.ndarray, np.ndarray]:
        if which in self._kept:
            return self._kept[which]
        mix: PitchedExample = self._mixes.example(which)
        heard = np.asarray(self._hear(mix.mixture[None]))[0]
        found = np.round(heard * _KEPT).astype(np.uint8), mix.f0_hz_cqt
        if self._distinct:
            self._kept[which] = found
        return found


def shifted(salience: np.ndarray, bins: int) -> np.ndarray:
    """A salience [bins, frames] moved up; what comes in is zero."""
    moved = np.roll(salience, bins, axis=0)
    if bins > 0:
        moved[:bins] = 0
    elif bins < 0:
        moved[bins:] = 0
    return moved
