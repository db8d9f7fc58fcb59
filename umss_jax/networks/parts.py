"""The parts of a model by name, without the networks: nothing here imports JAX.

A model may be separated with by programs that were compiled before; then no network is ever built.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from umss_jax.config import Assigner, ModelConfig, TrackAssigner
from umss_jax.errors import UsageError

AssignerKind = TypeVar("AssignerKind", Assigner, TrackAssigner)

ALL_PARTS: tuple[str, ...] = ("salience", "assignment", "encoder", "decoder", "unet", "refiner")
"""Whatever variables may hold."""

F0_PARTS: tuple[str, ...] = ("salience", "assignment")
"""The networks that F0 comes from, in the order of the data flow."""

PARTS: tuple[str, ...] = (*F0_PARTS, "encoder", "decoder")
"""The four networks, in the order of the data flow."""

REFINER = "refiner"
"""The part that refines masks; a model needs none."""


class VoiceModel(NamedTuple):
    """What separates once the F0 is known: :data:`SOURCE_FILTER` or :data:`UNET`."""

    parts: tuple[str, ...]
    """Those after the F0 networks, in the order of the data flow."""
    needs_stems: bool
    """Whether it learns from stems alone, and never from a mixture."""


SOURCE_FILTER = VoiceModel(("encoder", "decoder"), needs_stems=False)
"""The paper's: source-filter synthesis of every voice."""

UNET = VoiceModel(("unet",), needs_stems=True)
"""The supervised baseline: a U-Net that is told the F0."""


def voice_model(parts: Iterable[str]) -> VoiceModel:
    """The voice model that some parts belong to: where there is a U-Net, it separates."""
    return UNET if set(UNET.parts) <= set(parts) else SOURCE_FILTER


def resolve_assigner(
    assigner: AssignerKind, has_network: bool, config: ModelConfig, model: str
) -> AssignerKind:
    """What gives the pitches to the voices of a model: never *auto*.

    *auto* is the model's own network, which ``config`` names, or, where there are no weights of
    one (``has_network``), the continuity rule. The model's name is for messages.

    Raises:
        UsageError: another network was asked for than the weights are of.
    """
    kind = type(assigner)
    if assigner in (kind.HEURISTIC, "none") or not has_network:
        return kind.HEURISTIC if assigner is kind.AUTO else assigner
    network = config.assignment_network
    if assigner not in (kind.AUTO, network):
        raise UsageError(
            f"the assignment network of model {model} is {network}, not {assigner}",
            f"use the assigner {network} or auto, or add a model that has one ({model}+OTHER)",
        )
    return kind(network)
