"""The networks by name, their fresh variables, and which of them given weights are of.

The names are those of the stored architectures (`weights_convert`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.config import ModelConfig, UnetCondition
from umss_jax.errors import WeightsError
from umss_jax.networks.assignment import VoasClstm, VoasCnn
from umss_jax.networks.decoder import Decoder
from umss_jax.networks.encoder import Encoder
from umss_jax.networks.parts import ALL_PARTS
from umss_jax.networks.refiner import Refiner
from umss_jax.networks.salience import (
    EarlyDeep,
    EarlyShallow,
    LateDeep,
    LateDeepMagnitude,
    SalienceNetwork,
)
from umss_jax.networks.small import SmallSalience, SmallVoices, WideVoices
from umss_jax.networks.unet import Unet, condition_f0
from umss_jax.trees import Shape, flatten, select_parts

SALIENCE_NETWORKS: Mapping[str, Any] = MappingProxyType(
    {
        "early-deep": EarlyDeep,
        "early-shallow": EarlyShallow,
        "late-deep": LateDeep,
        "late-deep-magnitude": LateDeepMagnitude,
        "small-salience": SmallSalience,
    }
)
ASSIGNMENT_NETWORKS: Mapping[str, Any] = MappingProxyType(
    {
        "voas-cnn": VoasCnn,
        "voas-clstm": VoasClstm,
        "small-voices": SmallVoices,
        "wide-voices": WideVoices,
    }
)
UNETS = MappingProxyType({f"unet-{condition}": condition for condition in UnetCondition})

_KNOWN: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"salience": SALIENCE_NETWORKS, "assignment": ASSIGNMENT_NETWORKS, "unet": UNETS}
)


def salience_network(config: ModelConfig) -> SalienceNetwork | SmallSalience:
    """The salience module that ``config`` names."""
    network: SalienceNetwork = SALIENCE_NETWORKS[config.salience_network](config=config.conv)
    return network


def salience_inputs(
    magnitude_db: jax.Array, phase_difference: jax.Array, config: ModelConfig
) -> tuple[jax.Array, ...]:
    """The features that the salience network takes: both, or the magnitude alone."""
    with_phase = SALIENCE_NETWORKS[config.salience_network].with_phase
    return (magnitude_db, phase_difference) if with_phase else (magnitude_db,)


def assignment_network(config: ModelConfig) -> VoasCnn | VoasClstm | SmallVoices:
    """The assignment module that ``config`` names."""
    kind = ASSIGNMENT_NETWORKS[config.assignment_network]
    network: VoasCnn = kind(config=config.conv, voices=len(config.voices))
    return network


def unet_network(config: ModelConfig, axis: str | None = None) -> Unet:
    """The U-Net with the condition that ``config`` names; ``axis``: see :class:`Unet`."""
    return Unet(config.unet, config.hcqt, config.synth, axis)


def init_part(part: str, key: jax.Array, config: ModelConfig) -> dict[str, Any]:
    """Fresh variables of one part, ``{'params': …}`` and, for the CNNs, ``'batch_stats'``.

    Raises:
        ValueError: ``part`` is none of :data:`ALL_PARTS`.
    """
    frames = 8  # parameters do not depend on the length; a few frames keep initialisation cheap
    bins = config.hcqt.bins
    module: nn.Module
    inputs: tuple[jax.Array, ...]
    if part == "salience":
        example = jnp.zeros((1, len(config.hcqt.harmonics), bins, frames))
        module, inputs = salience_network(config), salience_inputs(example, example, config)
    elif part == "assignment":
        module, inputs = assignment_network(config), (jnp.zeros((1, bins, frames)),)
    elif part == "encoder":
        spectrum = jnp.zeros((1, frames, config.encoder.fft_size // 2 + 1))
        module, inputs = Encoder(config.encoder), (spectrum,)
    elif part == "decoder":
        latent = jnp.zeros((1, frames, config.encoder.latent))
        module = Decoder(config.decoder)
        inputs = (latent, jnp.full((1, len(config.voices), frames), 200.0))
    elif part == "unet":
        mixture = jnp.zeros((1, frames * config.unet.hop_samples))
        module = unet_network(config)
        inputs = (mixture, condition_f0(jnp.full((1, frames), 200.0), config.unet))
    elif part == "refiner":
        spectra = jnp.zeros((1, len(config.voices), config.refiner.fft_size // 2 + 1, frames))
        module, inputs = Refiner(config.refiner, config.conv), (spectra[:, 0], spectra)
    else:
        raise ValueError(f"no part named {part!r}: choose from {', '.join(ALL_PARTS)}")
    return dict(module.init(key, *inputs))


@lru_cache
def part_shapes(part: str, config: ModelConfig) -> dict[str, Shape]:
    """Shape of every array of one of :data:`ALL_PARTS`, by its flat name in whole variables.

    Raises:
        ValueError: there is no such part.
    """
    tree = jax.eval_shape(partial(init_part, part, config=config), jax.random.key(0))
    whole = {collection: {part: leaves} for collection, leaves in tree.items()}
    return {name: leaf.shape for name, leaf in flatten(whole).items()}


def network_shapes(name: str, config: ModelConfig = ModelConfig()) -> dict[str, Shape] | None:
    """As :func:`part_shapes`, of the network of this name; None where none is called so."""
    for part, known in _KNOWN.items():
        if name in known:
            return part_shapes(part, _with_network(config, part, name))
    return None


def _with_network(config: ModelConfig, part: str, name: str) -> ModelConfig:
    """The configuration with another network of a part, all its settings kept."""
    if part == "salience":
        return replace(config, salience_network=name)
    if part == "assignment":
        return replace(config, assignment_network=name)
    return replace(config, unet=replace(config.unet, condition=UNETS[name]))


def recognise(variables: Mapping[str, Any], part: str, config: ModelConfig = ModelConfig()) -> str:
    """Name of the network that a part's weights are of.

    Told from names and shapes, which differ between all networks; so weights whose metadata name no
    architecture, as after training, are recognised too.

    The variables are ``{'params': {part: …}, 'batch_stats': {part: …}}``, the part ``salience``,
    ``assignment`` or ``unet``.

    Raises:
        WeightsError: the part is not there, or of no network known.
    """
    known = _KNOWN[part]
    leaves = flatten(select_parts(variables, [part]))
    found = {name: np.shape(leaf) for name, leaf in leaves.items()}
    candidates = {name: _with_network(config, part, name) for name in known}
    # The configured network first: each of the others takes a tenth of a second to trace.
    for name in sorted(known, key=lambda name: candidates[name] != config):
        if part_shapes(part, candidates[name]) == found:
            return name
    raise WeightsError(
        f"the part {part!r} of these weights is of no network known",
        f"import one of {', '.join(known)}",
    )
