"""The networks by name: those of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

import jax

from umss_jax.config import (
    Assigner,
    ModelConfig,
    TrackAssigner,
    UnetCondition,
)
from umss_jax.errors import UsageError
from umss_jax.networks.assignment import VoasClstm, VoasCnn
from umss_jax.networks.salience import (
    EarlyDeep,
    EarlyShallow,
    LateDeep,
    LateDeepMagnitude,
    SalienceNetwork,
)
from umss_jax.networks.small import SmallSalience, SmallVoices
from umss_jax.networks.unet import Unet

AssignerKind = TypeVar("AssignerKind", Assigner, TrackAssigner)

SalienceClass = (
    type[LateDeep]
    | type[LateDeepMagnitude]
    | type[EarlyDeep]
    | type[EarlyShallow]
    | type[SmallSalience]
)
AssignmentClass = type[VoasCnn] | type[VoasClstm] | type[SmallVoices]

SALIENCE_NETWORKS: Mapping[str, SalienceClass] = MappingProxyType(
    {
        "early-deep": EarlyDeep,
        "early-shallow": EarlyShallow,
        "late-deep": LateDeep,
        "late-deep-magnitude": LateDeepMagnitude,
        "small-salience": SmallSalience,
    }
)
ASSIGNMENT_NETWORKS: Mapping[str, AssignmentClass] = MappingProxyType(
    {"voas-cnn": VoasCnn, "voas-clstm": VoasClstm, "small-voices": SmallVoices}
)
UNETS: Mapping[str, UnetCondition] = MappingProxyType(
    {f"unet-{condition}": condition for condition in UnetCondition}
)


def salience_network(config: ModelConfig) -> SalienceNetwork | SmallSalience:
    """The salience module that ``config`` names."""
    return SALIENCE_NETWORKS[config.salience_network](config=config.conv)


def salience_inputs(
    magnitude_db: jax.Array, phase_difference: jax.Array, config: ModelConfig
) -> tuple[jax.Array, ...]:
    """The features that the salience network takes: both, or the magnitude alone."""
    with_phase = SALIENCE_NETWORKS[config.salience_network].with_phase
    return (magnitude_db, phase_difference) if with_phase else (magnitude_db,)


def assignment_network(config: ModelConfig) -> VoasCnn | VoasClstm | SmallVoices:
    """The assignment module that ``config`` names."""
    return ASSIGNMENT_NETWORKS[config.assignment_network](config=config.conv)


def unet_network(config: ModelConfig, axis: str | None = None) -> Unet:
    """The U-Net with the condition that ``config`` names; ``axis``: see :class:`Unet`."""
    return Unet(config.unet, config.hcqt, config.synth, axis)


def resolve_assigner(
    assigner: AssignerKind, has_network: bool, config: ModelConfig, model: str
) -> AssignerKind:
    """What gives the pitches to the voices of a model: never *auto*.

    Args:
        assigner: as asked for; *auto* is the model's own network, or the continuity rule where it
            has none.
        has_network: whether there are weights of an assignment network.
        config: names that network.
        model: its name, for messages.

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
