"""Which files one mixture goes through: the calls between files of the package, as they happen.

Source:   none; a picture of this repository's own structure.
Command:  python -m experiments.walk separate choir.wav -o OUT
          python -m experiments.walk train experiments/configs/starter.toml …
Duration: that of the command, which is run as it is by `umss_jax.cli.run`.
Score:    README.md beside this file.

Every pair of functions of different files of which one calls the other counts once. A file's floor
is one more than that of the highest file that it imports; a call to a file of a higher floor goes
back up (a function that was handed down).
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import umss_jax

PACKAGE = Path(umss_jax.__file__).parent
Place = tuple[str, str]  # file below the package, function


def walk(arguments: list[str]) -> list[tuple[Place, Place]]:
    """Runs a command; the calls from file to file, each pair of functions once, in their order."""
    from umss_jax.cli import run

    seen: dict[tuple[Place, Place], None] = {}

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or frame.f_code.co_name == "<module>":
            return
        callee = _place(frame)
        if callee is None:
            return
        caller = _nearest(frame.f_back)
        if caller is not None and caller[0] != callee[0]:
            seen[caller, callee] = None

    sys.setprofile(watch)
    try:
        code = run(arguments)
    finally:
        sys.setprofile(None)
    if code:
        raise SystemExit(code)
    return list(seen)


def floors() -> dict[str, int]:
    """The floor of every file; where files import each other in a circle, that of the lowest."""
    imports = {str(path.relative_to(PACKAGE)): _imports(path) for path in PACKAGE.rglob("*.py")}
    found: dict[str, int] = {}

    def floor(file: str, above: tuple[str, ...]) -> int:
        if file in above or file not in imports:
            return 0
        if file not in found:
            below = [floor(one, (*above, file)) for one in imports[file]]
            found[file] = 1 + max(below, default=0)
        return found[file]

    for file in imports:
        floor(file, ())
    return found


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    files = {name.removeprefix("umss_jax.").replace(".", "/") + ".py" for name in names}
    return {file for file in files if (PACKAGE / file).is_file()}


def _place(frame: FrameType) -> Place | None:
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(PACKAGE):
        return None
    return str(path.relative_to(PACKAGE)), frame.f_code.co_qualname


def _nearest(frame: FrameType | None) -> Place | None:
    """The innermost function of the package that led to a call."""
    while frame is not None:
        place = _place(frame)
        if place is not None:
            return place
        frame = frame.f_back
    return None


def _room(file: str) -> str:
    """The package that a file is in; a file at the top is a room of its own."""
    return file.split("/")[0]


if __name__ == "__main__":
    calls = walk(sys.argv[1:])
    floor_of = floors()
    entered = Counter(callee[0] for _, callee in calls)
    for file, times in entered.most_common():
        print(f"{times:4d} {file}")
    up = [call for call in calls if floor_of[call[1][0]] > floor_of[call[0][0]]]
    for (from_file, from_function), (to_file, to_function) in up:
        print(f"  up {from_file} {from_function} -> {to_file} {to_function}")
    print(f"{len(entered)} files entered by {len(calls)} calls, {len(up)} of them back up")
    between = {(a, b) for (a, _), (b, _) in calls if _room(a) != _room(b)}
    rooms = {_room(file) for file in entered}
    doors = {(_room(a), _room(b)) for a, b in between}
    print(f"{len(rooms)} rooms by {len(doors)} doors; {len(between)} pairs of files across them")
