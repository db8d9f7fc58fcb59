"""Training strategies as data: what trains, which losses count, where a batch begins, how long."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from umss_jax.train.config import LossConfig

Start = Literal["mixture", "salience", "f0"]

_RECONSTRUCTION = LossConfig(l1_weight=0.0, l2_weight=0.0, l3_weight=0.0)
_F0_LOSSES = LossConfig(rec_weight=0.0)
_SYNTHESIS = ("encoder", "decoder")


@dataclass(frozen=True)
class Strategy:
    """One row of the paper's section 4.2, or of what goes beyond it."""

    title: str
    """As the paper writes it."""
    trainable: tuple[str, ...]
    """Parts from :data:`umss_jax.model.ALL_PARTS`; the others are frozen."""
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
"""Single steps, as the bench measures them."""


@dataclass(frozen=True)
class Phase:
    """An interval of a run in which the same parts train on the same losses."""

    name: str
    step: Strategy
    epochs: int | None = None
    """None: until it no longer improves, at most ``max_epochs``."""
    with_sources: bool = False
    """L_rec between true and synthesised voices instead of the mixtures."""


_UNET = Strategy("C-U-Net", ("unet",), _RECONSTRUCTION, "f0")
_REFINER = Strategy("refined masks", ("refiner",), _RECONSTRUCTION, "mixture")
_ASSIGNMENT_ALONE = Strategy("W_UP 1", ("assignment",), _F0_LOSSES, "mixture")

SCHEDULES: dict[str, tuple[Phase, ...]] = {
    "umss": (Phase("synthesis", STRATEGIES["umss"]),),
    "sf_sf": (Phase("synthesis", STRATEGIES["sf_sf"]),),
    "sf_sft": (Phase("assignment_and_synthesis", STRATEGIES["sf_sft"]),),
    "sft_sft": (Phase("everything", STRATEGIES["sft_sft"]),),
    "w_up": (
        Phase("assignment", _ASSIGNMENT_ALONE, 50),
        Phase("synthesis", STRATEGIES["sf_sf"], 50),
        Phase("everything", STRATEGIES["sft_sft"]),
    ),
    # The paper does not say when all is unfrozen; 50 epochs are those of the phases of W_UP.
    "sf_sft_f": (
        Phase("assignment_and_synthesis", STRATEGIES["sf_sft"], 50),
        Phase("everything", STRATEGIES["sft_sft"]),
    ),
    "supervised": (Phase("synthesis", STRATEGIES["umss"], with_sources=True),),
    "unet": (Phase("unet", _UNET, with_sources=True),),
    "refine": (Phase("refiner", _REFINER, with_sources=True),),
}
"""Whole runs by name: one row a phase."""


def cached(strategy: Strategy) -> Strategy:
    """The same step from what the frozen networks at its beginning say, instead of the mixture.

    That is the F0 where salience and assignment are frozen, else the salience where that is
    frozen; with the salience network training there is nothing to cache.
    """
    if strategy.start != "mixture" or "salience" in strategy.trainable:
        return strategy
    start: Start = "salience" if "assignment" in strategy.trainable else "f0"
    return replace(strategy, start=start)


def weighted(switches: LossConfig, weights: LossConfig) -> LossConfig:
    """The losses of a row with the weights and sizes of a run: what the row leaves out stays 0."""
    names = ("rec_weight", "l1_weight", "l2_weight", "l3_weight")
    off: dict[str, Any] = {name: 0.0 for name in names if not getattr(switches, name)}
    return replace(weights, **off)
