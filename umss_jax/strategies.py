"""Training strategies as data: what trains, which losses count, where a batch begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from umss_jax.config import LossConfig

Start = Literal["mixture", "salience", "f0"]

_RECONSTRUCTION = LossConfig(l1_weight=0.0, l2_weight=0.0, l3_weight=0.0)
_SYNTHESIS = ("encoder", "decoder")


@dataclass(frozen=True)
class Strategy:
    """One row of the paper's section 4.2."""

    title: str
    """As the paper writes it."""
    trainable: tuple[str, ...]
    """Parts from :data:`umss_jax.model.PARTS`; the others are frozen."""
    loss: LossConfig
    start: Start
    """What a batch brings: the mixture alone, or with it a salience or F0 computed before."""


STRATEGIES: dict[str, Strategy] = {
    "umss": Strategy("UMSS", _SYNTHESIS, _RECONSTRUCTION, "f0"),
    "sf_sf": Strategy("S_F S_F", _SYNTHESIS, _RECONSTRUCTION, "mixture"),
    "sf_sf_cached": Strategy("S_F S_F, F0 cached", _SYNTHESIS, _RECONSTRUCTION, "f0"),
    "sf_sft": Strategy("S_F S_FT", ("assignment", *_SYNTHESIS), LossConfig(), "mixture"),
    "sf_sft_cached": Strategy(
        "S_F S_FT, salience cached", ("assignment", *_SYNTHESIS), LossConfig(), "salience"
    ),
    "sft_sft": Strategy(
        "S_FT S_FT", ("salience", "assignment", *_SYNTHESIS), LossConfig(), "mixture"
    ),
}
