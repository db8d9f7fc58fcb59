"""Configurations of runs: a short TOML file over the defaults, ``key=value`` over both.

Keys are the names of the fields of :class:`umss_jax.train.config.TrainConfig`, dotted where
dataclasses nest (``data.train.folders``, ``optimiser.learning_rate``). Unknown ones are refused.
What is not set of the model is as the weights have it that the run begins with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from umss_jax.config import (
    VOICES,
    HcqtConfig,
    ModelConfig,
    VoicesConfig,
    with_networks,
    with_voices,
)
from umss_jax.config_tree import build, plain, with_overrides
from umss_jax.errors import UsageError, brief
from umss_jax.train.config import PretrainConfig, TrainConfig
from umss_jax.train.reference_settings import read_reference
from umss_jax.train.settings_file import settings_tree
from umss_jax.train.strategies import SCHEDULES
from umss_jax.voice_sets import as_voices
from umss_jax.words import counted

Config = TypeVar("Config", TrainConfig, PretrainConfig)


_LONGEST_NAME = 200
"""Of a run, in bytes: file systems take 255 with what is added to it."""


def split_arguments(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """File and overrides of a command line; the file, if any, comes first.

    Raises:
        UsageError: a second file, or an override that is none.
    """
    file = Path(arguments[0]) if arguments and "=" not in arguments[0] else None
    overrides = list(arguments[1:] if file else arguments)
    for override in overrides:
        if "=" not in override:
            raise UsageError(f"{brief(override)} is no override", "write key=value")
    return file, overrides


def read_tree(file: Path | None, reference: Path | None = None) -> dict[str, Any]:
    """The settings in a TOML file, or in the reference's ``config.txt``; of none, none.

    Raises:
        UsageError: the file cannot be read, or both are given.
    """
    if reference is not None:
        if file is not None:
            raise UsageError(f"both {file} and {reference} are given", "give one of them")
        return read_reference(reference)
    if file is None:
        return {}
    return settings_tree(file)


def open_run(tree: Mapping[str, Any], overrides: Iterable[str] = ()) -> TrainConfig:
    """The configuration of a run, whose model is that of its initial weights where not set.

    Args:
        tree: from :func:`read_tree`.
        overrides: ``key=value``; a value is TOML (``3``, ``[1, 2]``, ``true``), else text.

    Raises:
        UsageError: an unknown key, a value that does not fit.
        UnknownModelError, WeightsError: there are no such weights, or they are damaged.
    """
    tree = with_overrides(tree, overrides)
    return build_run(tree, model=_model_of(build_run(tree).weights, TrainConfig().model))


def open_pretraining(tree: Mapping[str, Any], overrides: Iterable[str] = ()) -> PretrainConfig:
    """As :func:`open_run`, the configuration of a pre-training; errors likewise."""
    tree = with_overrides(tree, overrides)
    model = _model_of(build_pretraining(tree).weights, PretrainConfig().model)
    return build_pretraining(tree, model=model)


def build_run(
    tree: Mapping[str, Any], overrides: Iterable[str] = (), model: ModelConfig | None = None
) -> TrainConfig:
    """The configuration of a run, checked, without a look at any weights.

    Arguments and errors as :func:`open_run`; ``model`` holds where nothing is set of it.
    """
    config = _built(TrainConfig(), with_overrides(tree, overrides), model)
    schedule = SCHEDULES.get(config.strategy)
    if schedule is None:
        raise UsageError(
            f"no strategy is called {brief(config.strategy)}", f"choose from {', '.join(SCHEDULES)}"
        )
    if config.epochs and len(config.epochs) != len(schedule):
        raise UsageError(
            f"epochs has {counted(len(config.epochs), 'number')}, "
            f"{config.strategy} {counted(len(schedule), 'phase')}",
            "give one number for each phase",
        )
    if not 1 <= config.batch <= config.epoch_examples or min(config.epochs, default=0) < 0:
        raise UsageError(
            f"an epoch of {config.epoch_examples} examples in batches of {config.batch}",
            "let an epoch hold at least one batch, and give no negative number of epochs",
        )
    bins = config.model.hcqt.bins
    if config.data.scores and all(phase.step.start != "f0" for phase in schedule):
        known = [name for name, phases in SCHEDULES.items() if phases[0].step.start == "f0"]
        raise UsageError(
            f"data.scores is of no use with strategy {config.strategy}, which finds F0 itself",
            f"choose from {', '.join(known)}, or leave it out",
        )
    voices = len(config.model.voices)
    if len(config.loss.voice_bands_bins) != voices:
        raise UsageError(
            f"loss.voice_bands_bins has {len(config.loss.voice_bands_bins)} values",
            f"give {voices}, one for each voice",
        )
    if max(last for _, last in config.loss.voice_bands_bins) >= bins:
        raise UsageError(
            f"loss.voice_bands_bins is {brief(config.loss.voice_bands_bins)}",
            f"stay below the {bins} bins of model.hcqt",
        )
    return config


def build_pretraining(
    tree: Mapping[str, Any], overrides: Iterable[str] = (), model: ModelConfig | None = None
) -> PretrainConfig:
    """As :func:`build_run`, the configuration of a pre-training; errors likewise."""
    config = _built(PretrainConfig(), with_overrides(tree, overrides), model)
    phases = (config.steps, config.batch, config.crop_s)
    if any(len(values) != 2 for values in phases) or min(config.steps) < 0 or min(config.batch) < 1:
        raise UsageError(
            f"steps {config.steps}, batch {config.batch}, crop_s {config.crop_s}",
            "give two of each: for the salience network and for the assignment network",
        )
    voices = config.model.voices
    if config.drawn.folder and not voices.is_usual:
        raise UsageError(
            f"drawn.folder is of {', '.join(VOICES)}, and model.voices {', '.join(voices.names)}",
            "leave it out for other voices",
        )
    return config


def _built(default: Config, tree: Mapping[str, Any], model: ModelConfig | None) -> Config:
    """The tree over the defaults, with a model that has the thresholds of the tree's networks."""
    tree = _with_ranges(tree)
    model = _default_model(tree, model or default.model)
    default = replace(default, model=model)
    if isinstance(default, TrainConfig) and not model.voices.is_usual:
        bands = _bands(model.voices, model.hcqt)
        default = replace(default, loss=replace(default.loss, voice_bands_bins=bands))
    config = build(type(default), tree, default=default)
    name = config.name
    is_file_name = Path(name).name == name and len(name.encode()) <= _LONGEST_NAME
    if not name or not is_file_name or name.startswith("."):
        raise UsageError(f"{brief(name)} is no name of a run", "use a plain file name")
    return config


def _model_of(weights: str, base: ModelConfig) -> ModelConfig:
    """The configuration that weights carry; what they do not bring, and how to compute, as before.

    Where a run begins without weights, all is as in ``base``.
    """
    from umss_jax.weights.combine import stored_configuration

    return stored_configuration(weights, base) if weights else base


def _with_ranges(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """The tree with the ranges of voices that it names (``model.voices = "ttbb"``)."""
    named = tree.get("model")
    if not isinstance(named, Mapping) or not isinstance(named.get("voices"), str | list):
        return tree
    voices = as_voices(named["voices"])
    return {**tree, "model": {**named, "voices": plain(voices)}}


def _bands(voices: VoicesConfig, grid: HcqtConfig) -> tuple[tuple[int, int], ...]:
    """First and last bin of the range of each voice."""

    def bin_of(note: int) -> int:
        octaves = math.log2(440 / grid.fmin_hz) + (note - 69) / 12
        return min(max(round(octaves * grid.bins_per_octave), 0), grid.bins - 1)

    ranges = zip(voices.lowest_notes, voices.highest_notes, strict=True)
    return tuple((bin_of(low), bin_of(high)) for low, high in ranges)


def _default_model(tree: Mapping[str, Any], model: ModelConfig) -> ModelConfig:
    """The model with the thresholds of the networks and voices that the tree names."""
    named = tree.get("model")
    if not isinstance(named, Mapping):
        return model
    if isinstance(named.get("voices"), Mapping):
        model = with_voices(
            model, build(VoicesConfig, named["voices"], "model.voices.", model.voices)
        )
    others = []
    for key in ("salience_network", "assignment_network"):
        other = named.get(key)
        others.append(other if isinstance(other, str) and other != getattr(model, key) else None)
    return with_networks(model, *others)
