"""Settings as trees: frozen dataclasses to plain values that TOML and JSON hold, and back.

Keys are the names of the fields, dotted where dataclasses nest (``model.synth.harmonics``).
Unknown ones are refused, and so are values of another type or outside their range
(:mod:`umss_jax.ranges`).
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import enum
import json
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from umss_jax import ranges
from umss_jax.documents import NoDocumentError, parsed_toml
from umss_jax.errors import UsageError, brief, printable

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
        UsageError: an unknown key, or a value of another type or outside its range.
    """
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(typing.cast(Any, kind))]
    values = {}
    start: Any = kind() if default is None else default
    for key, value in tree.items():
        dotted = f"{above}{key}"
        if key not in names:
            near = difflib.get_close_matches(key[:100], names, 1)
            raise UsageError(
                f"no setting is called {printable(dotted[:200])}",
                f"did you mean {above}{near[0]}?" if near else f"choose from {', '.join(names)}",
            )
        values[key] = _fitting(hints[key], value, dotted, getattr(start, key))
        _refuse_outside(kind.__name__, key, hints[key], values[key], dotted)
    built: Config = dataclasses.replace(start, **values)
    return built


def _fitting(hint: Any, value: Any, key: str, default: Any = None) -> Any:
    """The value as the field's type has it."""
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, Mapping):
            return build(hint, value, f"{key}.", default)
        raise UsageError(f"{key} is {_shown(value)}", f"set what is in it ({key}.…)")
    if origin is tuple and isinstance(value, list | tuple):
        inner = typing.get_args(hint)
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(_fitting(inner[0], one, key) for one in value)
        if len(inner) == len(value):
            return tuple(_fitting(i, one, key) for i, one in zip(inner, value, strict=True))
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        if value in list(hint):
            return hint(value)
        raise UsageError(f"{key} is {_shown(value)}", f"choose from {', '.join(hint)}")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return _as_float(value, key)
    if isinstance(hint, type) and type(value) is hint:
        return value
    name = _TYPES.get(hint) or f"a value of type {hint.__name__ if origin is None else hint}"
    raise UsageError(f"{key} is {_shown(value)}", f"give {name}")


_TYPES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text (in quotes where it looks like something else)",
}


def _shown(value: Any) -> str:
    """A value in a message, dates as TOML writes them."""
    is_date = isinstance(value, datetime.date | datetime.time)
    return str(value.isoformat()) if is_date else brief(value)


def _as_float(value: int, key: str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise UsageError(
            f"{key} is {brief(value)}", "give a number that is not so large"
        ) from error


def _refuse_outside(kind: str, field: str, hint: Any, value: Any, key: str) -> None:
    """Refuses a value that is outside its range, or text that no setting is."""
    if isinstance(value, tuple):
        length = ranges.LENGTHS.get(field, ranges.Range(0, ranges.MOST_VALUES))
        if not length.low <= len(value) <= length.high:
            exact = length.low == length.high
            number = f"{length.low:g}" if exact else str(length)
            raise UsageError(f"{key} has {len(value)} values", f"give {number} of them")
        _refuse_descending(hint, value, key)
        for one in value:
            _refuse_outside_one(kind, field, one, key)
    else:
        _refuse_outside_one(kind, field, value, key)


def _refuse_outside_one(kind: str, field: str, value: Any, key: str) -> None:
    if isinstance(value, tuple):
        for one in value:
            _refuse_outside_one(kind, field, one, key)
    elif isinstance(value, str):
        if len(value) > ranges.LONGEST_TEXT or printable(value) != value:
            raise UsageError(
                f"{key} is {brief(value)}",
                f"give text of at most {ranges.LONGEST_TEXT} characters, none of them a control",
            )
    elif isinstance(value, int | float) and not isinstance(value, bool):
        allowed = ranges.of_field(kind, field)
        instead = ranges.refusal(value, allowed) if allowed else None
        if instead:
            raise UsageError(f"{key} is {brief(value)}", instead)


def _refuse_descending(hint: Any, value: tuple[Any, ...], key: str) -> None:
    """A pair of numbers is a range."""
    inner = typing.get_args(hint)
    if len(inner) == 2 and inner[1] is Ellipsis:
        for one in value:
            if isinstance(one, tuple):
                _refuse_descending(inner[0], one, key)
    elif len(value) == 2 and value[0] > value[1]:
        raise UsageError(f"{key} is {brief(list(value))}", "give the lower number first")


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


_MOST_PARTS = 16
"""Of a dotted name; no setting has so many."""


def _set(tree: dict[str, Any], name: str, value: Any) -> None:
    *folders, leaf = name.split(".")
    if len(folders) >= _MOST_PARTS:
        raise UsageError(f"no setting is called {brief(name)}", "write key=value")
    for folder in folders:
        tree = tree.setdefault(folder, {})
        if not isinstance(tree, dict):
            raise UsageError(f"{name} lies below a value", f"set {folder} itself")
    tree[leaf] = value


def with_overrides(tree: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """The tree with some keys set by ``key=value``; a value is TOML, or else text."""
    result = _copied(tree)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{brief(override)} is no override", "write key=value")
        _set(result, key.strip(), _override_value(text))
    return result


def _override_value(text: str) -> Any:
    """A value of the command line: TOML, or else the text itself. No setting is a date."""
    try:
        tree = parsed_toml(f"value = {text}")
    except NoDocumentError:
        return text
    is_one = tree.keys() == {"value"}
    is_date = isinstance(tree["value"], datetime.date | datetime.time)
    return tree["value"] if is_one and not is_date else text


def _copied(tree: Mapping[str, Any], levels: int = _MOST_PARTS) -> dict[str, Any]:
    """The same tables, to be changed; lists are never changed."""
    if not levels:
        raise UsageError("the settings are nested too deep", "see the names of the fields")
    return {
        key: _copied(value, levels - 1) if isinstance(value, Mapping) else value
        for key, value in tree.items()
    }


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
