"""What the help says: of every command one line that fits, arguments in capitals, one example."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import typer
from places import ROOT

from umss_jax.cli import application, run
from umss_jax.cli.examples import SHOWN, describe


def commands(group, words=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


ROOT_COMMAND = describe(typer.main.get_command(application()))
COMMANDS = dict(commands(ROOT_COMMAND))
GROUPS = [(), ("weights",), ("data",), ("chorale",)]


def shown(capsys, *words):
    assert run([*words, "--help"]) == 0
    return capsys.readouterr().out


def test_every_command_has_its_lines_and_no_other():
    assert {tuple(words.split()) for words in SHOWN} == {*COMMANDS, *GROUPS[1:]}


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_descriptions_fit_the_list(capsys, group):
    text = shown(capsys, *group)
    listed = text.split("Commands:\n")[1].splitlines()
    assert len(listed) > 1
    for line in listed:
        assert re.fullmatch(r"  [a-z0-9]+ +[A-Z][^.]*\.", line), line
        assert len(line) < 80


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_usage_names_arguments_in_capitals(capsys, words):
    usage = " ".join(shown(capsys, *words).split("\n\n")[0].split())
    assert not set("{}<>") & set(usage)
    rest = usage.removeprefix(f"Usage: umss-jax {' '.join(words)} [OPTIONS]").strip()
    assert rest == rest.upper()


def test_files_are_called_so(capsys):
    for command in ("separate", "f0"):
        assert "[OPTIONS] FILE...\n" in shown(capsys, command)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_example_is_one_that_the_command_takes(capsys, words):
    """Its words are parsed by the command itself: every option and argument is there."""
    last = shown(capsys, *words).rstrip().splitlines()[-2:]
    assert last[0] == "  Example:"
    parts = shlex.split(last[1])
    assert parts[: 1 + len(words)] == ["umss-jax", *words]
    COMMANDS[words].make_context(words[-1], parts[1 + len(words) :])


def test_seeds_are_random_seeds(capsys):
    for words, command in COMMANDS.items():
        for option in command.params:
            if "--seed" in option.opts:
                assert option.help == "Random seed.", words


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("umss-jax se", ["separate"]),
        ("umss-jax weights ver", ["verify"]),
        ("umss-jax separate --skip", ["--skip-existing"]),
    ],
)
def test_shells_complete_commands_and_options(line, expected):
    """As bash asks: the words so far in the environment, and the answer on stdout."""
    asked = {"_UMSS_JAX_COMPLETE": "complete_bash", "COMP_WORDS": line}
    done = subprocess.run(
        [sys.executable, "-m", "umss_jax"],
        env={**os.environ, **asked, "COMP_CWORD": str(line.count(" ")), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == expected
    assert done.stderr == ""
