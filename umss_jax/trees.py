"""Trees of weights: nested variables, their flat names, and what does not fit.

Variables are ``{'params': {part: …}, 'batch_stats': {part: …}}``; a flat name is the path joined
by ``/`` (``params/salience/output/bias``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from umss_jax.errors import WeightsError

Shape = tuple[int, ...]
MAX_BYTES = 1 << 30
"""No file of weights is larger: the largest network known has 44 MB."""
MAX_ARRAYS = 10_000
MAX_DIMENSIONS = 8
MAX_SHOWN = 500
"""Problems in one message: more than any network has arrays."""
_MAX_NAME = 300
Variables = dict[str, Any]


class WrongTreeError(WeightsError):
    """Weights that do not fit, with everything that is wrong.

    Attributes:
        problems: one line per array that is missing, extra, of another shape or unusable.
    """

    def __init__(self, what: str, problems: Iterable[str], remedy: str) -> None:
        self.problems = tuple(problems)
        shown = "; ".join(self.problems[:MAX_SHOWN])
        more = f"; … and {len(self.problems) - MAX_SHOWN} more" * (len(self.problems) > MAX_SHOWN)
        super().__init__(f"{what} ({len(self.problems)} wrong: {shown}{more})", remedy)


def flatten(variables: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Nested variables to arrays by flat name, sorted."""
    flat: dict[str, np.ndarray] = {}
    for name, value in variables.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{path}/"))
        else:
            flat[path] = value
    return dict(sorted(flat.items()))


def unflatten(flat: Mapping[str, np.ndarray]) -> Variables:
    """Arrays by flat name to nested variables."""
    tree: Variables = {}
    for path, value in flat.items():
        *folders, leaf = path.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = value
    return tree


def parts(variables: Mapping[str, Any]) -> tuple[str, ...]:
    """Top-level parts (``salience``, ``assignment``, …) of the variables, sorted."""
    return tuple(sorted({part for collection in variables.values() for part in collection}))


def part_of(variables: Mapping[str, Any], part: str) -> Variables:
    """The variables of one part alone, as its own module takes them (no level of the part)."""
    return {name: tree[part] for name, tree in variables.items() if part in tree}


def select_parts(variables: Mapping[str, Any], wanted: Iterable[str]) -> Variables:
    """The variables of some parts, under their names.

    Raises:
        WeightsError: a part is not there.
    """
    wanted = tuple(wanted)
    for part in wanted:
        if part not in parts(variables):
            raise WeightsError(
                f"these weights have no part {part!r}", f"choose from {', '.join(parts(variables))}"
            )
    selected = {
        collection: {part: tree[part] for part in wanted if part in tree}
        for collection, tree in variables.items()
    }
    return {collection: tree for collection, tree in selected.items() if tree}


def tree_problems(
    found: Mapping[str, Shape], expected: Mapping[str, Shape], what: str = ""
) -> list[str]:
    """A line for every missing, extra and mis-shaped name; ``what`` is put before each name."""
    lines = [
        f"missing {what}{name} {list(expected[name])}" for name in expected if name not in found
    ]
    lines += [f"extra {what}{name} {list(found[name])}" for name in found if name not in expected]
    lines += [
        f"{what}{name} is {list(found[name])} instead of {list(expected[name])}"
        for name in expected
        if name in found and tuple(found[name]) != tuple(expected[name])
    ]
    return lines


def expect_tree(
    variables: Mapping[str, Any],
    expected_shapes: Mapping[str, Any],
    what: str = "the weights",
) -> None:
    """Check that variables have exactly these names and shapes, and float32 numbers only.

    The shapes are nested likewise or by flat names, with anything that has ``.shape`` as leaves
    (what ``jax.eval_shape(module.init, …)`` gives); ``what`` names the weights in the message.

    Raises:
        WrongTreeError: listing all that is missing, extra, mis-shaped or of another type.
    """
    flat = flatten(variables)
    expected = {
        name: tuple(getattr(leaf, "shape", leaf)) for name, leaf in flatten(expected_shapes).items()
    }
    problems = tree_problems({name: np.shape(leaf) for name, leaf in flat.items()}, expected)
    problems += type_problems({name: leaf for name, leaf in flat.items() if name in expected})
    if problems:
        raise WrongTreeError(f"{what} do not fit", problems, "give weights of this architecture")


def type_problems(flat: Mapping[str, Any]) -> list[str]:
    """Names of leaves that are not float32."""
    types = {name: np.asarray(leaf).dtype for name, leaf in flat.items()}
    wrong = {name: dtype for name, dtype in types.items() if dtype != np.float32}
    return [f"{name} holds {dtype} instead of float32" for name, dtype in wrong.items()]


def value_problems(flat: Mapping[str, np.ndarray]) -> list[str]:
    """Names of arrays with numbers that no trained network has: not finite, variance below 0."""
    lines = []
    for name, array in flat.items():
        if not np.isfinite(array).all():
            lines.append(f"{name} holds numbers that are not finite")
        elif name.startswith("batch_stats/") and name.endswith("/var") and (array < 0).any():
            lines.append(f"{name} is a variance and holds numbers below 0")
    return lines


def name_problems(names: list[str]) -> list[str]:
    """Flat names of arrays that are no paths, or that stand for an array and a folder at once."""
    lines = []
    for name in names:
        folders = name.split("/")
        if len(name) > _MAX_NAME or not name.isprintable() or {"", ".", ".."} & set(folders):
            lines.append(f"an array is called {shortened(name)}, which is no plain name")
    # Sorted by their folders, whatever lies below an array follows it.
    paths = sorted(name.split("/") for name in names)
    for above, below in itertools.pairwise(paths):
        if below[: len(above)] == above and len(below) > len(above):
            lines.append(
                f"{shortened('/'.join(above))} is an array, and {shortened('/'.join(below))} is too"
            )
    return lines


def shortened(text: str) -> str:
    """A name out of a file, so that it can stand in a message."""
    return repr(text if len(text) <= 100 else f"{text[:100]}…")


def mean_variables(models: Sequence[Mapping[str, Any]]) -> Variables:
    """The mean of variables of the same networks, taken in float64: NumPy, float32."""
    flat = [flatten(one) for one in models]
    mean = {name: sum(np.float64(leaves[name]) for leaves in flat) / len(flat) for name in flat[0]}
    return unflatten({name: np.asarray(leaf, np.float32) for name, leaf in mean.items()})
