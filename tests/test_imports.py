"""Who may import whom, read from the source: the data flow is the architecture.

A row may import what stands in rows above it, and a package itself; nothing else, not even inside a
function. `docs/ARCHITECTURE.md` says what the rooms are for.
"""

import ast
import graphlib
import subprocess
import sys

import pytest
from places import ROOT

LAYERS = (
    ("errors", "words", "interruption", "locks"),
    ("aside",),
    ("files", "ranges"),
    ("documents", "range_checks"),
    ("config", "config_tree", "trees"),
    ("kept_arrays", "voice_names"),
    ("compiled_programs", "environment", "accelerators", "precision", "voice_sets"),
    ("device", "dsp"),
    ("kept_programs",),
    ("progress",),
    ("synth", "pitch"),
    ("networks",),
    ("model",),
    ("weights", "audio", "segment_programs"),
    ("inference", "scores"),
    ("data", "separation"),
    ("train", "chorales", "api"),
    ("evaluate", "bench"),
    ("report",),
    ("demo", "app"),
    ("cli",),
)

CONVERSION = {
    # of the package: what weights_convert may import, and the one module that may import it
    "imports": {f"umss_jax.{name}" for name in ("config", "errors", "files", "trees")},
    "imported_by": {"umss_jax.cli.weights"},
}

FOREIGN = {"torch", "torchaudio", "keras", "tensorflow", "tf_keras", "librosa"}
"""Never needed to import a module of the package."""


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_name(path): path
    for package in ("umss_jax", "weights_convert")
    for path in sorted((ROOT / package).rglob("*.py"))
}
ROOMS = [room for row in LAYERS for room in row]
LEVEL = {room: level for level, row in enumerate(LAYERS) for room in row}


def imported(tree, inside_functions=True, for_types=True):
    """Full names of all modules that a source imports, and of names taken from modules."""
    pending, found = [tree], set()
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        is_for_types = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        if (is_function and not inside_functions) or (is_for_types and not for_types):
            continue
        pending.extend(ast.iter_child_nodes(node))
    return found


def own_imports(module, **which):
    """Modules of this repository that one imports."""
    names = imported(ast.parse(SOURCES[module].read_text()), **which)
    return {name for name in names if name in SOURCES} - {"umss_jax", "weights_convert"}


def room(module):
    """The package or top-level module of `umss_jax` that a module is in."""
    return module.split(".")[1] if "." in module else ""


def test_the_parser_sees_what_there_is_to_see():
    source = (
        "import a.b\nfrom c import d\ndef f():\n    import e\nif TYPE_CHECKING:\n    import g\n"
    )
    tree = ast.parse(source)
    assert imported(tree) == {"a.b", "c", "c.d", "e", "g"}
    assert imported(tree, inside_functions=False, for_types=False) == {"a.b", "c", "c.d"}
    assert "umss_jax.synth.harmonic" in own_imports("umss_jax.synth.source_filter")
    assert "umss_jax.model" in own_imports("umss_jax.inference")  # `from umss_jax import model`


def test_every_room_is_in_the_table():
    there = {room(module) for module in SOURCES if module.startswith("umss_jax.")}
    assert sorted(there - {"__main__"}) == sorted(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_imports_go_down(name):
    up = {
        f"{module} imports {other}"
        for module in SOURCES
        if module.startswith("umss_jax.") and room(module) == name
        for other in own_imports(module)
        if other.startswith("umss_jax.")
        and room(other) != name
        and LEVEL[room(other)] >= LEVEL[name]
    }
    assert up == set()


def test_there_is_no_circle():
    graph = {module: own_imports(module, for_types=False) for module in SOURCES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_conversion_tables_stand_apart():
    users = {
        module
        for module in SOURCES
        if module.startswith("umss_jax.")
        and any(other.startswith("weights_convert") for other in own_imports(module))
    }
    assert users == CONVERSION["imported_by"]
    used = {
        other
        for module in SOURCES
        if module.startswith("weights_convert")
        for other in own_imports(module)
        if other.startswith("umss_jax")
    }
    assert used == CONVERSION["imports"]


@pytest.mark.parametrize("module", SOURCES)
def test_no_foreign_framework_is_imported_at_module_level(module):
    tree = ast.parse(SOURCES[module].read_text())
    names = imported(tree, inside_functions=False, for_types=False)
    assert {name.split(".")[0] for name in names} & FOREIGN == set()


@pytest.mark.parametrize("module", ["umss_jax", "umss_jax.cli; umss_jax.cli.application()"])
def test_importing_the_commands_does_not_import_jax(module):
    heavy = ("jax", "jaxlib", "flax", "optax", "scipy", "librosa", "torch", "soundfile")
    code = f"import sys, {module}; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
