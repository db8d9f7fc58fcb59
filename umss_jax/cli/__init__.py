"""The command ``umss-jax``: results on stdout, messages on stderr, one line for each error.

Exit codes: 0 all done, 1 a file failed, 2 the request was wrong, 130 interrupted by Ctrl-C
(SIGINT), 143 ended by SIGTERM, 129 by SIGHUP. Nothing here imports JAX; commands import what they
need when they run.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import umss_jax
from umss_jax import interruption
from umss_jax.cli.common import INTERRUPTED, leave, refused, say
from umss_jax.cli.examples import describe
from umss_jax.cli.streams import lost_output, prepare_streams
from umss_jax.environment import explained
from umss_jax.errors import UmssError, one_line

_COMMANDS = (
    *("separate", "f0", "demo", "evaluate", "report", "app"),
    *("train", "pretrain", "runs", "bench", "env"),
)
"""Modules of this package with a function of the same name, in the order of the help text."""
_GROUPS = ("weights", "data", "chorale")
"""Modules of this package with an ``app`` of several commands."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"umss-jax {umss_jax.__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


def application(names: Sequence[str] = (*_COMMANDS, *_GROUPS)) -> typer.Typer:
    """The command line with some of its commands; only these are imported."""
    application = typer.Typer(
        name="umss-jax",
        help="Separate choir recordings into soprano, alto, tenor and bass.",
        invoke_without_command=True,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    application.callback()(_root)
    for name in names:
        module = importlib.import_module(f"{__name__}.{name}")
        if name in _GROUPS:
            application.add_typer(module.app, name=name)
        else:
            application.command(name)(getattr(module, name))
    return application


def _asked(arguments: Sequence[str] | None) -> Sequence[str]:
    """The command that is asked for; all where it is help, a completion or none that there is."""
    first = (sys.argv[1:] if arguments is None else arguments)[:1]
    return first if first and first[0] in (*_COMMANDS, *_GROUPS) else (*_COMMANDS, *_GROUPS)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line (by default that of the process) and leaves with its exit code."""
    prepare_streams()
    interruption.install()
    code = run(arguments)
    lost = lost_output()
    if lost is not None:
        say(f"standard output could not be written ({lost.strerror}): write it elsewhere")
        code = code or 1
    if code == (interruption.exit_code() or INTERRUPTED):
        leave(code)
    interruption.finish()
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line, prints what went wrong, and returns the exit code.

    Where a signal came in the meantime the code says so, even if all was done by then.
    """
    code = interruption.exit_code() or _run(arguments)
    code = interruption.exit_code() or code
    if code in (interruption.exit_code(), INTERRUPTED) and code:
        say("interrupted")
    return code


def _run(arguments: Sequence[str] | None) -> int:
    command = describe(typer.main.get_command(application(_asked(arguments))))
    # Typer brings its own copy of click, older ones the package: take the class from a public name.
    click_exception: Any = typer.BadParameter.__mro__[2]
    try:
        code = command.main(args=arguments, prog_name="umss-jax", standalone_mode=False)
    except UmssError as error:
        say(str(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except OSError as error:
        say(refused(error))
        return 1
    except click_exception as error:
        _say_usage(error)
        return int(getattr(error, "exit_code", 2))
    except Exception as error:
        by_environment = explained(error)
        if by_environment is None:
            raise
        say(str(by_environment))
        return by_environment.exit_code
    return code if isinstance(code, int) else 0


def _say_usage(error: Any) -> None:
    """What is wrong with the arguments on one line; the help of a group that stands alone."""
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message(), err=True)
        return
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "umss-jax"
    words = one_line(error.format_message()).replace("Value error, ", "").removesuffix(".")
    option = getattr(error, "option_name", None)
    if option and any(file.name.startswith(option[:2]) for file in Path().glob("-*")):
        words += f"; a file whose name begins with - is named by its folder: ./{option}"
    say(f"{words} (see `{path} --help`)")
