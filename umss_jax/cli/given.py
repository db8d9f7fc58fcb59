"""The recordings that a command was given: each once, and no two with the same results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from umss_jax.errors import UsageError


def given_once(
    files: Sequence[Path],
    tell: Callable[[str], None],
    name_of: Callable[[Path], str] | None = None,
) -> list[Path]:
    """The files in their order; one that is named twice, or by a link too, is there once.

    ``name_of`` says what the results of a file are called; by default its track's name.

    Raises:
        UsageError: two recordings have one name: they would share their results (on some systems
            whatever the case and the form of the letters).
    """
    from umss_jax.separation.outputs import same_on_some_systems, track_name

    name_of = name_of or track_name
    seen: dict[str, Path] = {}
    for path in files:
        twin = seen.setdefault(same_on_some_systems(name_of(path)), path)
        if twin is path:
            continue
        if not _is_one_file(twin, path):
            raise UsageError(
                f"the results of {twin} and {path} would both be called {name_of(path)!r}",
                "rename one of them, or run them with different -o",
            )
        other = "" if str(twin) == str(path) else f" (as {path} too)"
        tell(f"{twin} is named twice{other}: it is done once")
    return list(seen.values())


def _is_one_file(one: Path, other: Path) -> bool:
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False
