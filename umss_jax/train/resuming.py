"""Whether a run may go on with other settings: what was, what is, and why not."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from umss_jax.config import with_networks
from umss_jax.config_tree import build, differences, plain
from umss_jax.errors import UmssError, UsageError
from umss_jax.train.config import PretrainConfig, TrainConfig
from umss_jax.train.strategies import SCHEDULES

FORMAT_2 = "# umss-jax run, format 2: the model's settings are those that its weights carry"

_HARMLESS = {
    *("name", "patience", "tensorboard", "parallel", "checkpoint_steps", "validation_steps"),
    "model.conv.batching",
}
"""Settings that never change the steps done before."""

_LENGTHS = {"epochs", "max_epochs", "steps"}
"""How long phases last: harmless as far as :func:`_length_changes` says."""

PLACES = {
    *("weights", "data.train.folders", "data.validation.folders"),
    *("train.folders", "validation.folders"),
}
"""Where something lies; harmless where what lies there is the same."""


class Change(NamedTuple):
    """A setting that is not what it was."""

    key: str
    was: Any
    now: Any
    why: str = ""
    """It matters, where that is not plain."""

    def __str__(self) -> str:
        """Both values, shortened."""
        why = f" ({self.why})" if self.why else ""
        return f"{self.key} was {_shown(self.was)}, is {_shown(self.now)}{why}"


def read_settings(
    path: Path, config: TrainConfig | PretrainConfig
) -> TrainConfig | PretrainConfig | None:
    """The settings in a run's ``config.toml``, or None where there is none.

    Those that it does not name are at their defaults. Before format 2 the networks of the weights
    and the thresholds of their kind counted, whatever ``config.toml`` said of them: now those of
    ``config``, of the run that is to resume.

    Raises:
        UsageError: the file is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
        had = build(type(config), tomllib.loads(text))
        if text.startswith(FORMAT_2):
            return had
        model = with_networks(
            had.model, config.model.salience_network, config.model.assignment_network
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, RecursionError, UmssError) as error:
        reason = error.message if isinstance(error, UmssError) else error
        raise UsageError(
            f"{path} is damaged ({reason})",
            "put back what was there, or delete it to resume with the settings given now",
        ) from error
    unet = dataclasses.replace(model.unet, condition=config.model.unet.condition)
    return dataclasses.replace(had, model=dataclasses.replace(model, unet=unet))


def changes(
    had: TrainConfig | PretrainConfig, now: TrainConfig | PretrainConfig, phases_begun: int
) -> list[Change]:
    """The settings in which a run may not go on otherwise.

    ``phases_begun`` counts the phases that have checkpoints. Their lengths may change where that
    changes no step that has been done.
    """
    old, new = plain(had), plain(now)
    found = [
        Change(key, _at(old, key), _at(new, key))
        for key in differences(old, new)
        if key not in _HARMLESS | _LENGTHS
    ]
    return found + _length_changes(had, now, phases_begun)


def refuse(path: Path, found: list[Change]) -> None:
    """Refuses changes, if there are any, with the values that differ.

    Raises:
        UsageError: there are some.
    """
    if not found:
        return
    named = ", ".join(change.key for change in found[:5])
    more = f", and {len(found) - 5} others differ" if len(found) > 5 else ""
    raise UsageError(
        f"{path} is a run with another {named}: {'; '.join(map(str, found[:5]))}{more}",
        "set what was there, or give this run another name",
    )


def phase_epochs(config: TrainConfig, number: int) -> int:
    """The most epochs of a phase."""
    if config.epochs:
        return config.epochs[number]
    return SCHEDULES[config.strategy][number].epochs or config.max_epochs


def _length_changes(
    had: TrainConfig | PretrainConfig, now: TrainConfig | PretrainConfig, phases_begun: int
) -> list[Change]:
    """Of phases that have begun; those to come may last as long as they like."""
    if not isinstance(had, TrainConfig) or not isinstance(now, TrainConfig):
        assert isinstance(had, PretrainConfig)
        assert isinstance(now, PretrainConfig)
        if had.steps[:phases_begun] == now.steps[:phases_begun]:
            return []
        why = "the learning rate falls over all of them; begin another run with these weights"
        return [Change("steps", list(had.steps), list(now.steps), why)]
    if had.strategy != now.strategy:
        return []  # refused already, and the phases are others
    key = "epochs" if had.epochs or now.epochs else "max_epochs"
    last = phases_begun - 1
    for number in range(phases_begun):
        one, other = phase_epochs(had, number), phase_epochs(now, number)
        whys = []
        if now.cosine and not now.optimiser.total_steps and number == last:
            whys.append("with cosine the learning rate falls over all of them")
        if number < last and key == "epochs":
            whys.append("that phase has ended, and the next has begun on it")
        if one != other and whys:
            return [Change(key, getattr(had, key), getattr(now, key), whys[0])]
    return []


def _at(tree: Mapping[str, Any], key: str) -> Any:
    value: Any = tree
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:297]}…"
