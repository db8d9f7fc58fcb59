"""Which network the weights of a part are of, told from names and shapes alone.

These differ between all networks. Needed where no configuration came with the weights: published
files, and what was stored in format 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from umss_jax.config import ModelConfig, with_networks
from umss_jax.errors import WeightsError
from umss_jax.model import part_shapes
from umss_jax.networks.registry import ASSIGNMENT_NETWORKS, SALIENCE_NETWORKS, UNETS
from umss_jax.weights.tree import Shape, flatten, parts, select_parts


def recognise(variables: Mapping[str, Any], part: str) -> str:
    """Name of the network that a part's weights are of.

    Args:
        variables: ``{'params': {part: …}, 'batch_stats': {part: …}}``.
        part: ``salience``, ``assignment`` or ``unet``.

    Raises:
        WeightsError: the part is not there, or of no network known.
    """
    flat = flatten(select_parts(variables, [part]))
    found = {name: np.shape(leaf) for name, leaf in flat.items()}
    known = _networks(part)
    for name, config in known.items():
        if part_shapes(part, config) == found:
            return name
    raise WeightsError(
        f"the part {part!r} of these weights is of no network known",
        f"import one of {', '.join(known)}",
    )


def recognised(variables: Mapping[str, Any], config: ModelConfig | None = None) -> ModelConfig:
    """The configuration with the networks of these weights and the thresholds of their kind.

    Args:
        variables: any parts; those absent keep what ``config`` says.
        config: all other settings.

    Raises:
        WeightsError: a part is of no network known.
    """
    config = config or ModelConfig()
    there = parts(variables)
    salience, assignment = (
        recognise(variables, part) if part in there else None for part in ("salience", "assignment")
    )
    config = with_networks(config, salience, assignment)
    if "unet" in there:
        condition = UNETS[recognise(variables, "unet")]
        config = replace(config, unet=replace(config.unet, condition=condition))
    return config


def expected_shapes(config: ModelConfig, of: Iterable[str]) -> dict[str, Shape]:
    """Shapes by flat name of the variables of some parts.

    Raises:
        WeightsError: the configuration makes no network.
    """
    try:
        return {name: shape for part in of for name, shape in part_shapes(part, config).items()}
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"the configuration makes no network ({reason})", "mend it") from error


def _networks(part: str) -> dict[str, ModelConfig]:
    """Every network that a part may be of, as a configuration."""
    plain = ModelConfig()
    if part == "salience":
        return {name: with_networks(plain, salience=name) for name in SALIENCE_NETWORKS}
    if part == "assignment":
        return {name: with_networks(plain, assignment=name) for name in ASSIGNMENT_NETWORKS}
    return {
        name: replace(plain, unet=replace(plain.unet, condition=condition))
        for name, condition in UNETS.items()
    }
