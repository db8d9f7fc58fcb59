"""What the help shows of every command: one line, its arguments in plain letters, an example."""

from __future__ import annotations

from typing import Any, NamedTuple


class Shown(NamedTuple):
    """What the help shows of a command besides its options."""

    short: str
    """In the list of commands: 60 characters at most."""
    example: str = ""
    """What follows `umss-jax` and the command's name."""


SHOWN = {
    "separate": Shown("Separate recordings into four voices.", "choir.m4a --adapt 100"),
    "app": Shown("Open a page on this computer to drop recordings on.", "--port 0"),
    "f0": Shown("Find the pitches of the four voices.", "choir.m4a --midi"),
    "demo": Shown("Sing, separate and score a chorale; needs no data.", "-o demo"),
    "evaluate": Shown(
        "Score models on a test set.", "starter --data ChoralSingingDataset --song Nino_Dios"
    ),
    "report": Shown("Write a page to listen to results.", "separated/starter/choir"),
    "train": Shown(
        "Train a model, or resume a run.",
        "experiments/configs/shared.toml name=mine weights=starter",
    ),
    "pretrain": Shown(
        "Train the F0 networks, or resume a run.", "experiments/pretraining/small.toml"
    ),
    "runs": Shown("List training runs.", "runs"),
    "bench": Shown("Time training and separation here.", "--strategy umss --batch 4"),
    "env": Shown("Show versions, devices and folders, for bug reports.", "--json"),
    "weights": Shown("Import, inspect and export weights."),
    "weights import": Shown("Store weights of another program.", "model.pth -o mine"),
    "weights list": Shown("List weights.", "--json"),
    "weights show": Shown("Print what is known of weights, as JSON.", "starter"),
    "weights verify": Shown("Check stored weights.", "starter"),
    "weights combine": Shown("Store several models as one.", "starter+my-assigner -o mine"),
    "weights average": Shown("Store the mean of models.", "before after -o between"),
    "weights export": Shown("Write weights for another program.", "starter umss.pth --to torch"),
    "weights fetch": Shown("Download published weights.", "published"),
    "data": Shown("Look at data sets."),
    "data check": Shown("Say what a folder gives to train on.", "../datasets/ChoralSynth"),
    "data f0": Shown("Make F0 references by CREPE.", "MyChoir"),
    "chorale": Shown("Make synthetic quartets."),
    "chorale make": Shown("Render four-part scores.", "-n 20 -o datasets/chorales"),
    "chorale singers": Shown("Make a bank of recorded singers.", "alice.wav bob/ -o bank.npz"),
}


def describe(group: Any, words: tuple[str, ...] = ()) -> Any:
    """Gives all commands of a (Typer) group their lines; returns the group."""
    for name, command in group.commands.items():
        here = (*words, name)
        shown = SHOWN[" ".join(here)]
        command.short_help = shown.short
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                _name_plainly(parameter)
        if shown.example:
            command.epilog = f"\b\nExample:\n  umss-jax {' '.join(here)} {shown.example}"
        if hasattr(command, "commands"):
            describe(command, here)
    return group


def _name_plainly(argument: Any) -> None:
    """``FILE...`` where Typer writes ``{files}...`` and adds braces to every name."""
    text = argument.metavar or argument.name.upper()
    argument.get_usage_pieces = lambda context: [text]
