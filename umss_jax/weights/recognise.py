"""Which network the weights of a part are of, told from names and shapes alone.

These differ between all networks. Needed where no configuration came with the weights: published
files, and what was stored in format 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from umss_jax.config import ModelConfig, with_networks
from umss_jax.errors import WeightsError
from umss_jax.networks.registry import UNETS, part_shapes, recognise
from umss_jax.trees import Shape, parts


def recognised(variables: Mapping[str, Any], config: ModelConfig | None = None) -> ModelConfig:
    """The configuration with the networks of these weights and the thresholds of their kind.

    Parts that are absent keep what ``config`` says.

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
