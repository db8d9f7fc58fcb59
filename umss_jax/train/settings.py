"""Configurations of runs: a short TOML file over the defaults, ``key=value`` over both.

Keys are the names of the fields of :class:`umss_jax.train.config.TrainConfig`, dotted where
dataclasses nest (``data.train.folders``, ``optimiser.learning_rate``). Unknown ones are refused.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import json
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from umss_jax.errors import UsageError
from umss_jax.train.config import PretrainConfig, TrainConfig
from umss_jax.train.reference_settings import read_reference
from umss_jax.train.strategies import SCHEDULES

Config = TypeVar("Config")


def split_arguments(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """File and overrides of a command line; the file, if any, comes first.

    Raises:
        UsageError: a second file, or an override that is none.
    """
    file = Path(arguments[0]) if arguments and "=" not in arguments[0] else None
    overrides = list(arguments[1:] if file else arguments)
    for override in overrides:
        if "=" not in override:
            raise UsageError(f"{override!r} is no override", "write key=value")
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
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file} is no configuration ({error})", "mend it") from error


def build_run(tree: Mapping[str, Any], overrides: Iterable[str] = ()) -> TrainConfig:
    """The configuration of a run, checked.

    Args:
        tree: from :func:`read_tree`.
        overrides: ``key=value``; a value is TOML (``3``, ``[1, 2]``, ``true``), else text.

    Raises:
        UsageError: an unknown key, a value that does not fit.
    """
    return checked(build(TrainConfig, with_overrides(tree, overrides)))


def build_pretraining(tree: Mapping[str, Any], overrides: Iterable[str] = ()) -> PretrainConfig:
    """As :func:`build_run`, the configuration of a pre-training.

    Raises:
        UsageError: an unknown key, a value that does not fit.
    """
    config = build(PretrainConfig, with_overrides(tree, overrides))
    phases = (config.steps, config.batch, config.crop_s)
    if any(len(values) != 2 for values in phases) or min(config.steps) < 0 or min(config.batch) < 1:
        raise UsageError(
            f"steps {config.steps}, batch {config.batch}, crop_s {config.crop_s}",
            "give two of each: for the salience network and for the assignment network",
        )
    _check_name(config.name)
    return config


def with_overrides(tree: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """The tree with some keys set."""
    result = json.loads(json.dumps(tree))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{override!r} is no override", "write key=value")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        *folders, leaf = key.strip().split(".")
        node = result
        for folder in folders:
            node = node.setdefault(folder, {})
            if not isinstance(node, dict):
                raise UsageError(f"{key} lies below a value", f"set {folder} itself")
        node[leaf] = value
    return dict(result)


def build(
    kind: type[Config], tree: Mapping[str, Any], above: str = "", default: Config | None = None
) -> Config:
    """A frozen dataclass from a tree of plain values over its defaults.

    Args:
        kind: the dataclass.
        tree: keys are names of its fields.
        above: dotted name of the dataclass, for messages.
        default: what holds where the tree says nothing, if not the dataclass's own defaults: a
            dataclass may hold another with defaults of its choice.

    Raises:
        UsageError: an unknown key, or a value of another type.
    """
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(typing.cast(Any, kind))]
    values = {}
    start: Any = kind() if default is None else default
    for key, value in tree.items():
        dotted = f"{above}{key}"
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            raise UsageError(
                f"no setting is called {dotted}",
                f"did you mean {above}{near[0]}?" if near else f"choose from {', '.join(names)}",
            )
        values[key] = _fitting(hints[key], value, dotted, getattr(start, key))
    built: Config = dataclasses.replace(start, **values)
    return built


def _fitting(hint: Any, value: Any, key: str, default: Any = None) -> Any:
    """The value as the field's type has it."""
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, Mapping):
            return build(hint, value, f"{key}.", default)
        raise UsageError(f"{key} is {value!r}", f"set what is in it ({key}.…)")
    if origin is tuple and isinstance(value, list | tuple):
        inner = typing.get_args(hint)
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(_fitting(inner[0], one, key) for one in value)
        if len(inner) == len(value):
            return tuple(_fitting(i, one, key) for i, one in zip(inner, value, strict=True))
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        if value in list(hint):
            return hint(value)
        raise UsageError(f"{key} is {value!r}", f"choose from {', '.join(hint)}")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    name = hint.__name__ if origin is None else str(hint)
    raise UsageError(f"{key} is {value!r}", f"give a value of type {name}")


def checked(config: TrainConfig) -> TrainConfig:
    """The configuration, where its values make sense together.

    Raises:
        UsageError: the first that does not.
    """
    schedule = SCHEDULES.get(config.strategy)
    if schedule is None:
        raise UsageError(
            f"no strategy is called {config.strategy!r}", f"choose from {', '.join(SCHEDULES)}"
        )
    if config.epochs and len(config.epochs) != len(schedule):
        raise UsageError(
            f"epochs has {len(config.epochs)} numbers, {config.strategy} {len(schedule)} phases",
            "give one number for each phase",
        )
    if (
        config.batch < 1
        or config.epoch_examples < config.batch
        or min(config.epochs, default=1) < 0
    ):
        raise UsageError(
            f"an epoch of {config.epoch_examples} examples in batches of {config.batch}",
            "let an epoch hold at least one batch, and give no negative number of epochs",
        )
    _check_name(config.name)
    return config


def _check_name(name: str) -> None:
    if not name or Path(name).name != name or name.startswith("."):
        raise UsageError(f"{name!r} is no name of a run", "use a plain file name")


def plain(config: Any) -> dict[str, Any]:
    """A dataclass as plain values that TOML and JSON can hold."""

    def convert(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            return {f.name: convert(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, tuple):
            return [convert(one) for one in value]
        if isinstance(value, enum.StrEnum):
            return value.value
        return value

    result: dict[str, Any] = convert(config)
    return result


def to_toml(tree: Mapping[str, Any], heading: str = "") -> str:
    """Plain values as TOML: scalars, lists and tables."""
    own = [f"{key} = {_toml_value(v)}" for key, v in tree.items() if not isinstance(v, Mapping)]
    text = "\n".join(([f"[{heading}]"] if heading and own else []) + own)
    tables = [
        to_toml(value, f"{heading}.{key}" if heading else key)
        for key, value in tree.items()
        if isinstance(value, Mapping)
    ]
    return "\n\n".join(part for part in (text, *tables) if part)


def _toml_value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, float):
        return repr(value)
    # JSON's escapes of text, true and false are TOML's too.
    return json.dumps(value, ensure_ascii=False)


def differences(one: Mapping[str, Any], other: Mapping[str, Any], above: str = "") -> list[str]:
    """Dotted keys whose values differ."""
    keys = []
    for key in sorted({*one, *other}):
        mine, yours = one.get(key), other.get(key)
        if isinstance(mine, Mapping) and isinstance(yours, Mapping):
            keys += differences(mine, yours, f"{above}{key}.")
        elif mine != yours:
            keys.append(f"{above}{key}")
    return keys
