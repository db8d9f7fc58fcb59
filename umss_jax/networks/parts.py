"""The parts of a model by name, without the networks: nothing here imports JAX.

A model may be separated with by programs that were compiled before; then no network is ever built.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from umss_jax.config import RULES, Assigner, ModelConfig, TrackAssigner, VoicesConfig
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
    assigner: AssignerKind,
    has_network: bool,
    config: ModelConfig,
    model: str,
    voices: VoicesConfig | None = None,
) -> AssignerKind:
    """What gives the pitches to the voices of a model: never *auto*.

    *auto* is the model's own network, which ``config`` names; the ranges of the ``voices`` that are
    asked for, where these are others than the network's; or, where there are no weights of one
    (``has_network``), the continuity rule for the usual voices and the ranges for others. The
    model's name is for messages.

    Raises:
        UsageError: another network was asked for than the weights are of, or one of other voices.
    """
    kind = type(assigner)
    is_other = voices is not None and not voices.are_those_of(config.voices)
    if assigner in (*RULES, TrackAssigner.NONE) or not has_network:
        if assigner is not kind.AUTO:
            return assigner
        return kind.HEURISTIC if (voices or config.voices).is_usual else kind.RANGES
    network = config.assignment_network
    if is_other:
        if assigner is kind.AUTO:
            return kind.RANGES
        raise UsageError(
            f"the assignment network of model {model} is of {', '.join(config.voices.names)}",
            "use the assigner ranges or heuristic for other voices",
        )
    if assigner not in (kind.AUTO, network):
        raise UsageError(
            f"the assignment network of model {model} is {network}, not {assigner}",
            f"use the assigner {network} or auto, or add a model that has one ({model}+OTHER)",
        )
    return kind(network)
