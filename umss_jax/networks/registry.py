"""The networks by name, and which of them given weights are of.

The names are those of the stored architectures (`weights_convert`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

import jax
import numpy as np

from umss_jax.config import (
    MULTI_F0_THRESHOLDS,
    VOICE_THRESHOLDS,
    Assigner,
    ModelConfig,
    TrackAssigner,
    UnetCondition,
)
from umss_jax.errors import UsageError, WeightsError
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
from umss_jax.weights.store import architecture_shapes
from umss_jax.weights.tree import flatten, parts, select_parts

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

_KNOWN: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"salience": SALIENCE_NETWORKS, "assignment": ASSIGNMENT_NETWORKS, "unet": UNETS}
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


def recognise(variables: Mapping[str, Any], part: str) -> str:
    """Name of the network that a part's weights are of.

    Told from names and shapes, which differ between all networks; so weights without a side-car's
    architecture, as after training, are recognised too. Where a side-car names one, loading has
    checked it against the same shapes.

    Args:
        variables: ``{'params': {part: …}, 'batch_stats': {part: …}}``.
        part: ``salience``, ``assignment`` or ``unet``.

    Raises:
        WeightsError: the part is not there, or of no network known.
    """
    known = _KNOWN[part]
    found = {
        name: np.shape(leaf) for name, leaf in flatten(select_parts(variables, [part])).items()
    }
    for name in known:
        if architecture_shapes(name) == found:
            return name
    raise WeightsError(
        f"the part {part!r} of these weights is of no network known",
        f"import one of {', '.join(known)}",
    )


def resolve_assigner(
    assigner: AssignerKind, variables: Mapping[str, Any], model: str
) -> AssignerKind:
    """What gives the pitches to the voices of these weights: never *auto*.

    Args:
        assigner: as asked for; *auto* is the weights' own network, or the continuity rule where
            they have none.
        variables: of the model.
        model: its name, for messages.

    Raises:
        UsageError: another network was asked for than the weights are of.
        WeightsError: their assignment is of no network known.
    """
    kind = type(assigner)
    if assigner in (kind.HEURISTIC, "none") or "assignment" not in parts(variables):
        return kind.HEURISTIC if assigner is kind.AUTO else assigner
    network = recognise(variables, "assignment")
    if assigner not in (kind.AUTO, network):
        raise UsageError(
            f"the assignment network of model {model} is {network}, not {assigner}",
            f"use the assigner {network} or auto, or add a model that has one ({model}+OTHER)",
        )
    return kind(network)


def config_for(variables: Mapping[str, Any], config: ModelConfig | None = None) -> ModelConfig:
    """The configuration with the networks of these weights and their thresholds.

    Args:
        variables: any parts; those absent keep what ``config`` says.
        config: all other settings.

    Raises:
        WeightsError: a part is of no network known.
    """
    config = config or ModelConfig()
    if "salience" in parts(variables):
        name = recognise(variables, "salience")
        f0 = replace(config.f0, multi_f0_threshold=MULTI_F0_THRESHOLDS[name])
        config = replace(config, salience_network=name, f0=f0)
    if "assignment" in parts(variables):
        name = recognise(variables, "assignment")
        f0 = replace(config.f0, thresholds=VOICE_THRESHOLDS[name])
        config = replace(config, assignment_network=name, f0=f0)
    if "unet" in parts(variables):
        condition = UNETS[recognise(variables, "unet")]
        config = replace(config, unet=replace(config.unet, condition=condition))
    return config
