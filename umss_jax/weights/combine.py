"""Weights by name, or several combined: ``my-salience+my-assigner``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from umss_jax.config import ModelConfig, VoicesConfig
from umss_jax.errors import UsageError, WeightsError
from umss_jax.networks.parts import ALL_PARTS
from umss_jax.trees import Variables, flatten, mean_variables, parts, select_parts
from umss_jax.weights import store
from umss_jax.weights.configuration import (
    Source,
    join,
    restore,
    voices_of,
    without_other_voices,
)
from umss_jax.weights.store import StoredWeights


def load_weights(name: str, base: ModelConfig | None = None) -> StoredWeights:
    """Weights by name in the store or by ``.safetensors`` file, or several combined by ``+``.

    Of a part that several bring (salience, assignment, encoder, decoder, unet) the last one's is
    taken, and with it the settings that it was trained with: ``published+my-unet`` separates by a
    U-Net on the published networks' F0, and ``published+my-assigner`` replaces the published
    assignment network. An assignment network of other voices than what synthesises is left out.

    What the weights do not bring, and how to compute, is as in ``base``. Metadata of one model are
    as stored, of several by name under ``combined``.

    Raises:
        UnknownModelError: there is nothing of a name.
        WeightsError: weights are damaged or do not fit.
        UsageError: nothing stands before or after a ``+``, or parts do not go together.
    """
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    metadata: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for one in names_of(name):
        loaded = store.load(one)
        metadata[one] = loaded.metadata
        for part in parts(loaded.variables):
            sources[part] = Source(one, loaded.config)
            for collection, trees in variables.items():
                trees.pop(part, None)
                if part in loaded.variables.get(collection, {}):
                    trees[part] = loaded.variables[collection][part]
    fitting = without_other_voices(sources)
    for part in sources.keys() - fitting.keys():
        for trees in variables.values():
            trees.pop(part, None)
    about = {"combined": metadata} if len(metadata) > 1 else next(iter(metadata.values()))
    return StoredWeights(variables, join(fitting, base or ModelConfig()), about)


def average_weights(names: Sequence[str]) -> StoredWeights:
    """The mean of the weights of several models of the same networks, of the parts that all have.

    The mean of a network before and after further training keeps more of what it knew, and often
    does better than either on recordings of other kinds (Wortsman et al., *Robust fine-tuning of
    zero-shot models*, CVPR 2022). Settings are those of the first.

    Raises:
        UnknownModelError, WeightsError: as :func:`load_weights`, or the networks differ.
        UsageError: fewer than two models, or no part that all have.
    """
    if len(names) < 2:
        raise UsageError("a mean needs two models or more", "name another")
    models = [load_weights(name) for name in names]
    common = [part for part in ALL_PARTS if all(part in parts(m.variables) for m in models)]
    if not common:
        raise UsageError(f"{' and '.join(names)} have no part in common", "name other models")
    chosen = [select_parts(one.variables, common) for one in models]
    flat = [flatten(one) for one in chosen]
    shapes = [{name: np.shape(leaf) for name, leaf in leaves.items()} for leaves in flat]
    for name, found in zip(names[1:], shapes[1:], strict=True):
        if found != shapes[0]:
            raise WeightsError(
                f"{name} and {names[0]} have other networks in {', '.join(common)}",
                "take the mean of models of the same networks",
            )
    return StoredWeights(mean_variables(chosen), models[0].config, {})


def stored_configuration(name: str, base: ModelConfig | None = None) -> ModelConfig:
    """The configuration of :func:`load_weights`; of format 2 without reading any tensors."""
    sources: dict[str, Source] = {}
    for one in names_of(name):
        metadata = store.read_metadata(one)
        if metadata["format"] == 1:
            return load_weights(name, base).config
        config = restore(metadata.get("configuration"), one)
        sources |= {part: Source(one, config) for part in metadata["parts"]}
    return join(without_other_voices(sources), base or ModelConfig())


def fitting_parts(
    variables: Variables, trained: VoicesConfig, wanted: VoicesConfig
) -> dict[str, Any]:
    """Variables for some voices: all but an assignment network that was trained for others."""
    fits = trained.are_those_of(wanted)
    kept = [part for part in parts(variables) if fits or part != "assignment"]
    return select_parts(variables, kept)


def stored_voices(name: str) -> VoicesConfig:
    """The voices that weights were trained with; the usual ones where they do not say.

    Raises:
        UnknownModelError, WeightsError: as :func:`load_weights`.
    """
    sources: dict[str, Source] = {}
    for one in names_of(name):
        metadata = store.read_metadata(one)
        if metadata["format"] != 1:
            config = restore(metadata.get("configuration"), one)
            sources |= {part: Source(one, config) for part in metadata["parts"]}
    return voices_of(sources, VoicesConfig())


def model_name(name: str) -> str:
    """The folder name of a model that may be given as a file, or as several."""
    paths = [Path(one) for one in names_of(name)]
    return "+".join(path.stem if path.suffix == ".safetensors" else path.name for path in paths)


def names_of(name: str) -> list[str]:
    """The models of a combination; the path of a file may have a ``+`` of its own.

    Raises:
        UsageError: nothing stands before or after a ``+``.
    """
    endings = ("", ".safetensors") if os.sep in name else ("",)
    is_file = any(Path(name + ending).is_file() for ending in endings)
    names = [name] if is_file else name.split("+")
    if not all(names):
        raise UsageError(f"{name!r} names no model on one side of a +", "give a name on both")
    return names
