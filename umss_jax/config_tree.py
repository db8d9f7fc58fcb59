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

from umss_jax.documents import NoDocumentError, parsed_toml
from umss_jax.errors import UsageError, brief, printable
from umss_jax.range_checks import refuse_outside

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
        refuse_outside(kind.__name__, key, hints[key], values[key], dotted)
    built: Config = dataclasses.replace(start, **values)
    return built


def _fitting(hint: Any, value: Any, key: str, default: Any = None) -> Any:
    """The value as the field's type has it."""
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, Mapping):
            return build(hint, value, f"{key}.", default)
        names = [field.name for field in dataclasses.fields(hint)]
        raise UsageError(
            f"{key} is {_shown(value)}",
            f"set what is in it: {', '.join(f'{key}.{name}' for name in names)}",
        )
    if origin is tuple:
        inner = typing.get_args(hint)
        if len(inner) == 2 and inner[1] is Ellipsis:
            # One value is a list of one, unless it would have to be a list itself.
            is_list = isinstance(value, list | tuple)
            if is_list or typing.get_origin(inner[0]) is not tuple:
                items = value if is_list else [value]
                return tuple(_item(inner[0], one, key, hint, default) for one in items)
        elif isinstance(value, list | tuple) and len(inner) == len(value):
            pairs = zip(inner, value, strict=True)
            return tuple(_item(one, item, key, hint, default) for one, item in pairs)
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        if value in list(hint):
            return hint(value)
        raise UsageError(f"{key} is {_shown(value)}", f"choose from {', '.join(hint)}")
    plain_value = _plain_value(hint, value)
    if plain_value is None:
        raise _misfit(hint, value, key, default)
    return plain_value


def _item(hint: Any, value: Any, key: str, whole: Any, default: Any) -> Any:
    """A value of a list; where it does not fit, the example is of the whole list."""
    try:
        return _fitting(hint, value, key)
    except UsageError as error:
        raise _misfit(whole, value, key, default) from error


def _misfit(hint: Any, value: Any, key: str, default: Any) -> UsageError:
    """What to give instead; the example is what holds now, which is in its range."""
    what, example = _expected(hint)
    if isinstance(default, str) and default:
        example = default
    elif isinstance(default, bool | int | float) or (isinstance(default, tuple) and default):
        example = _toml_value(plain(default))
    setting = f"{key}={example}"
    quoted = f"'{setting}'" if set(setting) & set('"[] ') else setting
    return UsageError(f"{key} is {_shown(value)}", f"give {what}, such as {quoted}")


def _plain_value(hint: Any, value: Any) -> Any:
    """A text, number or truth value of the type asked for, if the value is clear; else None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        if hint is float and is_number:
            return float(value)
        if hint is int and is_number and value == value // 1:
            return int(value)  # 1e4 is how people write it
        if hint is str and isinstance(value, int) and not isinstance(value, bool):
            return str(value)  # a name of digits alone
    except (OverflowError, ValueError):  # hundreds or thousands of digits
        return None
    if hint is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return value if isinstance(hint, type) and type(value) is hint else None


_EXPECTED = {
    bool: ("true or false", "true"),
    int: ("a whole number", "3"),
    float: ("a number", "0.5"),
    str: ("a text", "name"),
}


def _expected(hint: Any) -> tuple[str, str]:
    """What a type is in words, and an example in TOML."""
    if hint in _EXPECTED:
        return _EXPECTED[hint]
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return f"one of {', '.join(hint)}", next(iter(hint)).value
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and inner:
        many = inner[-1] is Ellipsis
        kinds = [_expected(one) for one in ([inner[0]] * 2 if many else inner)]
        examples = [f'"{one}"' if what == "a text" else one for what, one in kinds]
        what = kinds[0][0].removeprefix("a ").removeprefix("list of ")
        listed = f"[{', '.join(examples)}]"
        return (f"a list of {what}s" if many else f"a list of {len(inner)} {what}s"), listed
    return "another value", "value"


def _shown(value: Any) -> str:
    """A value in a message, dates as TOML writes them."""
    is_date = isinstance(value, datetime.date | datetime.time)
    return str(value.isoformat()) if is_date else brief(value)


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
        _set(result, key.strip(), _value_of(text.strip()))
    return result


def _value_of(text: str) -> Any:
    """What is written after a key: TOML, else text. No setting is a date, so that is text too.

    In a list that is no TOML the items are each of them that: shells take quotation marks away.
    """
    try:
        tree = parsed_toml(f"value = {text}")
    except NoDocumentError:
        tree = {}
    if tree.keys() == {"value"} and not _has_date(tree["value"]):
        return tree["value"]
    inside = text[1:-1]
    if text[:1] == "[" and text[-1:] == "]" and not set(inside) & set("[]{}\"'"):
        return [_value_of(item.strip()) for item in inside.split(",") if item.strip()]
    return text


def _has_date(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_date, value))
    return isinstance(value, datetime.date | datetime.time)


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
