"""The page of every command, from the commands themselves."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import typer

from umss_jax.cli import application
from umss_jax.cli.examples import SHOWN, describe

_DEFAULT = re.compile(r"\s*\[default: (.*?)(?:; ([^\]]*))?\]$")
_BOUND = re.compile(r"\s*\[(x[<>=][^\]]*|\d[^\]]*x[^\]]*|required)\]$")
_KIND = re.compile(r"<[a-z]+(?:\[[a-z]+\]| range)?>$", re.IGNORECASE)
_BEGINNING = """\
# Commands

Made from the program itself, of which `umss-jax COMMAND --help` shows the same. Results go to the
standard output, messages to the standard error.

| exit code | meaning |
| --- | --- |
| 0 | all is done |
| 1 | something failed: one of the recordings, a file, a data set |
| 2 | the request cannot be met as asked: an option, a name, a setting |
| 130 | interrupted by Ctrl-C (143 by SIGTERM, 129 by SIGHUP) |

`umss-jax --install-completion` has the shell (bash, zsh, fish, PowerShell) complete commands and
options with the tab key, from the next terminal on; `--show-completion` prints the script instead.
"""


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands of a group by their words, groups before what is in them."""
    for name, command in group.commands.items():
        yield (*words, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))


def root() -> Any:
    """The command ``umss-jax`` with the lines of its help."""
    return describe(typer.main.get_command(application()))


def commands_page() -> str:
    """The page, as Markdown: a heading for every command."""
    listed = list(commands(root()))
    parts = [_BEGINNING, "| command | what it does |", "| --- | --- |"]
    for words, command in listed:
        if not hasattr(command, "commands"):
            name = " ".join(words)
            parts.append(f"| [`{name}`](#{'-'.join(words)}) | {SHOWN[name].short} |")
    parts += [
        _of_command(words, command) for words, command in listed if not hasattr(command, "commands")
    ]
    return "\n".join(parts) + "\n"


def _of_command(words: tuple[str, ...], command: Any) -> str:
    """Heading, usage, what it does, an example, arguments and options."""
    name = " ".join(words)
    context = command.context_class(command, info_name=f"umss-jax {name}")
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    rows = [
        _row(*record)
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) and "--help" not in record[0]
    ]
    return "\n".join(
        [
            f"\n## {name} {{ #{'-'.join(words)} }}\n",
            f"```text\n{usage}\n```\n",
            _text(command.help),
            f"\n```sh\numss-jax {name} {SHOWN[name].example}\n```\n",
            "| argument or option | meaning | default |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _row(names: str, meaning: str) -> str:
    """A line of the table: ranges in words, types that say nothing left out."""
    names = _KIND.sub("", names.strip()).strip()
    default, bound = "", ""
    if found := _DEFAULT.search(meaning):
        default, bound = found[1], found[2] or ""
        meaning = meaning[: found.start()]
    elif found := _BOUND.search(meaning):
        bound = found[1]
        meaning = meaning[: found.start()]
    if bound == "required":
        default, bound = "required", ""
    elif default:
        default = f"`{_cell(default)}`"
    limits = f" ({_cell(bound)})" if bound else ""
    return f"| `{_cell(names)}` | {_cell(_text(meaning))}{limits} | {default} |"


def _text(words: str) -> str:
    """What a docstring says, in which `<model>` is no element."""
    return html.escape(words, quote=False)


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("x>=", "at least ").replace("x<=", "at most ")
