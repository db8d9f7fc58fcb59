"""Names of files by a template, such as ``{folder}/{stem}.{ext}``, below one folder.

What a template names is written all or nothing: first into a hidden folder, then moved, with the
manifest last. Files that are in the way come back if anything fails.
"""

from __future__ import annotations

import contextlib
import os
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from umss_jax.errors import OutputError, UsageError, brief
from umss_jax.files import check_place, working_folder
from umss_jax.separation.outputs import (
    MANIFEST,
    is_same_file,
    plain_name,
    same_on_some_systems,
    track_name,
)

_FIELDS = ("track", "folder", "model", "stem", "ext")
_ENDING = ".{ext}"


class Template(NamedTuple):
    """A template that was checked."""

    text: str

    def targets(
        self, recording: Path, out: Path, model: str, files: Sequence[str]
    ) -> dict[str, Path]:
        """Where the files of a recording go, by the names they have otherwise."""
        found = {}
        for name in files:
            stem, ext = name.rsplit(".", 1)
            found[name] = out / self.text.format(
                track=track_name(recording),
                folder=plain_name(Path(os.path.abspath(recording)).parent.name or "_"),
                model=plain_name(model),
                stem=stem,
                ext=ext,
            )
        return found


def parse_template(text: str) -> Template:
    """Checks a template.

    Raises:
        UsageError: it has fields that there are not, or no ``{stem}``, does not end in ``.{ext}``,
            or leads out of the folder of results.
    """
    told = f"--filename {brief(text)}"
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise UsageError(f"{told} has a brace too many or too few", "write {{ for {") from error
    fields = [(name, spec, how) for _, name, spec, how in parts if name is not None]
    known = ", ".join(f"{{{field}}}" for field in _FIELDS)
    for name, spec, how in fields:
        if name not in _FIELDS or spec or how:
            shown = brief(name + (f"!{how}" if how else "") + (f":{spec}" if spec else ""))
            raise UsageError(f"{told} has a field {shown} that there is not", f"known: {known}")
    if "stem" not in [name for name, _, _ in fields]:
        raise UsageError(f"{told} gives all stems one name", "put {stem} into it")
    if not text.endswith(_ENDING) or text.endswith("/" + _ENDING):
        raise UsageError(f"{told} does not end in a name with .{{ext}}", "let it end so")
    _check_inside(text, told)
    return Template(text)


def _check_inside(text: str, told: str) -> None:
    both = PurePosixPath(text), PureWindowsPath(text)
    if any(path.is_absolute() or path.anchor or ".." in path.parts for path in both):
        raise UsageError(f"{told} leads out of the folder of results", "name places below -o")
    names = text.split("/")
    if any(name in ("", ".") for name in names) or "\0" in text:
        raise UsageError(f"{told} has a folder without a name", "give it one")


def check_targets(all_targets: Mapping[Path, Mapping[str, Path]]) -> None:
    """Refuses before any work what would meet on one file (whatever the case of its letters).

    Raises:
        UsageError: results of two recordings would have one name, or would replace a recording.
    """
    taken: dict[str, Path] = {}
    for recording, targets in all_targets.items():
        for target in targets.values():
            other = taken.setdefault(same_on_some_systems(str(target)), recording)
            if other != recording and not is_same_file(other, recording):
                raise UsageError(
                    f"the results of {other} and {recording} would both be called {target}",
                    "rename one of them, or put {folder} and {track} into --filename",
                )
    for targets in all_targets.values():
        for target in targets.values():
            for recording in all_targets:
                if is_same_file(target, recording):
                    raise UsageError(
                        f"{recording} would be replaced by a result", "choose another --filename"
                    )


def wants_files(
    targets: Mapping[str, Path], recording: Path, overwrite: bool, skip_existing: bool = False
) -> bool:
    """Whether the files of a recording are to be written: not where all are there to be skipped.

    Raises:
        OutputError: one exists, and nothing was said about what then, or some do and some do not;
            it is the recording itself or a folder; or it cannot be written.
    """
    there = [target for target in targets.values() if os.path.lexists(target)]
    if skip_existing and len(there) == len(targets):
        return False
    for target in there:
        if is_same_file(target, recording):
            raise OutputError(
                f"{target} is the recording itself, which would be replaced",
                "choose another --filename",
            )
        if target.is_dir():
            raise OutputError(f"{target} is a folder", "move it away or choose another -o")
        if not overwrite:
            remedy = "use --overwrite" + ("" if skip_existing else " or --skip-existing")
            raise OutputError(f"{target} exists", remedy)
    for target in targets.values():
        check_place(target)
    return True


@contextlib.contextmanager
def finished_as(targets: Mapping[str, Path], out: Path) -> Iterator[Path]:
    """A working folder whose files move to their places if the block ends well.

    A folder that is not there yet, and that all files go to, appears with all of them at once.

    Raises:
        OutputError: the system refuses to write.
    """
    manifest = targets[MANIFEST]
    with working_folder(out / manifest.name) as work:
        yield work
        folder = manifest.parent
        if not folder.exists() and all(target.parent == folder for target in targets.values()):
            ready = work / "ready"
            ready.mkdir()
            for name, target in targets.items():
                (work / name).rename(ready / target.name)
            folder.parent.mkdir(parents=True, exist_ok=True)
            ready.rename(folder)
            return
        _move_all(work, targets)


def _move_all(work: Path, targets: Mapping[str, Path]) -> None:
    """Moves files to their places, the manifest last; puts all back where one cannot be moved."""
    order = sorted(targets, key=lambda name: name == MANIFEST)
    aside = work / "replaced"
    aside.mkdir()
    moved: list[Path] = []
    replaced: list[tuple[Path, Path]] = []
    try:
        for number, name in enumerate(reversed(order)):  # an old manifest goes first
            if os.path.lexists(targets[name]):
                os.replace(targets[name], aside / str(number))
                replaced.append((aside / str(number), targets[name]))
        for name in order:
            targets[name].parent.mkdir(parents=True, exist_ok=True)
            os.replace(work / name, targets[name])
            moved.append(targets[name])
    except BaseException:
        for target in moved:
            target.unlink()
        for kept, target in replaced:
            os.replace(kept, target)
        raise
