"""The page of every setting, from the dataclasses, their comments and their ranges."""

from __future__ import annotations

import ast
import dataclasses
import enum
import html
import importlib
import inspect
import re
import typing
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import umss_jax
from umss_jax.config_tree import plain
from umss_jax.ranges import LENGTHS, of_field

PACKAGE = Path(umss_jax.__file__).parent
_BEGINNING = """\
# Configuration

Every default stands in a frozen dataclass, and this page is made from them. Those of a training
run ([TrainConfig](#trainconfig)) and of pre-training ([PretrainConfig](#pretrainconfig)) are what
a TOML file or `key=value` on the command line sets; names are dotted where one dataclass is in
another:

```sh
umss-jax train run.toml optimiser.learning_rate=3e-4 'loss.fft_sizes=[1024, 256]' --show
```

`--show` prints the resolved configuration and does nothing else. A name that does not exist, a
value of another type, and a number outside its range are refused before anything starts. A range
holds what makes sense and what a machine can bear; not every value in it is a good one. The other
classes are arguments of functions in Python ([API](api.md)); commands have options for those of
their settings that matter.
"""
_TITLES = {
    "train": "Training",
    "data": "Data",
    "": "Model",
    "separation": "Separation",
    "scores": "Scores",
    "audio": "Sound files",
    "evaluate": "Evaluation",
    "chorales": "Rendered chorales",
    "report": "Pages",
}
"""Of the rooms that have settings, in the order of the page; others follow by name."""


class Setting(NamedTuple):
    """One field of a dataclass."""

    name: str
    kind: str
    default: str
    allowed: str
    """Its range or its values; empty where the kind says all."""
    meaning: str


def config_modules() -> dict[str, ModuleType]:
    """All modules with settings by their room, in the order of the page."""
    rooms = ["" if path.parent == PACKAGE else path.parent.name for path in config_files()]
    order = [*_TITLES, *sorted(set(rooms) - set(_TITLES))]
    return {
        room: importlib.import_module(f"umss_jax.{room}.config" if room else "umss_jax.config")
        for room in order
        if room in rooms
    }


def config_files() -> list[Path]:
    """Where settings are."""
    return sorted(PACKAGE.rglob("config.py"))


def settings_classes(module: ModuleType) -> list[type]:
    """The dataclasses that a module defines."""
    return [
        one
        for one in vars(module).values()
        if inspect.isclass(one)
        and dataclasses.is_dataclass(one)
        and one.__module__ == module.__name__
    ]


def configuration_page() -> str:
    """The page, as Markdown: a heading for every dataclass."""
    parts = [_BEGINNING]
    for room, module in config_modules().items():
        classes = settings_classes(module)
        if not classes:
            continue
        parts.append(f"\n## {_TITLES.get(room, room.capitalize())}\n")
        parts += [_of_class(one) for one in reversed(classes)]
    return "\n".join(parts) + "\n"


def settings(kind: type) -> list[Setting]:
    """The fields of a dataclass, with what its source says of them."""
    meanings = _meanings(kind)
    hints = typing.get_type_hints(kind)
    return [
        Setting(
            field.name,
            _kind_of(hints[field.name]),
            _default_of(field),
            _allowed(kind, field.name, hints[field.name]),
            meanings.get(field.name, ""),
        )
        for field in dataclasses.fields(kind)
    ]


def _of_class(kind: type) -> str:
    first = inspect.getdoc(kind) or ""
    about = _prose(first.split("\nRaises:")[0].strip())
    rows = [
        f"| `{one.name}` | {_linked(one.kind)} | {_code(one.default)} | {one.allowed} "
        f"| {_prose(one.meaning)} |"
        for one in settings(kind)
    ]
    head = "| setting | kind | default | range | meaning |\n| --- | --- | --- | --- | --- |"
    name = kind.__name__
    home = f"`{kind.__module__}`"
    return "\n".join(
        [f"### {name} {{ #{name.lower()} }}\n", f"{about} ({home})\n", head, *rows, ""]
    )


def _meanings(kind: type) -> dict[str, str]:
    """What stands below a field as text, or above it as a comment."""
    source = inspect.getsource(kind)
    lines = source.splitlines()
    (tree,) = ast.parse(source).body
    found: dict[str, str] = {}
    last = ""
    for node in typing.cast(ast.ClassDef, tree).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            last = node.target.id
            above = node.lineno - 2
            comment: list[str] = []
            while lines[above].strip().startswith("#"):
                comment.insert(0, lines[above].strip().removeprefix("#").strip())
                above -= 1
            found[last] = " ".join(comment)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and last:
            found[last] = " ".join(f"{found[last]} {node.value.value}".split())
    return found


def _kind_of(hint: Any) -> str:
    """A type in words, or the name of a dataclass."""
    origin = typing.get_origin(hint)
    if origin is tuple:
        inner = [one for one in typing.get_args(hint) if one is not Ellipsis]
        if len(inner) == 2 and ... not in typing.get_args(hint):
            return f"pair of {_kind_of(inner[0])}s"
        return f"list of {_kind_of(inner[0])}s".replace("pair of", "pairs of").replace("ss", "s")
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return "word"
    words = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))


def _linked(kind: str) -> str:
    return f"[{kind}](#{kind.lower()})" if kind.endswith("Config") else kind


def _default_of(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if value is dataclasses.MISSING:
        factory = typing.cast(Any, field.default_factory)
        value = None if factory is dataclasses.MISSING else factory()
    if dataclasses.is_dataclass(value) or value is None:
        return ""
    value = plain(value)
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value).replace("'", '"').replace("True", "true").replace("False", "false")


def _allowed(kind: type, name: str, hint: Any) -> str:
    """The words or numbers that a setting may be."""
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return ", ".join(f"`{one.value}`" for one in hint)
    numbers = of_field(kind.__name__, name)
    length = LENGTHS.get(name) if typing.get_origin(hint) is tuple else None
    counted = "" if length is None else f", {_counted(length.low, length.high)}"
    return f"{numbers}{counted}" if numbers is not None else counted.removeprefix(", ")


def _counted(low: float, high: float) -> str:
    return f"{low:g} values" if low == high else f"{low:g} to {high:g} values"


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def _prose(text: str) -> str:
    """A docstring's words: code between single marks, names of classes without their modules."""
    text = re.sub(r":(?:class|mod|func|data):`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    text = html.escape(text.replace("``", "`"), quote=False)
    return text.replace("|", "\\|").replace("*", "\\*") if "\n" not in text else text
