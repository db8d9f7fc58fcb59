"""Settings as trees: frozen dataclasses to plain values that TOML and JSON hold, and back.

Keys are the names of the fields, dotted where dataclasses nest (``model.synth.harmonics``).
Unknown ones are refused.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import json
import numbers
import tomllib
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from umss_jax.errors import UsageError

Config = TypeVar("Config")


def build(
    kind: type[Config], tree: Mapping[str, Any], above: str = "", default: Config | None = None
) -> Config:
    """A frozen dataclass from a tree of plain values, whose keys are the names of its fields.

    Args:
        kind: the dataclass.
        tree: values, of nested dataclasses as trees.
        above: dotted name of the dataclass, for messages.
        default: what holds where the tree says nothing, if not the dataclass's own defaults.

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


def check_numbers(config: Any, bounds: Mapping[str, tuple[float, float] | None]) -> None:
    """Refuses (UsageError) fields of a dataclass that are no numbers or outside their bounds.

    Where the default is a whole number, so must the value be.
    """
    for field in dataclasses.fields(config):
        if field.name not in bounds:
            continue
        value: Any = getattr(config, field.name)
        limits, is_whole = bounds[field.name], type(field.default) is int
        is_number = isinstance(value, numbers.Integral if is_whole else numbers.Real)
        if isinstance(value, bool) or not is_number:
            wanted = "a whole number" if is_whole else "a number"
            raise UsageError(f"{field.name} is {value!r:.40}", f"give {wanted}")
        if limits is not None and not limits[0] <= value <= limits[1]:
            raise UsageError(
                f"{field.name} {value!r:.40} is not between {limits[0]:g} and {limits[1]:g}",
                f"{field.default} is the default",
            )


def plain(value: Any) -> Any:
    """A dataclass as plain values that TOML and JSON can hold."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    return value.value if isinstance(value, enum.StrEnum) else value


def leaves(config: Any) -> dict[str, Any]:
    """Every value of a nested dataclass by its dotted name; enumerations as text."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found |= {f"{field.name}.{name}": leaf for name, leaf in leaves(value).items()}
        else:
            found[field.name] = value.value if isinstance(value, enum.StrEnum) else value
    return found


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """A tree of values from their dotted names."""
    tree: dict[str, Any] = {}
    for name, value in leaves.items():
        _set(tree, name, value)
    return tree


def _set(tree: dict[str, Any], name: str, value: Any) -> None:
    *folders, leaf = name.split(".")
    for folder in folders:
        tree = tree.setdefault(folder, {})
        if not isinstance(tree, dict):
            raise UsageError(f"{name} lies below a value", f"set {folder} itself")
    tree[leaf] = value


def with_overrides(tree: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """The tree with some keys set by ``key=value``; a value is TOML, or else text."""
    result: dict[str, Any] = json.loads(json.dumps(tree))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{override!r} is no override", "write key=value")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        _set(result, key.strip(), value)
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
